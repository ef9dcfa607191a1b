"""The control plane's database: plain SQL on kept connections.

``custody.database.pool`` runs it. This file adds a pool whose commits do not wait for the disk, and
one for lists. It tells the database's health of every statement that fails.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from custody.database.causes import DATABASE_ERRORS, is_transient
from custody.database.connection import Connection
from custody.database.health import DatabaseHealth
from custody.database.pool import Pool

Result = TypeVar("Result")
AnyRow = Any
"""A row, its columns as attributes."""

NAME = "control-plane"
TREE = "control_plane"
"""Its folder in custody/migrations."""
MIGRATE_COMMAND = "control-plane migrate"
CONNECTIONS = 8
LISTING_CONNECTIONS = 4
"""Of lists alone: slow lists leave all other connections free."""
LIST_SETTINGS = {
    "plan_cache_mode": "force_custom_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}
"""How PostgreSQL plans lists.

After five runs of a statement it may keep one plan for all values. That plan expects few rows with
a tag, so for a rare status it reads all of them. The other settings leave it the indexes. It would
read a whole table if it expected few rows after a cursor.
"""


class Database:
    """Use it as a context. Each connection is made when it is first needed.

    ``health`` is told of every statement that fails.
    """

    def __init__(self, url: str) -> None:
        self._durable = Pool(url, CONNECTIONS, NAME)
        self._hasty = Pool(url, CONNECTIONS, NAME, durable=False)
        self._lists = Pool(url, LISTING_CONNECTIONS, NAME, settings=LIST_SETTINGS)
        self._probes = Pool(url, 1, NAME)
        self.health = DatabaseHealth(self._probes)

    async def __aenter__(self) -> "Database":
        return self

    async def __aexit__(self, *_: object) -> None:
        for pool in (self._durable, self._hasty, self._lists, self._probes):
            await pool.__aexit__()

    async def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Sequence[AnyRow]:
        """Return all rows of a statement that may run twice. It is a transaction of its own."""
        with self._noting():
            return await self._durable.rows(sql, parameters)

    async def row(self, sql: str, parameters: Mapping[str, Any] | None = None) -> AnyRow | None:
        """Return the first row, or None. As ``rows``, the statement may run twice."""
        return next(iter(await self.rows(sql, parameters)), None)

    async def listed(
        self, sql: str, parameters: Mapping[str, Any] | None = None
    ) -> Sequence[AnyRow]:
        """Do as ``rows`` for a page of a list, on connections with LIST_SETTINGS."""
        with self._noting():
            return await self._lists.rows(sql, parameters)

    async def hastily(
        self, sql: str, parameters: Mapping[str, Any] | None = None
    ) -> Sequence[AnyRow]:
        """Do as ``rows``, without waiting for the disk.

        What a crash of the database server loses of it must be made good by itself: a lost lease
        lapses anyway, a lost audit head is followed by the next.
        """
        with self._noting():
            return await self._hasty.rows(sql, parameters)

    async def in_transaction(self, work: Callable[[Connection], Awaitable[Result]]) -> Result:
        """Do work that may be done twice, as a transaction; an error rolls it back."""
        with self._noting():
            return await self._durable.in_transaction(work)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Hold a connection in a transaction: committed at the end, rolled back by an error."""
        with self._noting():
            async with self._durable.transaction() as connection:
                yield connection

    @asynccontextmanager
    async def hasty_transaction(self, begin: str) -> AsyncIterator[Connection]:
        """Do as ``transaction``, without waiting for the disk unless a statement in it says so.

        ``begin``: SQL without parameters that runs with BEGIN in one round trip.
        """
        with self._noting():
            async with self._hasty.transaction(begin) as connection:
                yield connection

    @contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except DATABASE_ERRORS as error:
            if is_transient(error):
                self.health.failed(error)
            raise
