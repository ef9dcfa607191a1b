"""Alembic's entry into this tree."""

from migrations.environment import run

run("mpc_signer")
