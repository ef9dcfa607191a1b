"""A lock that shows all processes of a signer whether the process that wrote a row is alive.

Each has an id of its own and holds an advisory lock of that name, on a connection that it keeps for
nothing else. PostgreSQL releases the lock with the connection, so however a process ends, the
others see that it has.
"""

import asyncio
from types import TracebackType
from uuid import uuid4

import structlog

from custody.database.causes import is_transient
from custody.database.pool import Pool

RETRY_SECONDS = 0.2

log = structlog.get_logger()

_LOCK = """
    SELECT set_config('tcp_keepalives_idle', '5', false) AS idle,
        set_config('tcp_keepalives_interval', '5', false) AS interval,
        set_config('tcp_keepalives_count', '3', false) AS count,
        pg_advisory_lock(hashtextextended(:process, 0))
"""
"""Sets keepalives of the server, which otherwise notices a lost host after hours."""

IS_ALIVE = """
    (process IS NOT NULL
        AND NOT pg_try_advisory_xact_lock_shared(hashtextextended(process::text, 0)))
"""
"""SQL about a row's ``process``. Shared: two that ask at once do not take each other for it."""


class ProcessLock:
    """Use it as a context. ``id`` names this process; it is never used again."""

    def __init__(self, pool: Pool) -> None:
        self.id = uuid4()
        self._pool = pool
        self._is_held = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "ProcessLock":
        self._keeper = asyncio.create_task(self._keep(), name="process lock")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])

    async def held(self) -> None:
        """Return once the lock is held: a row written before would look like a dead process's."""
        await self._is_held.wait()

    async def _keep(self) -> None:
        """Hold the lock until cancelled; take it again as soon as the database is back."""
        while True:
            try:
                async with self._pool.connection_apart() as connection:
                    await connection.rows(_LOCK, {"process": str(self.id)})
                    self._is_held.set()
                    await connection.ended()
            except Exception as error:
                if not is_transient(error):
                    log.exception("process lock lost")
                elif self._is_held.is_set():
                    log.warning("process lock lost, taking it again")
            self._is_held.clear()
            await asyncio.sleep(RETRY_SECONDS)
