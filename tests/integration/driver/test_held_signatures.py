"""A freeze holds what was committed and not reported: no signature leaves, also after a restart."""

import asyncio
import hashlib
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

from coincurve import PrivateKey

from custody.node.freeze import Freeze
from custody.node.journal import Commit, outcome_bytes
from custody.node.reporter import Reporter
from custody.wire.algorithms import ECDSA_SECP256K1
from custody.wire.node_api import ReportRequest, ReportResponse, ReportResult
from custody.wire.outcomes import MadeSignature, Outcome, OutcomeStatus
from custody.wire.requests import SignHash
from custody.wire.signatures import finish
from tests.integration.driver import commits
from tests.integration.driver.conftest import NodeParts

KEY = PrivateKey()
DIGEST = hashlib.sha256(b"to be signed").digest()


class ControlPlane:
    """Takes every outcome that it is sent."""

    def __init__(self) -> None:
        self.has: dict[UUID, bytes] = {}

    async def report(self, request: ReportRequest) -> ReportResponse:
        self.has |= {each.job_id: each.outcome for each in request.reports}
        results = [ReportResult(job_id=each.job_id, note="recorded") for each in request.reports]
        return ReportResponse(results=results)


def signature(job_id: UUID) -> Outcome:
    raw = KEY.sign_recoverable(DIGEST, hasher=None)[:64]
    request = SignHash(kind="Hash", hash=DIGEST)
    made = finish(raw, KEY.public_key.format(), ECDSA_SECP256K1, None, request, DIGEST)
    result = MadeSignature(digest=DIGEST, signature=made)
    return Outcome(job_id=job_id, node="driver-1", status=OutcomeStatus.DONE, result=result)


def denial(job_id: UUID) -> Outcome:
    return Outcome(job_id=job_id, node="driver-1", status=OutcomeStatus.DENIED, code="expired")


async def committed(node: NodeParts, outcome: Outcome) -> bytes:
    like = commits.commit(outcome.status, job_id=outcome.job_id)
    await node.journal.commit(Commit(outcome.job_id, like.digest, outcome, like.audit_record))
    return outcome_bytes(outcome)


def reporter_of(node: NodeParts, plane: ControlPlane, freeze: Freeze) -> Reporter:
    """A new one is what a restart makes: all that it knows is in the journal."""
    return Reporter(cast(Any, plane), node.journal, node.chain, freeze)


async def test_a_freeze_holds_signatures_and_nothing_else(node: NodeParts, tmp_path: Path):
    freeze, plane = Freeze(tmp_path), ControlPlane()
    reporter = reporter_of(node, plane, freeze)
    signed, denied = signature(uuid4()), denial(uuid4())
    freeze.freeze("drill")
    sent = await asyncio.gather(
        reporter.report(signed.job_id, uuid4(), await committed(node, signed)),
        reporter.report(denied.job_id, uuid4(), await committed(node, denied)),
    )
    assert list(sent) == [False, True]
    assert set(plane.has) == {denied.job_id}
    await reporter.mark()
    assert set(await node.journal.unreported()) == {signed.job_id}


async def test_a_freeze_that_comes_while_a_report_is_tried_again_holds_it(
    node: NodeParts, tmp_path: Path
):
    freeze, plane = Freeze(tmp_path), ControlPlane()
    reporter = reporter_of(node, plane, freeze)
    signed = signature(uuid4())
    content = await committed(node, signed)
    report, attempts = plane.report, 0

    async def away_once(request: ReportRequest) -> ReportResponse:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            freeze.freeze("drill")
            return ReportResponse(results=[])  # as one that lost the report
        return await report(request)

    cast(Any, plane).report = away_once
    assert not await reporter.report(signed.job_id, uuid4(), content)
    assert (attempts, plane.has) == (1, {})


async def test_what_is_held_leaves_after_the_freeze_also_after_a_restart(
    node: NodeParts, tmp_path: Path
):
    freeze, plane = Freeze(tmp_path), ControlPlane()
    signed = signature(uuid4())
    content = await committed(node, signed)
    freeze.freeze("drill")
    for _ in range(2):  # a restart, and another
        reporter = reporter_of(node, plane, freeze)
        releasing = asyncio.create_task(reporter.release_repeatedly())
        await reporter.report_left_over()
        await asyncio.sleep(0.7)  # a report, which must not come, shows by nothing else
        assert plane.has == {}
        releasing.cancel()
    releasing = asyncio.create_task(reporter.release_repeatedly())
    freeze.unfreeze()
    async with asyncio.timeout(10):
        while not plane.has:  # noqa: ASYNC110 (what is waited for is the reporter's own pause)
            await asyncio.sleep(0.05)
    releasing.cancel()
    assert plane.has == {signed.job_id: content}
    await reporter.mark()
    assert await node.journal.unreported() == {}
