"""Alembic's entry into this tree."""

from control_plane.tables import metadata
from migrations.environment import run

run("control_plane", metadata)
