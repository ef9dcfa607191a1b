"""Puts share copies into the customer's bucket, with the same bytes until the bucket has them.

The bytes are in the database before the first put. So a signer that is killed at any moment puts
the same object again. The object's name contains the hash of these bytes, which are random: if the
bucket says that the name is taken (412), an earlier put has arrived.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import structlog

from custody.database.causes import is_transient
from custody.database.pool import Pool
from custody.runtime.live_tls import LiveTls
from custody.s3.bucket import Bucket
from custody.s3.faults import FaultKind, S3Fault
from mpc.layer4 import copy_queries
from mpc.layer4.customer_key import read_customer_key
from mpc.layer4.settings import Layer4Section
from mpc.metrics import (
    OLDEST_SHARE_COPY,
    SHARE_COPIES_MISSING,
    SHARE_COPIES_WAITING,
    SHARE_COPY_PUTS,
)

AT_ONCE = 4
"""Puts at once. Each has a thread, which a bucket that does not answer can hold."""
POLL_SECONDS = 1.0
COUNT_SECONDS = 15.0
"""Between two counts of all copies."""
COUNT_SECONDS_AFTER_A_PUT = 2.0
LONGEST_PAUSE = 60
"""Seconds between two puts of one copy."""
WORTH_SAYING = 15.0
"""Seconds that a copy may wait before the health mentions it, while no put has failed."""
MAX_FAULT = 300
STORED = "stored"

log = structlog.get_logger()


class Putter:
    """Puts what waits. One signer runs one; a command may put the same copies at the same time."""

    def __init__(self, pool: Pool, section: Layer4Section) -> None:
        self._pool = pool
        self._bucket = Bucket(section)
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="s3")
        self._deadline = 2 * (section.connect_timeout_seconds + section.timeout_seconds)
        self._woken = asyncio.Event()
        self._progress = asyncio.Event()
        self._counts: Any = None
        self.here = place_of(section)

    @property
    def tls(self) -> list[LiveTls]:
        """Return the TLS files that the signer watches."""
        return [] if self._bucket.tls is None else [self._bucket.tls]

    def wake(self) -> None:
        """Look for copies at once."""
        self._woken.set()

    def progress(self) -> asyncio.Event:
        """Return an event that happens at the next end of a put."""
        return self._progress

    def problem(self) -> str | None:
        """Return which copies are not in the bucket, and why; None if all are."""
        counts = self._counts
        if counts is None:
            return None
        problems = []
        is_late = counts.fault is not None or (counts.oldest_seconds or 0) > WORTH_SAYING
        if counts.waiting and is_late:
            problems.append(
                f"{counts.waiting} share copies are not in the customer's bucket, the oldest for "
                f"{counts.oldest_seconds:.0f} s: {counts.fault or 'no put has ended yet'}"
            )
        if counts.missing:
            problems.append(f"{counts.missing} shares have no copy; run mpc-signer layer4 backfill")
        return "; ".join(problems) or None

    async def run(self) -> None:
        """Put copies until cancelled."""
        clock = asyncio.get_running_loop()
        counted = float("-inf")
        while True:
            self._woken.clear()
            try:
                ended = len(await self.put_due())
                pause = COUNT_SECONDS_AFTER_A_PUT if ended else COUNT_SECONDS
                if clock.time() - counted > pause:
                    await self._count()
                    counted = clock.time()
            except Exception as error:
                if not is_transient(error):
                    raise
                ended = 0
            if ended < AT_ONCE:
                await _wait(self._woken, POLL_SECONDS)

    async def put_due(self) -> list[bool]:
        """Put copies whose time has come, at most AT_ONCE. Return whether each is stored now."""
        due = await self._pool.rows(copy_queries.DUE, {**self.here, "limit": AT_ONCE})
        return await asyncio.gather(*(self._put(copy) for copy in due))

    async def _put(self, copy: Any) -> bool:
        place = {"key_id": copy.key_id, "ceremony": copy.ceremony, **self.here}
        fault = await self._try(copy.key_id, copy.name, bytes(copy.content))
        if fault is None:
            await self._pool.rows(copy_queries.STORED, place)
        else:
            said = f"{fault.what}. {fault.todo}"[:MAX_FAULT]
            values = {**place, "fault": said, "longest_pause": LONGEST_PAUSE}
            await self._pool.rows(copy_queries.FAILED, values)
        self._progress.set()
        self._progress = asyncio.Event()
        return fault is None

    async def _try(self, key_id: UUID, name: str, content: bytes) -> S3Fault | None:
        """Put an object. Return the fault; None if the bucket has the object."""
        put = asyncio.get_running_loop().run_in_executor(
            self._threads, self._bucket.put_new, name, content
        )
        try:
            stored = await asyncio.wait_for(put, self._deadline)
        except S3Fault as fault:
            found = fault
        except TimeoutError:
            found = S3Fault(FaultKind.TIMEOUT, "the bucket did not answer in time")
        else:
            SHARE_COPY_PUTS.labels(STORED).inc()
            log.info("share copy stored", key_id=str(key_id), name=name, is_new=stored.is_new)
            return None
        SHARE_COPY_PUTS.labels(found.kind.value).inc()
        log.warning("share copy not stored", key_id=str(key_id), name=name, fault=found.what)
        return found

    async def _count(self) -> None:
        await self._pool.rows(copy_queries.FORGET, {})
        [self._counts] = await self._pool.rows(copy_queries.COUNTS, self.here)
        SHARE_COPIES_WAITING.set(self._counts.waiting)
        SHARE_COPIES_MISSING.set(self._counts.missing)
        OLDEST_SHARE_COPY.set(self._counts.oldest_seconds or 0)


def place_of(section: Layer4Section) -> dict[str, str]:
    """Return what tells copies apart from those for another bucket, prefix or customer key."""
    return {
        "place": section.place,
        "customer_key": read_customer_key(section.customer_key_file).fingerprint,
    }


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return
