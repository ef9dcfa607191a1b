"""The hot statements: psycopg without SQLAlchemy's layers, which cost more than the SQL.

Each statement is a transaction of its own unless it is run in ``transaction``. SQL is psycopg's,
with %(name)s parameters, and takes whole batches as arrays.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg import AsyncConnection, AsyncCursor, OperationalError
from psycopg.adapt import AdaptersMap
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.rows import namedtuple_row

from custody.database.arrays import ArrayDumper
from custody.database.engine import STATEMENT_TIMEOUT_MS
from custody.database.url import conninfo

Connection = AsyncConnection[Any]

ADAPTERS = AdaptersMap(psycopg.adapters)
ADAPTERS.register_dumper(list, ArrayDumper)

ANSWER_SECONDS = STATEMENT_TIMEOUT_MS / 1000 + 5
"""A server that does not even keep its own timeout is frozen: TimeoutError, which is transient."""


class Statements:
    """Runs statements on kept connections. ``engine.is_transient`` knows its errors.

    It connects when it must, and says at once when it cannot: psycopg's own pool keeps callers
    waiting while the database is away, and reconnects in its own time when it is back.

    A task that holds a connection must not ask for a second one: when every holder does, none of
    them ever gets one. That is a RuntimeError at once, however many connections are free.

    Not ``durable``: a commit does not wait for the disk. For what may be lost when the database
    server crashes, and only then: leases, and marks that save repetition.
    """

    def __init__(self, url: str, size: int, name: str, *, durable: bool = True) -> None:
        options = f"-c statement_timeout={STATEMENT_TIMEOUT_MS}"
        if not durable:
            options += " -c synchronous_commit=off"
        self._conninfo = conninfo(url, name, options=options)
        self._places = asyncio.Semaphore(size)
        self._idle: list[Connection] = []
        self._holders = set[asyncio.Task[Any] | None]()

    async def __aenter__(self) -> "Statements":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close_idle()

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
            await self._close_idle()  # after a restart all of them are dead
        return await self._rows(statement, parameters)

    async def last_rows(
        self, statements: Sequence[str], parameters: Mapping[str, Any] | None = None
    ) -> list[Any]:
        """All rows of the last of several statements: one transaction, in one round trip.

        As in ``rows``, they may be run twice. Each sees what was committed before it began.
        """
        try:
            return await self._last_rows(statements, parameters)
        except OperationalError as error:
            if not _was_disconnected(error):
                raise
            await self._close_idle()
        return await self._last_rows(statements, parameters)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection in a transaction: committed at the end, rolled back by an error."""
        async with self._connection() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection to itself, each statement committed at once."""
        async with self._connection() as connection:
            yield connection

    @asynccontextmanager
    async def connection_apart(self) -> AsyncIterator[Connection]:
        """A connection that is not one of the kept ones: for locks held as long as a process."""
        connection = await self._connect()
        try:
            yield connection
        finally:
            await connection.close()

    async def _rows(self, statement: str, parameters: Mapping[str, Any] | None) -> list[Any]:
        async with asyncio.timeout(ANSWER_SECONDS), self._connection() as connection:
            # every statement here is run again and again: prepare it at once
            return await _fetched(await connection.execute(statement, parameters, prepare=True))

    async def _last_rows(
        self, statements: Sequence[str], parameters: Mapping[str, Any] | None
    ) -> list[Any]:
        async with asyncio.timeout(ANSWER_SECONDS), self._connection() as connection:
            async with connection.pipeline():  # one implicit transaction, up to its end
                for statement in statements:
                    cursor = await connection.execute(statement, parameters, prepare=True)
            return await _fetched(cursor)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        """The connection used last, so that the others are not kept alive for nothing."""
        async with self._one_at_a_time(), self._places:
            connection = self._idle.pop() if self._idle else await self._connect()
            try:
                yield connection
            finally:
                if connection.info.transaction_status is TransactionStatus.IDLE:
                    self._idle.append(connection)
                else:  # dead, or in the middle of an answer that nobody waits for any more
                    await connection.close()

    @asynccontextmanager
    async def _one_at_a_time(self) -> AsyncIterator[None]:
        task = asyncio.current_task()
        if task in self._holders:
            raise RuntimeError("this task holds a connection, and asks for a second one")
        self._holders.add(task)
        try:
            yield
        finally:
            self._holders.discard(task)

    async def _connect(self) -> Connection:
        return await AsyncConnection.connect(
            self._conninfo, autocommit=True, row_factory=namedtuple_row, context=ADAPTERS
        )

    async def _close_idle(self) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.close()


async def _fetched(cursor: AsyncCursor[Any]) -> list[Any]:
    result = cursor.pgresult  # not cursor.description, which describes every column again
    has_rows = result is not None and result.status == ExecStatus.TUPLES_OK
    return await cursor.fetchall() if has_rows else []


def _was_disconnected(error: OperationalError) -> bool:
    """Classes 08 and 57P (PostgreSQL, appendix A); no code when the socket itself broke."""
    return error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))
