"""What did not work: retries with backoff, refusals, results that do not hold."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from custody.wire.algorithms import ECDSA_SECP256K1, Network
from custody.wire.node_api import Report
from custody.wire.outcomes import OutcomeStatus
from tests.integration.node_api.conftest import Nodes
from tests.integration.node_api.nodes import Node, report_of
from tests.integration.node_api.workload import Workload


async def test_a_transient_failure_is_tried_again_after_a_growing_pause(
    node: Node, workload: Workload
):
    job_id = await workload.signature(await workload.key())
    failure = node.outcome(job_id, OutcomeStatus.FAILED, transient=True)
    for attempt, pause in ((1, 1), (2, 2), (3, 4)):
        (job,) = await node.claim()
        assert job.attempt == attempt
        assert await node.report(report_of(job, failure)) == {job_id: "retried"}
        assert await node.claim() == []
        row = await workload.job(job_id)
        assert (row.state, row.last_failure) == ("Queued", failure)
        left = (row.run_after - datetime.now(UTC)) / timedelta(seconds=1)
        assert 0.7 * pause - 0.2 < left < 1.3 * pause
        await workload.due_now(job_id)


async def test_a_retry_is_given_out_when_its_pause_is_over(
    node: Node, workload: Workload, sweeping: None
):
    job_id = await workload.signature(await workload.key())
    (job,) = await node.claim()
    await node.report(report_of(job, node.outcome(job_id, OutcomeStatus.FAILED, transient=True)))
    (again,) = await node.claim(wait=4)
    assert again.attempt == 2


async def test_a_failure_that_is_not_transient_is_final(node: Node, workload: Workload):
    job_id = await workload.signature(await workload.key())
    (job,) = await node.claim()
    failure = node.outcome(job_id, OutcomeStatus.FAILED)
    assert await node.report(report_of(job, failure)) == {job_id: "recorded"}
    row = await workload.job(job_id)
    assert (row.state, row.outcome) == ("Failed", failure)


async def test_a_denial_is_final(node: Node, workload: Workload):
    job_id = await workload.signature(await workload.key())
    (job,) = await node.claim()
    denial = node.outcome(job_id, OutcomeStatus.DENIED)
    assert await node.report(report_of(job, denial)) == {job_id: "recorded"}
    assert (await workload.job(job_id)).state == "Denied"


async def test_a_refused_job_goes_to_a_node_that_has_not_refused_it(
    nodes: Nodes, node: Node, workload: Workload
):
    other = await nodes.add("driver-2")
    await workload.seen("driver-1")
    await workload.seen("driver-2")
    job_id = await workload.signature(await workload.key())
    (job,) = await node.claim()
    refusal = node.outcome(job_id, OutcomeStatus.REFUSED)
    assert await node.report(report_of(job, refusal)) == {job_id: "retried"}
    assert await node.claim() == []
    (again,) = await other.claim()
    last = other.outcome(job_id, OutcomeStatus.REFUSED)
    assert await other.report(report_of(again, last)) == {job_id: "recorded"}
    row = await workload.job(job_id)
    assert (row.state, row.outcome) == ("Failed", last)
    assert row.refused_by == ["driver-1", "driver-2"]


async def test_a_node_not_seen_for_a_minute_does_not_count_as_willing(
    nodes: Nodes, node: Node, workload: Workload
):
    await nodes.add("driver-2")
    await workload.seen("driver-2", seconds_ago=61)
    job_id = await workload.signature(await workload.key())
    (job,) = await node.claim()
    refusal = node.outcome(job_id, OutcomeStatus.REFUSED)
    assert await node.report(report_of(job, refusal)) == {job_id: "recorded"}
    assert (await workload.job(job_id)).state == "Failed"


async def bad_result(node: Node, workload: Workload, report: Report) -> str:
    """Send a report that must not be recorded; returns why, as the job has it."""
    assert await node.report(report) == {report.job_id: "retried"}
    row = await workload.job(report.job_id)
    assert (row.state, row.outcome) == ("Queued", None)
    assert b'"code":"bad_result"' in row.last_failure
    return str(row.last_failure)


async def test_a_signature_of_another_message_is_not_recorded(node: Node, workload: Workload):
    key = await workload.key()
    job_id = await workload.signature(key, message="pay one")
    (job,) = await node.claim()
    outcome = node.outcome(
        job_id, OutcomeStatus.DONE, result=workload.signed(key, message="pay all")
    )
    assert "digest" in await bad_result(node, workload, report_of(job, outcome))


async def test_a_signature_by_another_key_is_not_recorded(node: Node, workload: Workload):
    job_id = await workload.signature(await workload.key())
    (job,) = await node.claim()
    outcome = node.outcome(job_id, OutcomeStatus.DONE, result=workload.signed(await workload.key()))
    assert "does not verify" in await bad_result(node, workload, report_of(job, outcome))


async def test_a_key_of_another_curve_is_not_recorded(node: Node, workload: Workload):
    key, job_id = await workload.wallet(Network.SOLANA)
    (job,) = await node.claim()
    result = workload.generated(replace(key, algorithm=ECDSA_SECP256K1))
    outcome = node.outcome(job_id, OutcomeStatus.DONE, result=result)
    assert "was asked for" in await bad_result(node, workload, report_of(job, outcome))
    assert (await workload.key_row(key.id)).public_key is None
    assert (await workload.wallet_row(key.id)).address is None


@pytest.mark.parametrize("point", [b"\x02" * 32, b"\x05" * 33, b"\x02" + b"\xff" * 32, bytes(33)])
async def test_bytes_that_are_no_public_key_are_not_recorded(
    node: Node, workload: Workload, point: bytes
):
    key, job_id = await workload.wallet(Network.ETHEREUM)
    (job,) = await node.claim()
    outcome = node.outcome(job_id, OutcomeStatus.DONE, result=workload.generated(key))
    outcome = outcome.replace(key.public_key.hex().encode(), point.hex().encode())
    assert "public key" in await bad_result(node, workload, report_of(job, outcome))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b'{"job_id": 1}',
    ],
)
async def test_bytes_that_are_no_outcome_are_not_recorded(
    node: Node, workload: Workload, raw: bytes
):
    await workload.signature(await workload.key())
    (job,) = await node.claim()
    assert "not an outcome" in await bad_result(node, workload, report_of(job, raw))


async def test_an_outcome_of_another_job_is_not_recorded(node: Node, workload: Workload):
    key = await workload.key()
    for _ in range(2):
        await workload.signature(key)
    first, second = await node.claim()
    outcome = node.outcome(second.job_id, OutcomeStatus.DONE, result=workload.signed(key))
    assert "another job" in await bad_result(node, workload, report_of(first, outcome))


async def test_a_bad_result_does_not_spoil_the_others_of_its_batch(node: Node, workload: Workload):
    key = await workload.key()
    good, bad = await workload.signature(key), await workload.signature(key, message="other")
    jobs = {job.job_id: job for job in await node.claim()}
    reports = [
        report_of(
            jobs[job_id],
            node.outcome(job_id, OutcomeStatus.DONE, result=workload.signed(key)),
        )
        for job_id in (bad, good)
    ]
    assert await node.report(*reports) == {bad: "retried", good: "recorded"}
