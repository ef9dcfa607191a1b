"""A job's way through the node API: claimed, reported, recorded."""

from uuid import uuid4

from custody.wire.addresses import address_of
from custody.wire.algorithms import ECDSA_SECP256K1, Network
from custody.wire.node_api import Report
from custody.wire.outcomes import OutcomeStatus
from tests.integration.node_api.nodes import Node, report_of
from tests.integration.node_api.workload import Workload


async def test_a_signature_is_claimed_reported_and_recorded(node: Node, workload: Workload):
    key = await workload.key()
    job_id = await workload.signature(key)
    (job,) = await node.claim()
    assert (job.job_id, job.attempt) == (job_id, 1)
    outcome = node.outcome(job_id, OutcomeStatus.DONE, result=workload.signed(key))
    assert await node.report(report_of(job, outcome)) == {job_id: "recorded"}
    row = await workload.job(job_id)
    assert (row.state, row.outcome, row.lease) == ("Done", outcome, None)
    assert row.finished_at is not None


async def test_a_made_key_gives_the_wallet_its_address(node: Node, workload: Workload):
    key, job_id = await workload.wallet(Network.BITCOIN)
    (job,) = await node.claim()
    outcome = node.outcome(job_id, OutcomeStatus.DONE, result=workload.generated(key))
    assert await node.report(report_of(job, outcome)) == {job_id: "recorded"}
    row = await workload.key_row(key.id)
    assert (row.public_key, row.protection) == (key.public_key, "hsm")
    wallet = await workload.wallet_row(key.id)
    assert wallet.address == address_of(Network.BITCOIN, ECDSA_SECP256K1, key.public_key)


async def test_the_signed_job_travels_byte_for_byte_at_every_attempt(
    node: Node, workload: Workload
):
    job_id = await workload.signature(await workload.key())
    (first,) = await node.claim()
    failure = node.outcome(job_id, OutcomeStatus.FAILED, transient=True)
    await node.report(report_of(first, failure))
    await workload.due_now(job_id)
    (second,) = await node.claim()
    assert second.job == first.job
    assert (second.attempt, second.lease == first.lease) == (2, False)


async def test_no_more_than_the_free_slots_and_only_known_kinds(node: Node, workload: Workload):
    key = await workload.key()
    for _ in range(3):
        await workload.signature(key)
    assert await node.claim(kinds=["GenerateKey"]) == []
    assert len(await node.claim(slots=2)) == 2
    assert len(await node.claim(slots=2)) == 1


async def test_the_same_outcome_again_is_a_duplicate(node: Node, workload: Workload):
    key = await workload.key()
    job_id = await workload.signature(key)
    (job,) = await node.claim()
    report = report_of(job, node.outcome(job_id, OutcomeStatus.DONE, result=workload.signed(key)))
    assert await node.report(report, report) == {job_id: "duplicate"}
    assert await node.report(report) == {job_id: "duplicate"}
    assert (await workload.job(job_id)).late_outcome is None


async def test_another_outcome_after_the_end_is_kept_apart(node: Node, workload: Workload):
    key = await workload.key()
    job_id = await workload.signature(key)
    (job,) = await node.claim()
    first = node.outcome(job_id, OutcomeStatus.DENIED)
    late = node.outcome(job_id, OutcomeStatus.DONE, result=workload.signed(key))
    assert await node.report(report_of(job, first)) == {job_id: "recorded"}
    assert await node.report(report_of(job, late)) == {job_id: "late"}
    row = await workload.job(job_id)
    assert (row.state, row.outcome, row.late_outcome) == ("Denied", first, late)


async def test_a_report_on_no_job_of_ours_is_unknown(node: Node):
    job_id = uuid4()
    outcome = node.outcome(job_id, OutcomeStatus.DENIED)
    report = Report(job_id=job_id, lease=None, outcome=outcome)
    assert await node.report(report) == {job_id: "unknown"}


async def test_a_full_batch_goes_in_one_report(node: Node, workload: Workload):
    key = await workload.key()
    ids = {await workload.signature(key) for _ in range(256)}
    jobs = await node.claim()
    outcome = workload.signed(key)
    reports = [
        report_of(job, node.outcome(job.job_id, OutcomeStatus.DONE, result=outcome)) for job in jobs
    ]
    assert await node.report(*reports) == dict.fromkeys(ids, "recorded")
