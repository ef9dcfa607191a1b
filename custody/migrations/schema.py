"""Migration of databases to this version's schema, and the check of the schema at start.

Only ``migrate`` imports alembic and SQLAlchemy: daemons and other commands need neither.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from custody.database.pool import Pool
from custody.database.pooler import require_own_session
from custody.runtime.errors import SchemaError

if TYPE_CHECKING:
    from alembic.config import Config

HEADS = {"control_plane": "0028", "hsm_driver": "0010", "mpc_signer": "0014"}
"""The last revision of each tree; a test compares them with alembic's."""


def alembic_config(tree: str, url: str) -> Config:
    """Return Alembic's configuration of one migration tree: control_plane, hsm_driver, ..."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / tree))
    config.attributes["url"] = url
    return config


def migrate(tree: str, url: str, revision: str = "head") -> None:
    """Bring a database to a revision of its tree. Raise psycopg.Error."""
    from alembic import command
    from sqlalchemy.exc import DBAPIError

    try:
        command.upgrade(alembic_config(tree, url), revision)
    except DBAPIError as error:
        if error.orig is None:
            raise
        raise error.orig from None


async def check_database(pool: Pool, tree: str, migrate_command: str) -> None:
    """Raise OperatorError unless a program can work on this database: session, then schema."""
    await require_own_session(pool)
    await check_schema(pool, tree, migrate_command)


async def check_schema(pool: Pool, tree: str, migrate_command: str) -> str:
    """Return the schema's revision. Raise SchemaError unless it is this version's head."""
    head = HEADS[tree]
    found = await _revision(pool)
    if found != head:
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
