"""Long polls: woken by event, and never leased to somebody who has gone."""

import asyncio
import time

import pytest

from custody.control_plane.jobs.notifications import Notifications
from custody.control_plane.jobs.queue import Queue
from tests.integration.node_api.conftest import Nodes
from tests.integration.node_api.nodes import Node
from tests.integration.node_api.workload import Workload
from tests.waiting import until


@pytest.mark.usefixtures("only_woken")
async def test_a_waiting_claim_gets_a_job_as_soon_as_there_is_one(
    node: Node, workload: Workload, notifications: Notifications
):
    key = await workload.key()
    claim = asyncio.create_task(node.claim(wait=30))
    await until(lambda: notifications._waiting)
    job_id = await workload.signature(key)
    added = time.monotonic()
    (job,) = await claim
    assert job.job_id == job_id
    assert time.monotonic() - added < 25


async def test_a_claim_that_waited_in_vain_ends_in_time(node: Node):
    begun = time.monotonic()
    assert await node.claim(wait=1) == []
    assert 0.9 < time.monotonic() - begun < 25


async def test_nothing_is_leased_to_a_node_that_has_gone(
    nodes: Nodes, node: Node, workload: Workload, notifications: Notifications
):
    claim = asyncio.create_task(node.claim(wait=20))
    await until(lambda: notifications._waiting)
    claim.cancel()
    await node.close()
    await until(lambda: not notifications._waiting)
    job_id = await workload.signature(await workload.key())
    await asyncio.sleep(0.3)  # a lease, which must not come, shows by nothing else
    row = await workload.job(job_id)
    assert (row.state, row.attempt) == ("Queued", 0)
    other = await nodes.add("driver-2")
    assert [job.job_id for job in await other.claim()] == [job_id]


async def test_what_was_leased_in_vain_is_given_back(node: Node, workload: Workload, queue: Queue):
    job_id = await workload.signature(await workload.key())
    claimed = await queue.claim("driver-1", "hsm", ["Sign"], 1)
    await queue.release("hsm", claimed)
    (job,) = await node.claim()
    assert (job.job_id, job.attempt) == (job_id, 1)


async def test_a_result_on_one_replica_wakes_who_waits_on_another(
    node: Node, workload: Workload, queue: Queue, control_plane_database: str
):
    elsewhere = Notifications(control_plane_database)
    elsewhere.start()
    with elsewhere.jobs("hsm") as jobs_waiter:
        assert await jobs_waiter.wait(5)  # everybody is woken when listening begins
        job_id = await workload.signature(await workload.key(), lifetime=-1)
        with elsewhere.done(job_id) as waiter:
            await queue.sweep()
            assert await waiter.wait(3)
        await workload.signature(await workload.key())
        await node.claim()
        await asyncio.sleep(0.6)  # longer than the lease
        await queue.sweep()
        assert await jobs_waiter.wait(3)
    await elsewhere.close()


async def test_waiting_claims_end_when_the_process_does(node: Node, notifications: Notifications):
    claim = asyncio.create_task(node.claim(wait=20))
    await until(lambda: notifications._waiting)
    await notifications.close()
    assert await asyncio.wait_for(claim, 2) == []
