"""The hot statements: psycopg and its pool, without SQLAlchemy's layers, which cost more
than the statements do.

Each statement is a transaction of its own unless it is run in ``transaction``. SQL is psycopg's,
with %(name)s parameters, and takes whole batches as arrays.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from psycopg import AsyncConnection, OperationalError
from psycopg.conninfo import make_conninfo
from psycopg.rows import namedtuple_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from daemon.database import CONNECT_TIMEOUT, KEEPALIVES, STATEMENT_TIMEOUT_MS, database_url

POOL_TIMEOUT = 5.0
"""Seconds to wait for a connection; longer means that the database is away."""
RECONNECT_SECONDS = 5.0
"""How long the pool tries to reconnect in the background before it is asked again."""

Connection = AsyncConnection[Any]


class Statements:
    """Runs statements on kept connections. ``daemon.database.is_transient`` knows its errors.

    Not ``durable``: a commit does not wait for the disk. For what may be lost when the database
    server crashes, and only then: leases, and marks that save repetition.
    """

    def __init__(self, url: str, size: int, name: str, *, durable: bool = True) -> None:
        parsed = database_url(url).set(drivername="postgresql")
        self._pool = AsyncConnectionPool(
            make_conninfo(
                parsed.render_as_string(hide_password=False),
                connect_timeout=CONNECT_TIMEOUT,
                application_name=name,
                options=f"-c statement_timeout={STATEMENT_TIMEOUT_MS}"
                + ("" if durable else " -c synchronous_commit=off"),
                **KEEPALIVES,
            ),
            min_size=1,
            max_size=size,
            timeout=POOL_TIMEOUT,
            reconnect_timeout=RECONNECT_SECONDS,
            open=False,
            # every statement here is run again and again: prepare it at once
            kwargs={"autocommit": True, "row_factory": namedtuple_row, "prepare_threshold": 0},
        )

    async def __aenter__(self) -> "Statements":
        """Begin to connect; does not wait for the database."""
        await self._pool.open(wait=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.close()

    async def rows(self, statement: str, parameters: Mapping[str, Any] | None = None) -> list[Any]:
        """All rows, as named tuples; none for a statement that returns none.

        A statement that met a dead connection has not been answered, and may have been done: it is
        run once more, so it must be one that may be.
        """
        try:
            return await self._rows(statement, parameters)
        except OperationalError as error:
            if not _was_disconnected(error):
                raise
            await self._pool.check()  # after a restart all of them are dead, and are replaced
        return await self._rows(statement, parameters)

    async def _rows(self, statement: str, parameters: Mapping[str, Any] | None) -> list[Any]:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(statement, parameters)
            return [] if cursor.description is None else await cursor.fetchall()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection in a transaction: committed at the end, rolled back by an error."""
        async with self._pool.connection() as connection, connection.transaction():
            yield connection


def _was_disconnected(error: OperationalError) -> bool:
    """Classes 08 and 57P (PostgreSQL, appendix A); no code when the socket itself broke."""
    if isinstance(error, PoolTimeout):
        return False
    return error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))
