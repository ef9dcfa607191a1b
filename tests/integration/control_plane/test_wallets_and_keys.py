"""Creating wallets and keys, and reading them."""

import asyncio

import httpx
import pytest

from custody.wire.addresses import address_of
from custody.wire.algorithms import Network, network_algorithm
from custody.wire.outcomes import OutcomeStatus
from tests.integration.control_plane.conftest import Replica, assert_problem
from tests.integration.control_plane.node import MemoryNode
from tests.waiting import until

ETHEREUM = {"network": "Ethereum", "store": "hsm"}
SECP256K1 = {"scheme": "ECDSA", "curve": "secp256k1", "store": "hsm"}


@pytest.mark.parametrize("network", list(Network))
async def test_a_wallet_gets_its_address_from_its_key(
    api: httpx.AsyncClient, node: MemoryNode, network: Network
):
    created = await api.post("/v1/wallets", json={"network": network, "store": "hsm"})
    assert created.status_code == 201
    wallet = created.json()
    assert created.headers["location"] == f"/v1/wallets/{wallet['id']}"
    assert (wallet["status"], wallet["address"], wallet["reason"]) == ("Pending", None, None)
    await node.work()
    wallet = (await api.get(created.headers["location"])).json()
    key = (await api.get(f"/v1/keys/{wallet['key_id']}")).json()
    assert (wallet["status"], key["status"]) == ("Active", "Active")
    assert (key["network"], key["protection"]) == (network, "hsm")
    public_key = bytes.fromhex(key["public_key"][2:])
    assert wallet["address"] == address_of(network, network_algorithm(network), public_key)


async def test_wait_ends_when_the_wallet_is_active(api: httpx.AsyncClient, node: MemoryNode):
    creating = asyncio.create_task(api.post("/v1/wallets?wait=30", json=ETHEREUM))
    assert await node.work_soon() == 1
    wallet = (await asyncio.wait_for(creating, 3)).json()
    assert wallet["status"] == "Active"
    assert wallet["address"].startswith("0x")


async def test_waiting_for_a_key_with_get(
    api: httpx.AsyncClient, node: MemoryNode, replica: Replica
):
    key = (await api.post("/v1/keys", json=SECP256K1)).json()
    waiting = asyncio.create_task(api.get(f"/v1/keys/{key['id']}?wait=30"))
    await until(lambda: replica.notifications._waiting)
    await node.work()
    assert (await asyncio.wait_for(waiting, 3)).json()["status"] == "Active"


async def test_a_key_that_cannot_be_made_says_why(api: httpx.AsyncClient, node: MemoryNode):
    created = (await api.post("/v1/wallets", json=ETHEREUM)).json()
    (job,) = await node.claim()
    failure = node.failed(job, OutcomeStatus.FAILED, transient=True)
    await node.report([(job, failure)])
    wallet = (await api.get(f"/v1/wallets/{created['id']}")).json()
    assert wallet["status"] == "Pending"
    assert wallet["reason"] == {
        "code": "out_of_order",
        "detail": "The token is out of order.",
        "node": node.name,
    }


async def test_one_application_does_not_see_another_ones(
    replica: Replica, api: httpx.AsyncClient, node: MemoryNode
):
    wallet = (await api.post("/v1/wallets", json=ETHEREUM)).json()
    stranger = replica.client((await replica.token(application="other")).text)
    for path in (
        f"/v1/wallets/{wallet['id']}",
        f"/v1/keys/{wallet['key_id']}",
        f"/v1/keys/{wallet['key_id']}/signatures",
    ):
        assert (await api.get(path)).status_code == 200
        assert_problem(await stranger.get(path), 404, "not_found")
    for path in ("/v1/wallets", "/v1/keys"):
        assert (await stranger.get(path)).json() == {"items": [], "next_cursor": None}


async def test_without_a_node_nothing_is_promised(replica: Replica, api: httpx.AsyncClient):
    detail = assert_problem(await api.post("/v1/wallets", json=ETHEREUM), 422, "no_capable_node")
    assert "control-plane node add" in detail


async def test_an_algorithm_that_the_group_cannot_do(api: httpx.AsyncClient, node: MemoryNode):
    body = {"scheme": "ECDSA", "curve": "secp256r1", "store": "hsm"}
    detail = assert_problem(await api.post("/v1/keys", json=body), 422, "unsupported_algorithm")
    assert "ECDSA/secp256k1" in detail


async def test_nodes_show_what_they_last_reported(api: httpx.AsyncClient, node: MemoryNode):
    (shown,) = (await api.get("/v1/nodes")).json()["items"]
    assert shown["last_seen"] is not None
    assert (shown["id"], shown["group"], shown["version"]) == ("driver-1", "hsm", "1.2.3")
    assert shown["capabilities"] == {"ECDSA/secp256k1": "hsm", "EdDSA/ed25519": "host"}
    assert shown["health"] == {"status": "ok", "detail": None, "works": True, "warnings": []}
    assert (await api.get("/v1/nodes?group=other")).json()["items"] == []
