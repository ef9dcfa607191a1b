"""The periodic sweep: lapsed leases, expired jobs, due retries, overdue steps, old audit heads."""

import asyncio
import time

import structlog

from custody.control_plane.audit.heads import AuditHeads
from custody.control_plane.conductor.conductor import Conductor
from custody.control_plane.jobs.queue import Queue
from custody.database.causes import is_transient

SWEEP_SECONDS = 1.0
THIN_SECONDS = 3600.0

log = structlog.get_logger(__name__)


class Sweep:
    """Sweeps for as long as the process lives. Any number of replicas may do so at once."""

    def __init__(
        self, queue: Queue, audit_heads: AuditHeads, conductor: Conductor | None = None
    ) -> None:
        self._queue = queue
        self._audit_heads = audit_heads
        self._conductor = conductor
        self._thin_at = time.monotonic() + THIN_SECONDS

    async def run(self) -> None:
        """Sweep every second until cancelled; whatever fails is tried again with the next."""
        while True:
            try:
                await self._once()
            except Exception as error:
                self._say_failed(error)
            await asyncio.sleep(SWEEP_SECONDS)

    async def _once(self) -> None:
        swept = await self._queue.sweep()
        if swept.lapsed or swept.expired or swept.unreported:
            log.info(
                "swept",
                lapsed_leases=swept.lapsed,
                expired_jobs=swept.expired,
                unreported_jobs=swept.unreported,
            )
        if self._conductor is not None:
            await self._conductor.sweep()
        if time.monotonic() >= self._thin_at:
            self._thin_at = time.monotonic() + THIN_SECONDS
            await self._audit_heads.thin()

    def _say_failed(self, error: Exception) -> None:
        """Log every error but an outage, which the database's health shows: it is a bug."""
        if not is_transient(error):
            log.error("sweep failed", exc_info=error)
