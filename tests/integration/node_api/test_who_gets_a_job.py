"""Which node gets a job: one that can work, and rather another than the one that failed it last."""

import asyncio
import time
from uuid import UUID

import pytest

from custody.control_plane.database import Database
from custody.control_plane.jobs.notifications import Notifications
from custody.control_plane.jobs.queue import Queue
from custody.control_plane.jobs.reasons import RecordedOutcome
from custody.wire.node_api import ClaimedJob, NodeHealth
from custody.wire.outcomes import OutcomeStatus
from tests.integration.node_api.conftest import LEASE_SECONDS, Nodes
from tests.integration.node_api.nodes import Node, report_of
from tests.integration.node_api.workload import Workload
from tests.waiting import until

FROZEN = NodeHealth(status="degraded", detail="freeze: frozen by greta: lost laptop", works=False)


@pytest.fixture
async def other(nodes: Nodes) -> Node:
    """A second driver of the group, which has sent a heartbeat."""
    other = await nodes.add("driver-2")
    await other.heartbeat()
    return other


async def fail(node: Node, workload: Workload, job_id: UUID) -> None:
    """Take the job, fail it, and let the pause before its next attempt pass."""
    (job,) = await node.claim()
    failure = node.outcome(job_id, OutcomeStatus.FAILED, transient=True)
    assert await node.report(report_of(job, failure)) == {job_id: "retried"}
    await workload.due_now(job_id)


@pytest.mark.usefixtures("only_woken")
async def test_a_node_that_cannot_work_gets_nothing(
    node: Node, workload: Workload, notifications: Notifications
):
    """Also by a claim that waits when its heartbeat says so, and at once when it works again."""
    await node.heartbeat()
    waiting = asyncio.create_task(node.claim(wait=30))
    await until(lambda: notifications._waiting)
    await node.heartbeat(health=FROZEN)
    job_id = await workload.signature(await workload.key())
    await asyncio.sleep(0.3)  # an answer, which must not come, shows by nothing else
    assert not waiting.done()
    begun = time.monotonic()
    await node.heartbeat()
    (job,) = await waiting
    assert job.job_id == job_id
    assert time.monotonic() - begun < 25


async def test_a_job_goes_to_another_node_than_the_one_that_failed_it(
    node: Node, other: Node, workload: Workload
):
    job_id = await workload.signature(await workload.key())
    await fail(node, workload, job_id)
    assert await node.claim() == []
    (job,) = await other.claim()
    assert job.job_id == job_id


async def test_a_job_goes_to_another_node_than_the_one_whose_lease_lapsed(
    node: Node, other: Node, workload: Workload, queue: Queue
):
    job_id = await workload.signature(await workload.key())
    await node.claim()
    await asyncio.sleep(LEASE_SECONDS + 0.1)  # the lease lapses
    await queue.sweep()
    assert await node.claim() == []
    (job,) = await other.claim()
    assert job.job_id == job_id


async def test_the_node_that_failed_a_job_gets_it_when_no_other_takes_it(
    node: Node, other: Node, workload: Workload, sweeping: None
):
    job_id = await workload.signature(await workload.key())
    await fail(node, workload, job_id)
    begun = time.monotonic()
    (job,) = await node.claim(wait=30)  # other has sent a heartbeat, and claims nothing
    assert job.job_id == job_id
    assert 0.5 < time.monotonic() - begun < 25


@pytest.mark.parametrize("company", ["none", "frozen", "silent"])
async def test_a_node_without_company_that_works_gets_it_again_at_once(
    nodes: Nodes, node: Node, workload: Workload, company: str
):
    if company != "none":
        other = await nodes.add("driver-2")
        await other.heartbeat(health=FROZEN if company == "frozen" else NodeHealth(status="ok"))
    if company == "silent":
        await workload.seen("driver-2", seconds_ago=3600)
    job_id = await workload.signature(await workload.key())
    await fail(node, workload, job_id)
    (job,) = await node.claim()
    assert job.job_id == job_id


@pytest.fixture
def strict(database: Database, notifications: Notifications) -> Queue:
    """A replica that gives a job up after two lapsed leases."""
    return Queue(database, notifications, lease_seconds=LEASE_SECONDS, max_lapses=2)


async def lapse_once(node: Node, queue: Queue) -> tuple[ClaimedJob, int]:
    """Take the only job and never report it. Return the job, and how many jobs a sweep failed."""
    (job,) = await node.claim(wait=10)
    await node.extend(job)
    await asyncio.sleep(LEASE_SECONDS + 0.1)  # the lease lapses
    return job, (await queue.sweep()).unreported


async def test_a_job_that_nodes_never_report_is_given_up(
    node: Node, workload: Workload, strict: Queue
):
    key = await workload.key()
    job_id = await workload.signature(key)
    assert (await lapse_once(node, strict))[1] == 0
    job, unreported = await lapse_once(node, strict)
    assert unreported == 1
    row = await workload.job(job_id)
    outcome = RecordedOutcome.model_validate_json(row.outcome)
    assert (row.state, outcome.code, outcome.node) == ("Failed", "lease_lapsed", None)
    assert "driver-1 last" in str(outcome.reason)
    assert await node.claim() == []
    done = node.outcome(job_id, OutcomeStatus.DONE, result=workload.signed(key))
    assert await node.report(report_of(job, done)) == {job_id: "late"}


async def test_leases_whose_answer_was_lost_do_not_count(
    node: Node, workload: Workload, strict: Queue
):
    """As behind a gateway that drops answers: the node never extends what it never received."""
    job_id = await workload.signature(await workload.key())
    for _ in range(3):
        await node.claim(wait=10)
        await asyncio.sleep(LEASE_SECONDS + 0.1)  # the lease lapses
        swept = await strict.sweep()
        assert (swept.lapsed, swept.unreported) == (1, 0)
    assert (await workload.job(job_id)).state == "Queued"
    assert (await lapse_once(node, strict))[1] == 0
    assert (await lapse_once(node, strict))[1] == 1


async def test_a_report_begins_the_count_again(node: Node, workload: Workload, strict: Queue):
    job_id = await workload.signature(await workload.key())
    assert (await lapse_once(node, strict))[1] == 0
    await fail(node, workload, job_id)
    assert (await lapse_once(node, strict))[1] == 0
    assert (await lapse_once(node, strict))[1] == 1


async def test_jobs_that_lapse_again_together_begin_apart(
    node: Node, workload: Workload, queue: Queue
):
    """One of them may be what ends the node: it must not take the others along each time."""
    key = await workload.key()
    ids = [await workload.signature(key) for _ in range(20)]
    claimed = await node.claim()
    assert len(claimed) == len(await node.extend(*claimed)) == 20
    await asyncio.sleep(LEASE_SECONDS + 0.1)  # the lease lapses
    assert (await queue.sweep()).lapsed == 20
    claimed = await node.claim()
    assert len(claimed) == len(await node.extend(*claimed)) == 20  # the first time at once
    await asyncio.sleep(LEASE_SECONDS + 0.1)  # the lease lapses
    assert (await queue.sweep()).lapsed == 20
    begin = sorted([(await workload.job(job_id)).run_after for job_id in ids])
    assert (begin[-1] - begin[0]).total_seconds() > 1


async def test_a_job_that_no_node_takes_says_why_it_waits(
    node: Node, workload: Workload, sweeping: None
):
    await node.heartbeat(health=FROZEN)
    job_id = await workload.signature(await workload.key())
    for _ in range(100):
        row = await workload.job(job_id)
        if row.last_failure is not None:
            break
        await asyncio.sleep(0.1)
    noted = RecordedOutcome.model_validate_json(row.last_failure)
    assert (row.state, noted.code) == ("Queued", "no_node_works")
    assert "driver-1: freeze: frozen by greta: lost laptop" in str(noted.reason)
    assert "greta" not in str(noted.summary)
