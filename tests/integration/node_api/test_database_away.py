"""The control plane's database stopped and started: nodes are told to wait, and continue."""

import asyncio

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from custody.control_plane.jobs.notifications import Notifications
from custody.migrations.schema import migrate
from custody.wire.outcomes import OutcomeStatus
from devstack.postgres import Cluster
from tests.integration.node_api.nodes import Node, report_of
from tests.integration.node_api.test_admission import CLAIM, problem
from tests.integration.node_api.workload import Workload
from tests.waiting import until


@pytest.fixture
def control_plane_database(cluster: Cluster) -> str:
    url = cluster.create_database("control_plane")
    migrate("control_plane", url)
    return url


async def test_nodes_are_told_to_come_back_and_then_go_on(
    node: Node,
    workload: Workload,
    cluster: Cluster,
    sweeping: None,
    engine: AsyncEngine,
    notifications: Notifications,
):
    key = await workload.key()
    job_id = await workload.signature(key)
    (job,) = await node.claim()
    report = report_of(job, node.outcome(job_id, OutcomeStatus.DONE, result=workload.signed(key)))
    waiting = asyncio.create_task(node.post("claim", CLAIM.model_copy(update={"wait": 20})))
    await until(lambda: notifications._waiting)
    await asyncio.to_thread(cluster.stop)
    answer = await node.post("claim", CLAIM)
    problem(answer, 503, "unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    problem(await node.heartbeat(), 503, "unavailable")
    problem(await waiting, 503, "unavailable")
    await asyncio.to_thread(cluster.start)
    assert (await node.report(report))[job_id] == "recorded"
    await engine.dispose()  # the test's own connections are dead too
    assert (await workload.job(job_id)).state == "Done"
    late = asyncio.create_task(node.claim(wait=15))
    await until(lambda: notifications._waiting)
    second = await workload.signature(key)
    assert [job.job_id for job in await late] == [second]


async def test_a_restart_between_two_requests_is_not_noticed(
    node: Node, workload: Workload, cluster: Cluster
):
    key = await workload.key()
    job_id = await workload.signature(key)
    await asyncio.to_thread(cluster.stop)
    await asyncio.to_thread(cluster.start)
    (job,) = await node.claim()
    await asyncio.to_thread(cluster.stop)
    await asyncio.to_thread(cluster.start)
    outcome = node.outcome(job_id, OutcomeStatus.DONE, result=workload.signed(key))
    assert await node.report(report_of(job, outcome)) == {job_id: "recorded"}
