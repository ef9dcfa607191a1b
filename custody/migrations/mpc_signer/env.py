"""Alembic's entry into this tree."""

from custody.migrations.environment import run_migrations

run_migrations("mpc_signer")
