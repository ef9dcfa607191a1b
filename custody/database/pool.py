"""Access to PostgreSQL at run time: a pool of connections, and statements on them.

Each statement is a transaction of its own unless it runs in ``transaction``. A statement takes a
whole batch as arrays, so that a batch costs one round trip. The pool is our own, because asyncpg's
costs as much as a statement (ADR 22).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from custody.database import connection as kept
from custody.database.causes import is_disconnected
from custody.database.connection import Connection, Row
from custody.database.servers import Servers

Result = TypeVar("Result")


class Pool:
    """The connections of one process. ``causes.is_transient`` classifies their errors.

    A task that holds a connection must not ask for a second connection: if every task did so, all
    would wait permanently. So the request raises RuntimeError, even if connections are free.

    Without ``durable``, a commit does not wait for the disk. Use such a pool for rows that a crash
    of the database server may lose: leases, and marks that avoid repetition.

    ``settings``: of PostgreSQL, by name, for the sessions of this pool.
    """

    def __init__(
        self,
        url: str,
        size: int,
        name: str,
        *,
        durable: bool = True,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._servers = Servers(url, name)
        self._durable = durable
        self._settings = settings
        self._free = asyncio.Semaphore(size)
        self._idle: list[Connection] = []
        self._held = set[Connection]()
        self._stale = set[Connection]()
        self._holders = set[asyncio.Task[Any] | None]()

    async def __aenter__(self) -> "Pool":
        """Return the pool without connecting: the first use of a connection opens it."""
        return self

    async def __aexit__(self, *_: object) -> None:
        self._drop_others()
        for connection in self._held:
            connection.terminate()

    async def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        """Return all rows of a statement that may run twice.

        If the connection is lost, the server may have run the statement. The pool then runs it
        once more on a new connection.
        """
        try:
            async with self.connection() as connection:
                return await connection.rows(sql, parameters)
        except Exception as error:
            if not is_disconnected(error):
                raise
        async with self.connection() as connection:
            return await connection.rows(sql, parameters)

    async def row(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Row | None:
        """Return the first row, or None. As ``rows``, the statement may run twice."""
        return next(iter(await self.rows(sql, parameters)), None)

    async def in_transaction(self, work: Callable[[Connection], Awaitable[Result]]) -> Result:
        """Do work in a transaction. Repeat the work once if the connection is lost, as ``rows``."""
        try:
            async with self.transaction() as connection:
                return await work(connection)
        except Exception as error:
            if not is_disconnected(error):
                raise
        async with self.transaction() as connection:
            return await work(connection)

    @asynccontextmanager
    async def transaction(self, begin: str = "") -> AsyncIterator[Connection]:
        """Hold a connection in a transaction. Commit at the end; roll back after an error.

        ``begin``: SQL without parameters that runs with BEGIN in one round trip.
        """
        async with self.connection() as connection:
            try:
                await connection.run(f"BEGIN; {begin}")
                yield connection
                if await connection.run("COMMIT") != "COMMIT":
                    raise RuntimeError(
                        "a statement of the transaction failed, and the caller ignored the error"
                    )
            except Exception as error:
                if not _ends_connection(error):
                    await connection.run("ROLLBACK")
                raise

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Hold a connection; each statement is committed at once."""
        async with self._one_at_a_time():
            connection = await self._take()
            try:
                yield connection
            except BaseException as error:
                if _ends_connection(error):
                    # a graceful end would wait for the server, which may be silent
                    connection.terminate()
                    if is_disconnected(error):
                        self._drop_others()
                raise
            finally:
                self._give_back(connection)

    @asynccontextmanager
    async def connection_apart(self) -> AsyncIterator[Connection]:
        """Hold a connection that is not of the pool: for locks held as long as a process."""
        connection = await self._connect()
        try:
            yield connection
        finally:
            connection.terminate()

    async def _connect(self) -> Connection:
        with kept.known_errors():
            connection = await self._servers.connect()
        try:
            await kept.prepare(connection, durable=self._durable, settings=self._settings)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _take(self) -> Connection:
        """Return the connection that was used last, or a new one, once fewer than all are held."""
        with kept.known_errors():
            async with asyncio.timeout(kept.ANSWER_SECONDS):
                await self._free.acquire()
                try:
                    connection = self._last_used() or await self._connect()
                except BaseException:
                    self._free.release()
                    raise
        self._held.add(connection)
        return connection

    def _last_used(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return None

    def _give_back(self, connection: Connection) -> None:
        self._held.discard(connection)
        if not connection.is_closed():
            if connection in self._stale or connection.is_in_transaction():
                connection.terminate()
            else:
                self._idle.append(connection)
        self._stale.discard(connection)
        self._free.release()

    def _drop_others(self) -> None:
        """Drop the others when a connection is lost: those that are held, once they come back.

        After a failover they lead to the old primary.
        """
        while self._idle:
            self._idle.pop().terminate()
        self._stale.update(self._held)

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


def _ends_connection(error: BaseException) -> bool:
    """Return whether the connection is lost, or receives an answer that no caller waits for."""
    if isinstance(error, asyncio.CancelledError | GeneratorExit | TimeoutError):
        return True
    return is_disconnected(error)
