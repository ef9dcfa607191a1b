"""Sends outcomes until the control plane has them, also after a restart."""

import asyncio
from dataclasses import dataclass
from uuid import UUID

import structlog
from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential_jitter

from daemon.batching import Batcher
from hsm_driver.audit import AuditChain
from hsm_driver.control_plane_client import (
    ControlPlaneClient,
    ControlPlaneRefused,
    ControlPlaneUnavailable,
)
from hsm_driver.journal import Journal
from hsm_driver.metrics import UNREPORTED
from wire.node_api import MAX_BATCH, Report, ReportRequest

log = structlog.get_logger()

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0


@dataclass(frozen=True)
class _Confirmed:
    note: str


class Reporter:
    """Batches reports; each carries the signed head of the audit chain that records them."""

    def __init__(self, client: ControlPlaneClient, journal: Journal, chain: AuditChain) -> None:
        self._client = client
        self._journal = journal
        self._chain = chain
        self._batcher = Batcher[Report, _Confirmed](self._send, MAX_BATCH)
        self._marker = Batcher[UUID, None](self._mark)
        self._marking: set[asyncio.Task[None]] = set()
        self._waiting = 0

    async def report(self, job_id: UUID, lease: UUID | None, outcome: bytes) -> None:
        """Return when the control plane has the outcome."""
        self._count(1)
        try:
            confirmed = await self._batcher.submit(
                Report(job_id=job_id, lease=lease, outcome=outcome)
            )
        finally:
            self._count(-1)
        log.debug("reported", job=str(job_id), note=confirmed.note)
        # nothing waits for this mark: without it, the report is only sent once more
        task = asyncio.create_task(self._marker.submit(job_id))
        self._marking.add(task)
        task.add_done_callback(self._marking.discard)

    async def report_left_over(self) -> None:
        """Send what an earlier run of this node committed and did not get through."""
        left_over = await self._journal.unreported()
        if left_over:
            log.info("reporting outcomes left over from an earlier run", count=len(left_over))
        await asyncio.gather(
            *(self.report(job_id, None, outcome) for job_id, outcome in left_over.items())
        )

    async def close(self) -> None:
        """Wait for the marks under way."""
        if self._marking:
            await asyncio.wait(self._marking, timeout=LONGEST_PAUSE)

    def _count(self, change: int) -> None:
        self._waiting += change
        UNREPORTED.set(self._waiting)

    async def _send(self, reports: list[Report]) -> list[_Confirmed | Exception]:
        request = ReportRequest(reports=reports, audit_head=await self._chain.signed_head())
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type((ControlPlaneUnavailable, ControlPlaneRefused)),
            wait=wait_exponential_jitter(multiplier=FIRST_PAUSE, max=LONGEST_PAUSE),
            before_sleep=lambda state: log.warning(
                "report failed, trying again",
                error=str(state.outcome.exception()) if state.outcome else None,
                outcomes=len(reports),
            ),
        ):
            with attempt:
                response = await self._client.report(request)
        notes = {result.job_id: result.note for result in response.results}
        return [_Confirmed(notes.get(report.job_id, "unmentioned")) for report in reports]

    async def _mark(self, job_ids: list[UUID]) -> list[Exception | None]:
        await self._journal.mark_reported(job_ids)
        return [None] * len(job_ids)
