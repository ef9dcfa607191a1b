"""Alembic: one tree of migrations for each kind of database."""
