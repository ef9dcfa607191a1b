"""Waiting for work and for results: woken by this replica or, by NOTIFY, by another.

A notification is a hint and may be lost: who waits looks at the database again in any case,
after RECHECK_SECONDS at the latest. To wait without missing anything, register, look, then wait::

    with notifications.done(job_id) as waiter:
        while not (found := await look()) and time_left():
            await waiter.wait(time_left())

Two steps announce a change: ``notify_*`` inside the transaction, for the other replicas, and
``wake_*`` after its commit, for this one, which needs no round trip. A payload is the announcing
replica's ``origin``, then the groups, signers or job ids, with spaces between;
queue.py writes the payload inside of statements that change jobs, which saves a round trip.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from uuid import UUID, uuid4

import structlog

from custody.database.causes import DATABASE_ERRORS
from custody.database.connection import Connection
from custody.database.pool import Pool
from custody.database.url import CONNECT_SECONDS

JOBS_CHANNEL = "custody_jobs"
TASKS_CHANNEL = "custody_tasks"
DONE_CHANNEL = "custody_done"
REVOKED_CHANNEL = "custody_revoked"
REPLICAS_CHANNEL = "custody_replicas"
CHANNELS = (JOBS_CHANNEL, TASKS_CHANNEL, DONE_CHANNEL, REVOKED_CHANNEL, REPLICAS_CHANNEL)
RECHECK_SECONDS = 5.0
PROBE_SECONDS = 10.0
"""Seconds of silence after which the listening connection is probed."""
SILENT_SECONDS = 3 * PROBE_SECONDS
"""A replica not heard of for so long is not there any more."""
BACKOFF_SECONDS = 0.1
MAX_BACKOFF_SECONDS = 5.0
IDS_PER_NOTIFICATION = 200
"""A payload must be shorter than 8000 bytes (PostgreSQL, NOTIFY); an id takes 37."""

_log = structlog.get_logger(__name__)


class Waiter:
    """Somebody's place in the waiting room of one group or one job."""

    def __init__(self) -> None:
        self._woken = asyncio.Event()

    def wake(self) -> None:
        self._woken.set()

    async def wait(self, seconds: float) -> bool:
        """Return True when woken since the last wait; False after min(seconds, RECHECK_SECONDS)."""
        try:
            async with asyncio.timeout(min(max(seconds, 0), RECHECK_SECONDS)):
                await self._woken.wait()
        except TimeoutError:
            return False
        self._woken.clear()
        return True


class Notifications:
    """One connection that listens, and everybody in this process who waits."""

    def __init__(self, url: str) -> None:
        self._pool = Pool(url, 1, "control-plane notifications")
        self.origin = uuid4().hex
        """First word of each payload: who hears its own was woken already."""
        self._waiting: dict[tuple[str, str], set[Waiter]] = {}
        self._announced = Counter[str]()
        self._gaps = 0
        """How often there was time in which announcements may have been missed."""
        self._task: asyncio.Task[None] | None = None
        self.listening = False
        self.revocations = 0
        """How many revoked tokens were heard of: what was read before the last may be wrong."""
        self._heard: dict[str, float] = {}
        self._is_asked = asyncio.Event()
        """Set when another replica wants to know who listens, and when the connection is lost."""
        self.closed = False
        """Set by close: who is woken then ends its wait, whatever time is left."""

    def start(self) -> None:
        """Begin to listen. Needs no database: connecting is retried without a limit."""
        self._task = asyncio.create_task(self._listen_repeatedly(), name="notifications")

    async def close(self) -> None:
        """Stop listening and wake everybody, so that they can end."""
        self.closed = True
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        self._wake_everybody()

    @property
    def has_company(self) -> bool:
        """Return whether another replica may be listening: else nothing need be announced.

        One that has just started is heard of before it waits for anything.
        """
        earliest = time.monotonic() - SILENT_SECONDS
        self._heard = {origin: at for origin, at in self._heard.items() if at > earliest}
        return bool(self._heard) or not self.listening

    def jobs(self, group: str) -> contextlib.AbstractContextManager[Waiter]:
        """Wait for claimable jobs of a node group."""
        return self._register((JOBS_CHANNEL, group))

    def tasks(self, signer: str) -> contextlib.AbstractContextManager[Waiter]:
        """Wait for a signer's tasks."""
        return self._register((TASKS_CHANNEL, signer))

    def done(self, job_id: UUID) -> contextlib.AbstractContextManager[Waiter]:
        """Wait for a job to become final."""
        return self._register((DONE_CHANNEL, str(job_id)))

    def wake_jobs(self, group: str) -> None:
        """After the commit: wake this replica's waiters for jobs of a group."""
        self._wake((JOBS_CHANNEL, group))

    def wake_tasks(self, signers: Iterable[str]) -> None:
        """After the commit: wake the claims of these signers that wait at this replica."""
        for signer in signers:
            self._wake((TASKS_CHANNEL, signer))

    def wake_done(self, job_ids: Iterable[UUID]) -> None:
        """After the commit: wake this replica's waiters for these jobs."""
        for job_id in job_ids:
            self._wake((DONE_CHANNEL, str(job_id)))

    @contextlib.contextmanager
    def _register(self, topic: tuple[str, str]) -> Iterator[Waiter]:
        waiter = Waiter()
        waiters = self._waiting.setdefault(topic, set())
        waiters.add(waiter)
        try:
            yield waiter
        finally:
            waiters.discard(waiter)
            if not waiters and self._waiting.get(topic) is waiters:
                del self._waiting[topic]

    def tasks_announced(self, signer: str) -> int:
        """Return how often tasks of a signer were announced, also while nobody waited."""
        return self._announced[signer] + self._gaps

    def _wake(self, topic: tuple[str, str]) -> None:
        if topic[0] == TASKS_CHANNEL:
            self._announced[topic[1]] += 1
        for waiter in self._waiting.get(topic, ()):
            waiter.wake()

    def _wake_everybody(self) -> None:
        self._gaps += 1
        for topic in self._waiting:
            self._wake(topic)

    async def _listen_repeatedly(self) -> None:
        backoff = BACKOFF_SECONDS
        while True:
            try:
                await self._listen()
            except Exception as error:
                if not isinstance(error, (*DATABASE_ERRORS, OSError)):  # TimeoutError is an OSError
                    _log.exception("notifications failed")
                elif self.listening:
                    _log.warning("notifications lost", reason=type(error).__name__)
                    backoff = BACKOFF_SECONDS
                self.listening = False
            await asyncio.sleep(backoff)
            backoff = min(2 * backoff, MAX_BACKOFF_SECONDS)

    async def _listen(self) -> None:
        """Listen until the connection breaks."""
        async with self._pool.connection_apart() as connection:
            connection.add_termination_listener(lambda _: self._is_asked.set())
            for channel in CHANNELS:
                await connection.add_listener(channel, self._receive)
            await self._introduce(connection, "new")
            self.revocations += 1  # whatever was revoked while nobody listened
            self.listening = True
            self._wake_everybody()  # what was announced while nobody listened
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PROBE_SECONDS):
                        await self._is_asked.wait()
                async with asyncio.timeout(CONNECT_SECONDS):
                    await self._introduce(connection, "here")

    async def _introduce(self, connection: Connection, word: str) -> None:
        """Tell the other replicas that we listen; "new" asks each to do the same."""
        self._is_asked.clear()
        values = {"channel": REPLICAS_CHANNEL, "payload": f"{self.origin} {word}"}
        await connection.rows("SELECT pg_notify(:channel, :payload)", values)

    def _receive(self, _connection: Connection, _pid: int, channel: str, payload: str) -> None:
        if channel == REVOKED_CHANNEL:
            self.revocations += 1
            return
        origin, *names = payload.split(" ")
        if origin == self.origin:
            return
        self._heard[origin] = time.monotonic()
        if channel == REPLICAS_CHANNEL:
            if names == ["new"]:
                self._is_asked.set()
            return
        for name in names:
            self._wake((channel, name))
