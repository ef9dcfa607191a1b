"""The reporter: an outcome counts as delivered once the control plane has answered for it."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from structlog.testing import capture_logs

from custody.node.freeze import Freeze
from custody.node.journal import outcome_bytes
from custody.node.reporter import Reporter
from custody.wire.audit import GENESIS, AuditHead
from custody.wire.node_api import ReportRequest, ReportResponse, ReportResult
from custody.wire.outcomes import Outcome, OutcomeStatus
from custody.wire.signed_bytes import AUDIT_HEAD_TYPE, SignedBytes, SigningKey


class Chain:
    async def signed_head(self) -> SignedBytes:
        head = AuditHead(node="node-1", sequence=0, hash=GENESIS)
        signer = SigningKey(Ed25519PrivateKey.generate())
        return signer.sign(AUDIT_HEAD_TYPE, head.model_dump_json().encode())


class ForgetfulControlPlane:
    """Answers its first report for nothing that is in it."""

    def __init__(self) -> None:
        self.reports = 0

    async def report(self, request: ReportRequest) -> ReportResponse:
        self.reports += 1
        answered = request.reports if self.reports > 1 else []
        results = [ReportResult(job_id=each.job_id, note="recorded") for each in answered]
        return ReportResponse(results=results)


class Journal:
    def __init__(self, left_over: dict[UUID, bytes] | None = None) -> None:
        self.marked: list[UUID] = []
        self.left_over = left_over or {}

    async def unreported(self) -> dict[UUID, bytes]:
        return self.left_over

    async def mark_reported(self, job_ids: list[UUID]) -> None:
        self.marked += job_ids


async def test_what_an_answer_leaves_out_is_sent_again(tmp_path: Path):
    plane, journal, chain = ForgetfulControlPlane(), Journal(), Chain()
    parts: Any = (plane, journal, chain, Freeze(tmp_path))
    reporter = Reporter(*parts)
    job_id = uuid4()
    with capture_logs() as logs:
        await reporter.report(job_id, None, b"{}")
    assert plane.reports == 2
    assert "leaves outcomes of the report out" in logs[0]["error"]
    await reporter.mark()
    assert journal.marked == [job_id]


class AttentiveControlPlane:
    """Answers for whatever it is sent; fails for one job in a way that nobody expected."""

    def __init__(self, bad: UUID | None = None) -> None:
        self.has: dict[UUID, bytes] = {}
        self._bad = bad

    async def report(self, request: ReportRequest) -> ReportResponse:
        if any(each.job_id == self._bad for each in request.reports):
            raise OverflowError("not expected")
        self.has |= {each.job_id: each.outcome for each in request.reports}
        results = [ReportResult(job_id=each.job_id, note="recorded") for each in request.reports]
        return ReportResponse(results=results)


def denial(job_id: UUID) -> bytes:
    outcome = Outcome(job_id=job_id, node="node-1", status=OutcomeStatus.DENIED, code="expired")
    return outcome_bytes(outcome)


@pytest.mark.parametrize("damaged", [b"", b"not JSON", b"{}", b'{"result": {"type": "unknown"}}'])
async def test_what_cannot_be_read_is_held_by_a_freeze_and_stops_nothing_else(
    tmp_path: Path, damaged: bytes
):
    bad, good = uuid4(), uuid4()
    plane, freeze = AttentiveControlPlane(), Freeze(tmp_path)
    parts: Any = (plane, Journal({bad: damaged, good: denial(good)}), Chain(), freeze)
    freeze.freeze("drill")
    reporter = Reporter(*parts)
    with capture_logs() as logs:
        await reporter.report_left_over()
        await reporter.report_left_over()
    assert set(plane.has) == {good}
    [said] = [each for each in logs if each["log_level"] == "error"]
    assert said["job"] == str(bad)
    assert "audit verify" in said["todo"]
    freeze.unfreeze()
    releasing = asyncio.create_task(reporter.release_repeatedly())
    async with asyncio.timeout(10):
        while bad not in plane.has:  # noqa: ASYNC110 (what is waited for is the reporter's pause)
            await asyncio.sleep(0.05)
    releasing.cancel()


async def test_an_outcome_whose_report_fails_unexpectedly_ends_nothing(tmp_path: Path):
    bad = uuid4()
    journal = Journal({bad: denial(bad)})
    parts: Any = (AttentiveControlPlane(bad), journal, Chain(), Freeze(tmp_path))
    reporter = Reporter(*parts)
    with capture_logs() as logs:
        await reporter.report_left_over()
    assert [each["job"] for each in logs if each["log_level"] == "error"] == [str(bad)]
