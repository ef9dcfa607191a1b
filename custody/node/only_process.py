"""One process of a node at a time: a second one would conflict in its audit chain.

The process holds an advisory lock of the node's name on a connection of its own. PostgreSQL
releases the lock when the connection ends. A process without the lock takes no work.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType

import structlog

from custody.database.causes import is_transient
from custody.database.connection import Connection
from custody.database.pool import Pool
from custody.runtime.errors import OperatorError

WAIT_SECONDS = 45.0
"""Wait at the start: the earlier process drains, or PostgreSQL notices that its host is lost."""
RETRY_SECONDS = 0.2
TRIES_OF_A_COMMAND = 10
"""Before a command takes the node for a running one: PostgreSQL may still see an ended process."""

log = structlog.get_logger()

_KEEPALIVES = """
    SELECT set_config('tcp_keepalives_idle', '5', false) AS idle,
        set_config('tcp_keepalives_interval', '5', false) AS interval,
        set_config('tcp_keepalives_count', '3', false) AS count
"""
"""Keepalives of the server's side: without them it notices a lost host only after hours."""
_TRY = "SELECT pg_try_advisory_lock(hashtextextended('one process of ' || :node, 0)) AS is_held"


@asynccontextmanager
async def stopped_node(pool: Pool, node: str, todo: str | None = None) -> AsyncIterator[None]:
    """Keep a node from starting during a command. Raise OperatorError if the node runs.

    ``todo``: the next step of that error, if it is not to stop the node.
    """
    async with pool.connection_apart() as connection:
        for _ in range(TRIES_OF_A_COMMAND):
            row = await connection.row(_TRY, {"node": node})
            if row is not None and row.is_held:
                break
            await asyncio.sleep(RETRY_SECONDS)
        else:
            raise OperatorError(
                f"{node} runs on this database",
                todo or f"Stop {node}, then run the command again.",
            )
        yield


class OnlyProcess:
    """A context that is entered once the lock is held. Entering it raises OperatorError.

    ``wait_seconds``: longest wait at the start for another process of the node.
    """

    def __init__(self, pool: Pool, node: str, wait_seconds: float = WAIT_SECONDS) -> None:
        self._pool = pool
        self._node = node
        self._wait_seconds = wait_seconds
        self._is_held = asyncio.Event()
        self._was_refused = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "OnlyProcess":
        self._keeper = asyncio.create_task(self._keep(), name="only process")
        try:
            await self._first_held()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        await self._stop()

    def problem(self) -> str | None:
        """Return why this process takes no work; None while it holds the lock."""
        if self._is_held.is_set():
            return None
        if self._was_refused.is_set():
            return f"another process of {self._node} runs on this database: stop one of the two"
        return "this node lost its lock with the database connection, and tries to take it again"

    async def _first_held(self) -> None:
        """Wait until the lock is held. Raise OperatorError if another process keeps it.

        While the database is unavailable, the wait has no limit: no process is known to hold the
        lock.
        """
        held = asyncio.create_task(self._is_held.wait())
        refused = asyncio.create_task(self._was_refused.wait())
        try:
            await asyncio.wait([held, refused], return_when=asyncio.FIRST_COMPLETED)
            if not held.done():
                log.warning("waiting for another process of this node to end", node=self._node)
                await asyncio.wait([held], timeout=self._wait_seconds)
            if not held.done():
                raise OperatorError(
                    f"another process of {self._node} runs on this database",
                    f"A node has one process. Stop the other process. If this should be another "
                    f"node, give it its own id and certificate (not {self._node}).",
                )
        finally:
            held.cancel()
            refused.cancel()

    async def _stop(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])

    async def _keep(self) -> None:
        """Hold the lock until cancelled; take a lost lock again as soon as possible."""
        while True:
            try:
                async with self._pool.connection_apart() as connection:
                    await connection.rows(_KEEPALIVES)
                    await self._take(connection)
                    self._was_refused.clear()
                    self._is_held.set()
                    await connection.ended()
            except Exception as error:
                if not is_transient(error):
                    log.exception("the lock of this node was lost")
                elif self._is_held.is_set():
                    log.warning("this node lost its lock, taking the lock again")
            self._is_held.clear()
            await asyncio.sleep(RETRY_SECONDS)

    async def _take(self, connection: Connection) -> None:
        while True:
            row = await connection.row(_TRY, {"node": self._node})
            if row is not None and row.is_held:
                return
            self._was_refused.set()
            await asyncio.sleep(RETRY_SECONDS)
