"""Brings databases to this version's schema, and checks at start that one has it."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from custody.runtime.errors import SchemaError


def alembic_config(tree: str, url: str) -> Config:
    """Return Alembic's configuration of one migration tree: control_plane, hsm_driver, ..."""
    config = _tree(tree)
    config.attributes["url"] = url
    return config


def _tree(name: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / name))
    return config


def migrate(tree: str, url: str, revision: str = "head") -> None:
    """Bring a database to a revision of its tree."""
    command.upgrade(alembic_config(tree, url), revision)


async def check_schema(engine: AsyncEngine, tree: str, migrate_command: str) -> str:
    """Return the schema's revision. Raises SchemaError unless it is this version's head."""
    head = ScriptDirectory.from_config(_tree(tree)).get_current_head()

    def current(connection: Connection) -> str | None:
        return MigrationContext.configure(connection).get_current_revision()

    async with engine.connect() as connection:
        found = await connection.run_sync(current)
    if found != head or head is None:
        raise SchemaError(
            f"the database has schema revision {found or 'none'}, this version needs {head}",
            f"Run: {migrate_command}",
        )
    return head
