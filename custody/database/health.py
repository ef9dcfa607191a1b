"""Whether the database can be worked with: found out by writing to it, and logged once.

A read says nothing of a disk that is full, and a small write in a page that is there says little.
So only a committed write ends an outage; after a full disk it is one that needs new room.
"""

import asyncio
import os
import time
from collections.abc import Callable

import structlog

from custody.database.causes import DATABASE_ERRORS, Cause, cause_of, is_contention
from custody.database.pool import Pool

PROBE_SECONDS = 3.0
"""Between two probes of a database that is well."""
AWAY_PROBE_SECONDS = 1.0
"""Between two probes of a database that is away."""
QUIET_SECONDS = 5.0
"""Nothing may have failed for so long before an outage in which some statements work is over."""
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
    """What is known of a database's outage, and what the log has said of it. Does no I/O."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._cause: Cause | None = None
        self._needs_room = self._needs_quiet = False
        self._began = self._failed = self._said = 0.0

    @property
    def cause(self) -> Cause | None:
        """Why the database is away; None while it is there."""
        return self._cause

    @property
    def needs_room(self) -> bool:
        """Whether only a write that needs new room on the disk can end this outage."""
        return self._needs_room

    def failed(self, error: BaseException) -> None:
        """A statement failed, and not for what it asked."""
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
        """A write was committed; where ``needs_room`` is true, one that took new room."""
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
        """Why the database is away; None while it is there."""
        return self._outage.cause

    def problem(self) -> str | None:
        """What is wrong and what helps; None while nothing is."""
        cause = self.cause
        return None if cause is None else f"{cause.what}. {cause.todo}"

    def failed(self, error: BaseException) -> None:
        """Tell of a statement's error that ``custody.database.causes.is_transient`` is true of."""
        self._outage.failed(error)

    async def probe(self) -> bool:
        """Write now. True when the database is there, and no outage is waiting for its end."""
        try:
            if self._outage.needs_room:
                await self._take_room()
            else:
                await self._pool.rows(_WRITE)
        except DATABASE_ERRORS as error:  # whatever it is, nothing was written
            self._outage.failed(error)
            return False
        finally:
            self._probed = time.monotonic()
        self._outage.wrote()
        return self.cause is None

    async def check(self) -> Cause | None:
        """The cause of an outage, by a probe that is recent. Many may ask at once."""
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
        """A write into a file of its own, so that there must be room on the disk for it."""
        async with (
            asyncio.timeout(AWAY_PROBE_SECONDS * 10),
            self._pool.transaction() as connection,
        ):
            # a backup of the database holds the table for long; the next probe asks again
            await connection.rows("SET LOCAL lock_timeout = '500ms'")
            await connection.rows("TRUNCATE database_probe")
            filler = {"rows": ROOM_ROWS, "filler": os.urandom(ROOM_ROW_BYTES)}
            await connection.rows(_TAKE_ROOM, filler)
