"""A consistent snapshot of a database, and the facts of it that a manifest states."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import namedtuple_row

from custody.database.errors import database_errors
from custody.database.url import conninfo

_TABLES = """
    SELECT n.nspname AS schema, c.relname AS name
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
    ORDER BY 1, 2
"""
_BEGIN = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_NO_LIMITS = """
    SELECT set_config('statement_timeout', '0', true) AS statement,
        set_config('idle_in_transaction_session_timeout', '0', true) AS idle
"""


class Snapshot:
    """One read-only transaction, which pg_dump can share by the snapshot's ``name``."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    @property
    def name(self) -> str:
        return str(self.row("SELECT pg_export_snapshot() AS name").name)

    def rows(self, query: str, parameters: Mapping[str, Any] | None = None) -> list[Any]:
        """Return all rows; parameters are written as ``%(name)s``."""
        found: list[Any] = self._connection.execute(query.encode(), parameters).fetchall()
        return found

    def row(self, query: str, parameters: Mapping[str, Any] | None = None) -> Any:
        """Return the first row, or None."""
        return next(iter(self.rows(query, parameters)), None)

    def counts(self) -> dict[str, int]:
        """Return the number of rows of each table; a table outside of public has its schema."""
        counts = {}
        for table in self.rows(_TABLES):
            count = sql.SQL("SELECT count(*) FROM {}").format(
                sql.Identifier(table.schema, table.name)
            )
            shown = table.name if table.schema == "public" else f"{table.schema}.{table.name}"
            found = self._connection.execute(count).fetchone()
            assert found is not None
            counts[shown] = int(found[0])
        return counts

    def revision(self) -> str | None:
        """Return the revision of the database's schema; None for a database without one."""
        if not self.row("SELECT to_regclass('alembic_version') IS NOT NULL AS is_there").is_there:
            return None
        row = self.row("SELECT version_num FROM alembic_version")
        return None if row is None else str(row.version_num)


@contextmanager
def snapshot(url: str, program: str) -> Iterator[Snapshot]:
    """Open a snapshot. Raise OperatorError for a database that cannot be used, also later."""
    with (
        database_errors(),
        psycopg.connect(
            conninfo(url, f"{program} backup"), autocommit=True, row_factory=namedtuple_row
        ) as connection,
        connection.transaction(),
    ):
        connection.execute(_BEGIN)
        connection.execute(_NO_LIMITS)
        yield Snapshot(connection)
