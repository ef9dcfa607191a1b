"""The reporter: an outcome counts as delivered once the control plane has answered for it."""

from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from structlog.testing import capture_logs

from node.freeze import Freeze
from node.reporter import Reporter
from wire.audit import GENESIS, AuditHead
from wire.envelope import AUDIT_HEAD_TYPE, SignedBytes, Signer
from wire.node_api import ReportRequest, ReportResponse, ReportResult


class Chain:
    async def signed_head(self) -> SignedBytes:
        head = AuditHead(node="node-1", sequence=0, hash=GENESIS)
        signer = Signer(Ed25519PrivateKey.generate())
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
    def __init__(self) -> None:
        self.marked: list[UUID] = []

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
