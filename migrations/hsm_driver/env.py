"""Alembic's entry into this tree."""

from hsm_driver.tables import metadata
from migrations.environment import run

run("hsm_driver", metadata)
