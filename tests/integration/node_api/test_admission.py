"""Who is let in: nodes with a certificate under our root that the operator registered."""

import asyncio
import ssl
from pathlib import Path

import httpx
import pytest
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncEngine

from custody.control_plane.access.nodes import add_node, read_certificates, remove_node
from custody.control_plane.database import Database
from custody.control_plane.tables import nodes as node_table
from custody.runtime.errors import OperatorError
from custody.wire.node_api import ClaimRequest
from custody.wire.resources import Problem
from tests.integration.node_api.certificates import Certificates
from tests.integration.node_api.conftest import Nodes
from tests.integration.node_api.nodes import Node
from tests.integration.node_api.workload import Workload

REFUSED_IN_HANDSHAKE = (httpx.RemoteProtocolError, httpx.ReadError, httpx.ConnectError)
CLAIM = ClaimRequest(kinds=["Sign"], slots=1)


def problem(response: httpx.Response, status: int, code: str) -> str:
    assert (response.status_code, response.headers["content-type"]) == (
        status,
        "application/problem+json",
    )
    found = Problem.model_validate_json(response.content)
    assert (found.status, found.code) == (status, code)
    return found.detail


async def test_no_certificate_is_refused_in_the_handshake(nodes: Nodes):
    with pytest.raises(REFUSED_IN_HANDSHAKE):
        await nodes.connect("driver-1", None).post("claim", CLAIM)


async def test_another_ca_is_refused_in_the_handshake(nodes: Nodes, strangers: Certificates):
    await nodes.add("driver-1")
    with pytest.raises(REFUSED_IN_HANDSHAKE):
        await nodes.connect("driver-1", strangers.node("driver-1")).post("claim", CLAIM)


async def test_an_expired_certificate_is_refused_in_the_handshake(
    nodes: Nodes, certificates: Certificates
):
    home = certificates.node_that_ends("driver-expired", -60)
    with pytest.raises(REFUSED_IN_HANDSHAKE):
        await nodes.connect("driver-expired", home).post("claim", CLAIM)


async def test_a_server_certificate_is_refused_in_the_handshake(
    nodes: Nodes, certificates: Certificates
):
    with pytest.raises(REFUSED_IN_HANDSHAKE):
        await nodes.connect("node-api", certificates.server()).post("claim", CLAIM)


async def test_tls_1_2_is_refused(nodes: Nodes, certificates: Certificates):
    home = certificates.node("driver-1")
    node = await nodes.add("driver-1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(home / "ca.pem")
    context.load_cert_chain(home / "certificate.pem", home / "private_key.pem")
    async with httpx.AsyncClient(verify=context) as client:
        with pytest.raises(REFUSED_IN_HANDSHAKE):
            await client.get(f"{node.http.base_url}audit-heads")


async def test_a_certificate_that_ends_while_connected_is_refused_at_the_next_request(
    nodes: Nodes, workload: Workload, certificates: Certificates
):
    await workload.register("driver-brief", "hsm")
    node = nodes.connect("driver-brief", certificates.node_that_ends("driver-brief", 2))
    assert await node.claim() == []
    await asyncio.sleep(2.1)  # longer than the certificate is valid
    detail = problem(await node.post("claim", CLAIM), 403, "certificate_rejected")
    assert "expired" in detail


async def test_a_node_that_is_not_registered_is_told_how_to_be(nodes: Nodes):
    node = await nodes.add("driver-9", registered=False)
    for answer in (
        await node.post("claim", CLAIM),
        await node.heartbeat(),
        await node.http.get("audit-heads"),
    ):
        detail = problem(answer, 403, "node_not_registered")
        assert "control-plane node add driver-9" in detail


async def test_a_node_that_was_removed_is_out_within_a_second(
    node: Node, engine: AsyncEngine, workload: Workload
):
    await node.heartbeat()
    assert await node.claim() == []
    await workload.signature(await workload.key())
    async with engine.begin() as connection:
        await connection.execute(delete(node_table).where(node_table.c.id == "driver-1"))
    first = await node.post("claim", CLAIM)  # perhaps still remembered, but given no job
    assert first.status_code == 403 or first.json() == {"jobs": []}
    await asyncio.sleep(1.1)  # longer than a node is remembered
    problem(await node.post("claim", CLAIM), 403, "node_not_registered")


async def test_a_node_sees_the_jobs_of_its_own_group_only(
    nodes: Nodes, node: Node, workload: Workload
):
    other = await nodes.add("driver-2", group="vault")
    job_id = await workload.signature(await workload.key(group="vault"), group="vault")
    assert await node.claim() == []
    (job,) = await other.claim()
    assert job.job_id == job_id


async def test_a_heartbeat_from_another_group_than_registered_is_refused(node: Node):
    detail = problem(await node.heartbeat(group="vault"), 403, "wrong_group")
    assert "registered in group hsm" in detail


async def remove_and_add(database: Database, home: Path) -> None:
    """Take driver-1 away, and add it again with a new certificate."""
    async with database.transaction() as connection:
        await remove_node(connection, "driver-1", with_audit_heads=True)
    shown = read_certificates([home / "certificate.pem"], ["driver-1"])
    async with database.transaction() as connection:
        await add_node(connection, "driver-1", "hsm", certificate=shown["driver-1"])


@pytest.fixture
def renewed(certificates: Certificates) -> tuple[Path, Path]:
    """Two later certificates of driver-1."""
    begun = [certificates.node_from("driver-1", seconds) for seconds in (60, 120)]
    return begun[0], begun[1]


async def test_a_node_that_is_added_again_needs_a_new_certificate(
    node: Node, nodes: Nodes, database: Database, renewed: tuple[Path, Path]
):
    await node.heartbeat()
    assert await node.claim() == []
    await remove_and_add(database, renewed[0])
    await asyncio.sleep(1.1)  # longer than a node is remembered
    detail = problem(await node.post("claim", CLAIM), 403, "certificate_rejected")
    assert "was added again" in detail
    for home in renewed:  # the one that the operator showed, and its renewal
        assert await nodes.connect("driver-1", home).claim() == []


async def test_a_long_poll_of_an_old_certificate_gets_no_job(
    node: Node, database: Database, workload: Workload, renewed: tuple[Path, Path]
):
    await node.heartbeat()
    poll = asyncio.create_task(node.post("claim", CLAIM.model_copy(update={"wait": 15})))
    await asyncio.sleep(0.2)  # it waits for jobs, or will be refused at its begin
    await remove_and_add(database, renewed[0])
    await asyncio.sleep(1.1)  # longer than a node is remembered
    await workload.signature(await workload.key())
    problem(await poll, 403, "certificate_rejected")


async def test_a_removed_node_is_not_added_without_a_certificate(
    node: Node, database: Database, certificates: Certificates
):
    async with database.transaction() as connection:
        await remove_node(connection, "driver-1", with_audit_heads=True)
    with pytest.raises(OperatorError, match="was removed at") as caught:
        async with database.transaction() as connection:
            await add_node(connection, "driver-1", "hsm")
    assert "--certificate" in caught.value.todo
    with pytest.raises(OperatorError, match="is of node driver-2"):
        read_certificates([certificates.node("driver-2") / "certificate.pem"], ["driver-1"])
