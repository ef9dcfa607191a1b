"""Brings databases to this version's schema, and checks at start that one has it."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from custody.database.pool import Pool
from custody.database.pooler import require_own_session
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


async def check_database(pool: Pool, tree: str, migrate_command: str) -> None:
    """Raise OperatorError unless a program can work on this database: session, then schema."""
    await require_own_session(pool)
    await check_schema(pool, tree, migrate_command)


async def check_schema(pool: Pool, tree: str, migrate_command: str) -> str:
    """Return the schema's revision. Raises SchemaError unless it is this version's head."""
    head = ScriptDirectory.from_config(_tree(tree)).get_current_head()
    found = await _revision(pool)
    if found != head or head is None:
        raise SchemaError(
            f"the database has schema revision {found or 'none'}, this version needs {head}",
            f"Run: {migrate_command}",
        )
    return head


async def _revision(pool: Pool) -> str | None:
    table = await pool.row("SELECT to_regclass('alembic_version') IS NOT NULL AS is_there")
    if table is None or not table.is_there:
        return None
    row = await pool.row("SELECT version_num FROM alembic_version")
    return None if row is None else str(row.version_num)
