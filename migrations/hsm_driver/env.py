"""Alembic's entry into this tree."""

from migrations.environment import run

run("hsm_driver")
