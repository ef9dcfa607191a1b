"""Reports outcomes until the control plane confirms them, also after a restart."""

import asyncio
import hashlib
from uuid import UUID

import structlog
from pydantic import ValidationError
from tenacity import AsyncRetrying, retry_if_exception

from custody.database.causes import is_transient
from custody.node.audit import AuditChain
from custody.node.control_plane_client import (
    ControlPlaneClient,
    ControlPlaneRefused,
    ControlPlaneUnavailable,
    pausing,
)
from custody.node.freeze import Freeze
from custody.node.journal import Journal
from custody.node.metrics import UNREPORTED
from custody.runtime.batching import Batcher
from custody.wire.node_api import MAX_BATCH, Report, ReportRequest
from custody.wire.outcomes import MadeSignature, Outcome

log = structlog.get_logger()

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0
MARK_INTERVAL = 1.0
LOOK_SECONDS = 0.5
"""Seconds between checks whether a freeze is over that holds signatures back."""
HELD = "held"
"""The note of an outcome that was not sent."""


class Reporter:
    """Batches reports; each carries the signed head of the audit chain that records them.

    While the node is frozen, no signature leaves it: such outcomes are held until it is not. An
    outcome that cannot be read may be a signature, and is held as well.
    """

    def __init__(
        self, client: ControlPlaneClient, journal: Journal, chain: AuditChain, freeze: Freeze
    ) -> None:
        self._client = client
        self._journal = journal
        self._chain = chain
        self._freeze = freeze
        self._held: dict[UUID, Report] = {}
        self._unreadable = set[UUID]()
        self._batcher = Batcher[Report, str](self._send, MAX_BATCH)
        self._confirmed: dict[UUID, bytes] = {}
        self._waiting = 0

    async def report(self, job_id: UUID, lease: UUID | None, outcome: bytes) -> bool:
        """Return True when the control plane has the outcome, False when a freeze holds it back.

        The journal has the held outcome, and ``release_repeatedly`` reports it after the freeze.
        Its lease is not extended, so another node of the group may do the job first.
        """
        report = Report(job_id=job_id, lease=lease, outcome=outcome)
        self._count(1)
        try:
            note = await self._batcher.submit(report)
        finally:
            self._count(-1)
        if note == HELD:
            log.warning("signature held back: this node is frozen", job=str(job_id))
            self._held[job_id] = report
            self._count(0)
            return False
        log.debug("reported", job=str(job_id), note=note)
        self._confirmed[job_id] = hashlib.sha256(outcome).digest()
        return True

    async def release_repeatedly(self) -> None:
        """Report the outcomes that a freeze has held back, after the freeze."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._held and self._freeze.problem() is None:
                held, self._held = self._held, {}
                log.info("reporting the outcomes that the freeze held back", count=len(held))
                await self._report_each(list(held.values()))

    async def report_left_over(self) -> None:
        """Report the outcomes that an earlier run of this node committed but did not report."""
        left_over = await self._journal.unreported()
        if left_over:
            log.info("reporting outcomes left over from an earlier run", count=len(left_over))
        await self._report_each(
            [Report(job_id=id_, lease=None, outcome=outcome) for id_, outcome in left_over.items()]
        )

    async def _report_each(self, reports: list[Report]) -> None:
        """Report outcomes of the journal. Log each failure, and report the other outcomes."""
        ends = await asyncio.gather(
            *(self.report(one.job_id, one.lease, one.outcome) for one in reports),
            return_exceptions=True,
        )
        for report, end in zip(reports, ends, strict=True):
            if isinstance(end, Exception):
                log.error(
                    "outcome not reported",
                    job=str(report.job_id),
                    todo="The journal has the outcome. This node reports it at its next start.",
                    exc_info=end,
                )

    async def mark_repeatedly(self) -> None:
        """Mark confirmed outcomes now and then: a lost mark only repeats a report."""
        while True:
            await asyncio.sleep(MARK_INTERVAL)
            await self.mark()

    async def mark(self) -> None:
        confirmed, self._confirmed = self._confirmed, {}
        if confirmed:
            await self._journal.mark_reported(confirmed)

    def _count(self, change: int) -> None:
        self._waiting += change
        UNREPORTED.set(self._waiting + len(self._held))

    async def _send(self, reports: list[Report]) -> list[str | Exception]:
        notes: dict[UUID, str] = {}
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
                going = self._free_to_go(
                    reports
                )  # at each attempt, because the node may have been frozen meanwhile
                notes = dict.fromkeys((report.job_id for report in reports), HELD)
                if going:
                    notes |= await self._notes(ReportRequest(reports=going, audit_head=head))
        return [notes[report.job_id] for report in reports]

    async def _notes(self, request: ReportRequest) -> dict[UUID, str]:
        response = await self._client.report(request)
        notes = {result.job_id: result.note for result in response.results}
        if any(report.job_id not in notes for report in request.reports):
            # the control plane has only the outcomes that its answer names
            raise ControlPlaneUnavailable(
                "the control plane's answer leaves outcomes of the report out"
            )
        return notes

    def _free_to_go(self, reports: list[Report]) -> list[Report]:
        """Return all outcomes; while this node is frozen, without the signatures."""
        if self._freeze.problem() is None:
            return reports
        return [report for report in reports if not self._may_be_signature(report)]

    def _may_be_signature(self, report: Report) -> bool:
        """Return True for a signature, and for bytes that cannot be parsed, which are logged once.

        The control plane receives such bytes after the freeze, and rejects them as a result.
        """
        try:
            outcome = Outcome.model_validate_json(report.outcome)
        except ValidationError as error:
            if report.job_id not in self._unreadable:
                self._unreadable.add(report.job_id)
                log.error(
                    "outcome held back: it cannot be read, so it may be a signature",
                    job=str(report.job_id),
                    malformed_fields=error.error_count(),
                    todo="Run the command audit verify: it names journal rows that differ from the "
                    "audit chain. Restore such a row from a backup before you unfreeze this node. "
                    "If the row is as it was written, another version of this software wrote it: "
                    "run that version.",
                )
            return True
        return isinstance(outcome.result, MadeSignature)


def _worth_another_try(error: BaseException) -> bool:
    """Return True for a failure after which the reporter retries.

    The database may cause such a failure: the report's audit head comes from there.
    """
    return isinstance(error, ControlPlaneUnavailable | ControlPlaneRefused) or is_transient(error)
