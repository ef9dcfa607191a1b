"""Leases: one holder at a time, prolonged while the work lasts, taken back when they lapse."""

import asyncio

from sqlalchemy.ext.asyncio import AsyncEngine

from custody.control_plane.audit.heads import AuditHeads
from custody.control_plane.database import Database
from custody.control_plane.jobs.notifications import Notifications
from custody.control_plane.jobs.queue import Queue
from custody.control_plane.jobs.sweep import Sweep
from custody.wire.outcomes import OutcomeStatus
from tests.integration.node_api.conftest import LEASE_SECONDS, Nodes
from tests.integration.node_api.nodes import Node, report_of
from tests.integration.node_api.workload import Workload


async def lapse() -> None:
    """Let the time of a lease pass."""
    await asyncio.sleep(LEASE_SECONDS + 0.1)


async def test_two_nodes_never_get_the_same_job(nodes: Nodes, workload: Workload):
    drivers = [await nodes.add(f"driver-{number}") for number in range(3)]
    key = await workload.key()
    ids = [await workload.signature(key) for _ in range(60)]
    claims = await asyncio.gather(*(driver.claim(slots=4) for driver in drivers * 6))
    claimed = [job.job_id for jobs in claims for job in jobs]
    assert sorted(claimed) == sorted(ids)


async def test_a_lapsed_lease_goes_to_another_node(
    nodes: Nodes, node: Node, workload: Workload, queue: Queue
):
    job_id = await workload.signature(await workload.key())
    await node.claim()
    other = await nodes.add("driver-2")
    assert (await queue.sweep()).lapsed == 0
    await lapse()
    assert (await queue.sweep()).lapsed == 1
    (job,) = await other.claim()
    assert (job.job_id, job.attempt) == (job_id, 2)


async def test_an_extended_lease_does_not_lapse(node: Node, workload: Workload, queue: Queue):
    await workload.signature(await workload.key())
    (job,) = await node.claim()
    await asyncio.sleep(LEASE_SECONDS / 2)  # the lease runs
    assert await node.extend(job) == [job.job_id]
    await asyncio.sleep(LEASE_SECONDS * 0.7)  # the first lease would have lapsed
    assert (await queue.sweep()).lapsed == 0


async def test_only_the_holder_extends_a_lease(
    nodes: Nodes, node: Node, workload: Workload, queue: Queue
):
    await workload.signature(await workload.key())
    (job,) = await node.claim()
    other = await nodes.add("driver-2")
    assert await other.extend(job) == []
    await lapse()
    await queue.sweep()
    await other.claim()
    assert await node.extend(job) == []


async def test_a_result_after_the_lease_is_as_good(
    nodes: Nodes, node: Node, workload: Workload, queue: Queue
):
    """First commit wins: the second node's own result comes late."""
    key = await workload.key()
    job_id = await workload.signature(key)
    (first,) = await node.claim()
    await lapse()
    await queue.sweep()
    other = await nodes.add("driver-2")
    (second,) = await other.claim()
    mine = node.outcome(job_id, OutcomeStatus.DONE, result=workload.signed(key))
    assert await node.report(report_of(first, mine)) == {job_id: "recorded"}
    theirs = other.outcome(job_id, OutcomeStatus.DONE, result=workload.signed(key))
    assert await other.report(report_of(second, theirs)) == {job_id: "late"}
    assert (await workload.job(job_id)).outcome == mine


async def test_a_failure_after_the_lease_changes_nothing(
    nodes: Nodes, node: Node, workload: Workload, queue: Queue
):
    job_id = await workload.signature(await workload.key())
    (first,) = await node.claim()
    await lapse()
    await queue.sweep()
    other = await nodes.add("driver-2")
    (second,) = await other.claim()
    failure = node.outcome(job_id, OutcomeStatus.FAILED)
    assert await node.report(report_of(first, failure)) == {job_id: "retried"}
    row = await workload.job(job_id)
    assert (row.state, row.lease) == ("Leased", second.lease)


async def test_a_job_of_another_group_cannot_be_reported(
    nodes: Nodes, node: Node, workload: Workload
):
    key = await workload.key(group="vault")
    job_id = await workload.signature(key, group="vault")
    other = await nodes.add("driver-2", group="vault")
    (job,) = await other.claim()
    outcome = node.outcome(job_id, OutcomeStatus.DONE, result=workload.signed(key))
    assert await node.report(report_of(job, outcome)) == {job_id: "unknown"}
    assert (await workload.job(job_id)).state == "Leased"


async def test_racing_reports_record_one_outcome(
    nodes: Nodes, node: Node, workload: Workload, queue: Queue
):
    key = await workload.key()
    ids = [await workload.signature(key) for _ in range(30)]
    jobs = await node.claim()
    others = [node, *[await nodes.add(f"driver-{number}") for number in (2, 3, 4)]]
    answers = await asyncio.gather(
        *(
            other.report(
                *(
                    report_of(
                        job,
                        other.outcome(job.job_id, OutcomeStatus.DONE, result=workload.signed(key)),
                    )
                    for job in jobs
                )
            )
            for other in others
        )
    )
    for job_id in ids:
        notes = sorted(answer[job_id] for answer in answers)
        assert notes == ["late", "late", "late", "recorded"]
    assert (await queue.sweep()).expired == 0


async def test_an_expired_job_fails_and_is_given_to_nobody(
    node: Node, workload: Workload, queue: Queue
):
    key = await workload.key()
    waiting = await workload.signature(key, lifetime=-1)
    assert await node.claim() == []
    held = await workload.signature(key, lifetime=0.4)
    (job,) = await node.claim()
    await asyncio.sleep(0.5)  # longer than its lifetime
    assert (await queue.sweep()).expired == 2
    for job_id in (waiting, held):
        row = await workload.job(job_id)
        assert (row.state, b'"code":"expired"' in row.outcome) == ("Failed", True)
    late = node.outcome(held, OutcomeStatus.DONE, result=workload.signed(key))
    assert await node.report(report_of(job, late)) == {held: "late"}
    row = await workload.job(held)
    assert (row.state, row.late_outcome) == ("Failed", late)


async def test_several_replicas_sweep_at_once(
    node: Node, workload: Workload, control_plane_database: str, engine: AsyncEngine, queue: Queue
):
    key = await workload.key()
    for _ in range(40):
        await workload.signature(key, lifetime=-1)
    for _ in range(40):
        await workload.signature(key)
    await node.claim()
    await lapse()
    async with Database(control_plane_database) as second:
        queues = [queue, Queue(second, Notifications(control_plane_database))]
        swept = await asyncio.gather(*(each.sweep() for each in queues * 2))
    assert sum(each.lapsed for each in swept) == 40
    assert sum(each.expired for each in swept) == 40


async def test_the_sweep_task_takes_leases_back_by_itself(
    node: Node, workload: Workload, database: Database, queue: Queue
):
    job_id = await workload.signature(await workload.key())
    await node.claim()
    task = asyncio.create_task(Sweep(queue, AuditHeads(database)).run())
    (job,) = await node.claim(wait=10)
    task.cancel()
    assert (job.job_id, job.attempt) == (job_id, 2)
