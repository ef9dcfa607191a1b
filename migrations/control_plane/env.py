"""Alembic's entry into this tree."""

from migrations.environment import run

run("control_plane")
