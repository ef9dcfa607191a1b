"""Access to PostgreSQL at run time: a pool of connections, and statements on them.

Each statement is a transaction of its own unless it runs in ``transaction``. A statement takes a
whole batch as arrays, so that a batch costs one round trip.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg

from custody.database import connection as kept
from custody.database.causes import is_disconnected
from custody.database.connection import Connection, Row

Result = TypeVar("Result")


class Pool:
    """The connections of one process. ``causes.is_transient`` classifies their errors.

    A task that holds a connection must not ask for a second connection: if every task did so, all
    would wait permanently. So the request raises RuntimeError, even if connections are free.

    Without ``durable``, a commit does not wait for the disk. Use such a pool for rows that a crash
    of the database server may lose: leases, and marks that avoid repetition.
    """

    def __init__(self, url: str, size: int, name: str, *, durable: bool = True) -> None:
        self._options = kept.options(url, name)
        self._size = size
        self._durable = durable
        self._pool: asyncpg.Pool | None = None
        self._holders = set[asyncio.Task[Any] | None]()

    async def __aenter__(self) -> "Pool":
        """Return the pool without connecting: the first use of a connection opens it."""
        return self

    async def __aexit__(self, *_: object) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.terminate()

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
                    raise RuntimeError("the transaction had an error that nobody let through")
            except Exception as error:
                if not _ends_connection(error):
                    await connection.run("ROLLBACK")
                raise

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Hold a connection; each statement is committed at once."""
        async with self._one_at_a_time():
            pool = await self._opened()
            with kept.known_errors():
                proxy = await pool.acquire(timeout=kept.ANSWER_SECONDS)
            # the proxy of a lost connection raises InterfaceError, as for a caller's mistake
            connection: Connection = proxy._con
            try:
                yield connection
            except BaseException as error:
                if _ends_connection(error):
                    # a graceful end would wait for the server, which may be silent
                    connection.terminate()
                    if is_disconnected(error):
                        await pool.expire_connections()
                raise
            finally:
                await pool.release(proxy)

    @asynccontextmanager
    async def connection_apart(self) -> AsyncIterator[Connection]:
        """Hold a connection outside of the pool, for locks that a process holds until its end."""
        with kept.known_errors():
            connection: Any = await asyncpg.connect(**self._options)
        try:
            await kept.prepare(connection, durable=self._durable)
            yield connection
        finally:
            connection.terminate()

    async def _opened(self) -> asyncpg.Pool:
        if self._pool is None:
            self._pool = asyncpg.create_pool(
                min_size=0,
                max_size=self._size,
                max_queries=2**62,  # no need to replace a used connection
                init=self._prepare,
                **self._options,
            )
        return await self._pool  # only the first await opens the pool

    async def _prepare(self, connection: Any) -> None:
        await kept.prepare(connection, durable=self._durable)

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
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return True
    return is_disconnected(error)
