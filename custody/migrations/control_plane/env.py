"""Alembic's entry into this tree."""

from custody.migrations.environment import run

run("control_plane")
