"""Alembic's entry into this tree."""

from migrations.environment import run
from mpc.tables import metadata

run("mpc_signer", metadata)
