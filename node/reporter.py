"""Sends outcomes until the control plane has them, also after a restart."""

import asyncio
import hashlib
from uuid import UUID

import structlog
from tenacity import AsyncRetrying, retry_if_exception

from daemon.batching import Batcher
from daemon.database import is_transient
from node.audit import AuditChain
from node.control_plane_client import (
    ControlPlaneClient,
    ControlPlaneRefused,
    ControlPlaneUnavailable,
    pausing,
)
from node.journal import Journal
from node.metrics import UNREPORTED
from wire.node_api import MAX_BATCH, Report, ReportRequest

log = structlog.get_logger()

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0
MARK_INTERVAL = 1.0


class Reporter:
    """Batches reports; each carries the signed head of the audit chain that records them."""

    def __init__(self, client: ControlPlaneClient, journal: Journal, chain: AuditChain) -> None:
        self._client = client
        self._journal = journal
        self._chain = chain
        self._batcher = Batcher[Report, str](self._send, MAX_BATCH)
        self._confirmed: dict[UUID, bytes] = {}
        self._waiting = 0

    async def report(self, job_id: UUID, lease: UUID | None, outcome: bytes) -> None:
        """Return when the control plane has the outcome."""
        self._count(1)
        try:
            note = await self._batcher.submit(Report(job_id=job_id, lease=lease, outcome=outcome))
        finally:
            self._count(-1)
        log.debug("reported", job=str(job_id), note=note)
        self._confirmed[job_id] = hashlib.sha256(outcome).digest()

    async def report_left_over(self) -> None:
        """Send what an earlier run of this node committed and did not get through."""
        left_over = await self._journal.unreported()
        if left_over:
            log.info("reporting outcomes left over from an earlier run", count=len(left_over))
        await asyncio.gather(
            *(self.report(job_id, None, outcome) for job_id, outcome in left_over.items())
        )

    async def mark_for_ever(self) -> None:
        """Mark what the control plane has, now and then: without it, it is only sent once more."""
        while True:
            await asyncio.sleep(MARK_INTERVAL)
            await self.mark()

    async def mark(self) -> None:
        confirmed, self._confirmed = self._confirmed, {}
        if confirmed:
            await self._journal.mark_reported(confirmed)

    def _count(self, change: int) -> None:
        self._waiting += change
        UNREPORTED.set(self._waiting)

    async def _send(self, reports: list[Report]) -> list[str | Exception]:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception(_worth_another_try),
            wait=pausing(FIRST_PAUSE, LONGEST_PAUSE),
            before_sleep=lambda state: log.warning(
                "report failed, trying again",
                error=str(state.outcome.exception()) if state.outcome else None,
                outcomes=len(reports),
            ),
        ):
            with attempt:
                head = await self._chain.signed_head()
                request = ReportRequest(reports=reports, audit_head=head)
                response = await self._client.report(request)
                notes = {result.job_id: result.note for result in response.results}
                if any(report.job_id not in notes for report in reports):
                    # only what it answers for is it known to have
                    raise ControlPlaneUnavailable("the answer leaves outcomes of the report out")
        return [notes[report.job_id] for report in reports]


def _worth_another_try(error: BaseException) -> bool:
    """Also when our database is away: the head of the audit chain is read from it."""
    return isinstance(error, ControlPlaneUnavailable | ControlPlaneRefused) or is_transient(error)
