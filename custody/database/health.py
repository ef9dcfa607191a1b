"""The health of the database: probes write to it, and the log reports each outage once.

A read does not show a full disk, and a small write may fit into an existing page. So only a
committed write ends an outage. After a full disk, the write must need new room.
"""

import asyncio
import os
import time
from collections.abc import Callable

import structlog

from custody.database.causes import DATABASE_ERRORS, Cause, cause_of, is_contention
from custody.database.pool import Pool

PROBE_SECONDS = 3.0
"""Seconds between two probes of a healthy database."""
AWAY_PROBE_SECONDS = 1.0
"""Seconds between two probes of an unavailable database."""
QUIET_SECONDS = 5.0
"""Seconds without a failure that end an outage in which some statements still work."""
REMINDER_SECONDS = 300.0
ROOM_ROWS = 32
ROOM_ROW_BYTES = 8000

_WRITE = """
    INSERT INTO database_probe AS known (id) VALUES (1)
    ON CONFLICT (id) DO UPDATE SET written_at = now()
"""

_TAKE_ROOM = """
    INSERT INTO database_probe (id, filler)
    SELECT id, :filler FROM generate_series(1, :rows) AS id
"""

log = structlog.get_logger(__name__)


class Outage:
    """An outage: its cause, and the time of its last log line. Does no I/O."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._cause: Cause | None = None
        self._needs_room = self._needs_quiet = False
        self._began = self._failed = self._said = 0.0

    @property
    def cause(self) -> Cause | None:
        """Return why the database is unavailable; None while it is available."""
        return self._cause

    @property
    def needs_room(self) -> bool:
        """Return whether only a write that needs new room on the disk can end this outage."""
        return self._needs_room

    def failed(self, error: BaseException) -> None:
        """Record that a statement failed, through no fault of the statement."""
        if is_contention(error):
            return
        now, is_new = self._clock(), self._cause is None
        cause = self._cause = cause_of(error)
        self._failed = now
        self._needs_room |= cause.needs_room
        self._needs_quiet |= cause.needs_quiet
        if is_new:
            self._began = now
        elif now - self._said < REMINDER_SECONDS:
            return
        self._said = now
        log.warning(
            "database is away" if is_new else "database is still away",
            cause=cause.what,
            todo=cause.todo,
            error=str(error).split("\n")[0],
            seconds=round(now - self._began),
        )

    def wrote(self) -> None:
        """Record a committed write; if ``needs_room`` is true, it took new room."""
        now = self._clock()
        if self._cause is None or (self._needs_quiet and now - self._failed < QUIET_SECONDS):
            return
        log.info("database is back", seconds=round(now - self._began))
        self._cause = None
        self._needs_room = self._needs_quiet = False


class DatabaseHealth:
    """Probes one database. The code that runs statements on it reports failures too."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._outage = Outage()
        self._probing = asyncio.Lock()
        self._probed = float("-inf")

    @property
    def cause(self) -> Cause | None:
        """Return why the database is unavailable; None while it is available."""
        return self._outage.cause

    def problem(self) -> str | None:
        """Return the cause and the remedy of an outage; None without an outage."""
        cause = self.cause
        return None if cause is None else f"{cause.what}. {cause.todo}"

    def failed(self, error: BaseException) -> None:
        """Record an error for which ``custody.database.causes.is_transient`` is true."""
        self._outage.failed(error)

    async def probe(self) -> bool:
        """Write now. Return True if that succeeds and no outage continues."""
        try:
            if self._outage.needs_room:
                await self._take_room()
            else:
                await self._pool.rows(_WRITE)
        except DATABASE_ERRORS as error:  # after any of these errors, nothing was written
            self._outage.failed(error)
            return False
        finally:
            self._probed = time.monotonic()
        self._outage.wrote()
        return self.cause is None

    async def check(self) -> Cause | None:
        """Return the cause of an outage, by a recent probe. Concurrent callers share the probe."""
        async with self._probing:
            age = time.monotonic() - self._probed
            if age >= (PROBE_SECONDS if self.cause is None else AWAY_PROBE_SECONDS):
                await self.probe()
        return self.cause

    async def watch(self) -> None:
        """Probe until cancelled."""
        while True:
            await self.check()
            await asyncio.sleep(PROBE_SECONDS if self.cause is None else AWAY_PROBE_SECONDS)

    async def _take_room(self) -> None:
        """Write into a new file, so that the write needs room on the disk."""
        async with (
            asyncio.timeout(AWAY_PROBE_SECONDS * 10),
            self._pool.transaction() as connection,
        ):
            # a backup can lock the table for long; then the next probe tries again
            await connection.rows("SET LOCAL lock_timeout = '500ms'")
            await connection.rows("TRUNCATE database_probe")
            filler = {"rows": ROOM_ROWS, "filler": os.urandom(ROOM_ROW_BYTES)}
            await connection.rows(_TAKE_ROOM, filler)
