"""Further wallets of a key, on other networks: no new key, and Active at once."""

from typing import Any
from uuid import UUID

import httpx
import pytest

from custody.wire.addresses import address_of
from custody.wire.algorithms import ECDSA_SECP256K1, Network
from custody.wire.jobs import wallet_id_of
from tests.integration.control_plane.conftest import Replica, assert_problem
from tests.integration.control_plane.node import MemoryNode

SEPOLIA = {"network": "EthereumSepolia"}


@pytest.fixture
async def wallet(api: httpx.AsyncClient, node: MemoryNode) -> dict[str, Any]:
    """An Active Ethereum wallet."""
    body = {"network": "Ethereum", "store": "hsm", "external_id": "user-17"}
    path = (await api.post("/v1/wallets", json=body)).headers["location"]
    await node.work()
    wallet: dict[str, Any] = (await api.get(path)).json()
    return wallet


async def test_a_wallet_on_the_test_network_of_its_key(
    api: httpx.AsyncClient, wallet: dict[str, Any]
):
    path = f"/v1/keys/{wallet['key_id']}/wallets"
    created = await api.post(path, json={**SEPOLIA, "name": "Trial", "tags": ["trial"]})
    assert created.status_code == 201, created.text
    added = created.json()
    assert created.headers["location"] == f"/v1/wallets/{added['id']}"
    assert added == {
        **wallet,
        "id": str(wallet_id_of(UUID(wallet["key_id"]), Network.ETHEREUM_SEPOLIA)),
        "network": "EthereumSepolia",
        "external_id": None,
        "name": "Trial",
        "tags": ["trial"],
        "created_at": added["created_at"],
    }
    again = await api.post(path, json={**SEPOLIA, "name": "another name"})
    assert (again.status_code, again.json()) == (200, added)
    own = await api.post(path, json={"network": "Ethereum"})
    assert (own.status_code, own.json()) == (200, wallet)
    for query, expected in (
        ({"key_id": wallet["key_id"]}, [added, wallet]),
        ({"network": "EthereumSepolia"}, [added]),
        ({"address": wallet["address"]}, [added, wallet]),
        ({"tag": "trial"}, [added]),
        ({"external_id": "user-17"}, [wallet]),
    ):
        assert (await api.get("/v1/wallets", params=query)).json()["items"] == expected
    body = {"network": "Ethereum", "store": "hsm", "external_id": "user-17"}
    assert (await api.post("/v1/wallets", json=body)).json() == wallet
    assert (await api.get(f"/v1/keys/{wallet['key_id']}")).json()["network"] == "Ethereum"


async def test_a_bare_key_has_wallets_on_the_networks_of_its_algorithm(
    api: httpx.AsyncClient, key: UUID
):
    public_key = bytes.fromhex((await api.get(f"/v1/keys/{key}")).json()["public_key"][2:])
    for network in Network:
        answer = await api.post(f"/v1/keys/{key}/wallets", json={"network": network})
        if network.family is Network.SOLANA:
            assert "cannot have a wallet" in assert_problem(answer, 422, "invalid_request")
            continue
        added = answer.json()
        assert added["address"] == address_of(network, ECDSA_SECP256K1, public_key)
        assert added["id"] == str(wallet_id_of(key, network))
    assert len((await api.get("/v1/wallets")).json()["items"]) == 5
    asked = {"kind": "Message", "message": "hello"}
    answer = await api.post(f"/v1/keys/{key}/signatures", json=asked)
    assert "hash_function" in assert_problem(answer, 422, "not_signable")


async def test_a_key_for_a_test_network_has_no_wallet_where_money_is(
    api: httpx.AsyncClient, node: MemoryNode
):
    body = {"network": "BitcoinTestnet4", "store": "hsm"}
    path = (await api.post("/v1/wallets", json=body)).headers["location"]
    await node.work()
    wallets = f"/v1/keys/{(await api.get(path)).json()['key_id']}/wallets"
    refused = await api.post(wallets, json={"network": "Bitcoin"})
    assert "a key for BitcoinTestnet4" in assert_problem(refused, 422, "invalid_request")
    assert (await api.post(wallets, json={"network": "BitcoinSignet"})).status_code == 201


@pytest.mark.parametrize("network", ["Bitcoin", "BitcoinSignet", "Solana", "SolanaDevnet"])
async def test_a_wallets_key_has_none_of_another_family(
    api: httpx.AsyncClient, wallet: dict[str, Any], network: str
):
    path = f"/v1/keys/{wallet['key_id']}/wallets"
    detail = assert_problem(await api.post(path, json={"network": network}), 422, "invalid_request")
    assert "a key for Ethereum" in detail


async def test_a_wallet_of_a_copy_has_no_external_id(
    replica: Replica, api: httpx.AsyncClient, wallet: dict[str, Any], key: UUID
):
    """The external id is the copy's, and may be that of a wallet, too."""
    copied = {"id": UUID(wallet["key_id"]), "origin": key}
    await replica.database.rows("UPDATE jobs SET endpoint = 'copies' WHERE id = :id", copied)
    await replica.database.rows("UPDATE keys SET copied_from = :origin WHERE id = :id", copied)
    shown = (await api.get(f"/v1/wallets/{wallet['id']}")).json()
    assert (wallet["external_id"], shown["external_id"]) == ("user-17", None)
    assert (await api.get("/v1/wallets?external_id=user-17")).json()["items"] == []
    (copy,) = (await api.get("/v1/keys?external_id=user-17")).json()["items"]
    assert (copy["id"], copy["copied_from"]) == (wallet["key_id"], str(key))


async def test_a_lost_wallet_is_added_again_with_the_same_id(
    replica: Replica, api: httpx.AsyncClient, wallet: dict[str, Any]
):
    """As after the loss of the database: nodes know the key only."""
    path = f"/v1/keys/{wallet['key_id']}/wallets"
    added = (await api.post(path, json=SEPOLIA)).json()
    lost = {"id": UUID(added["id"])}
    await replica.database.rows("DELETE FROM wallets WHERE id = :id", lost)
    again = await api.post(path, json=SEPOLIA)
    assert (again.status_code, again.json()["id"]) == (201, added["id"])


async def test_only_an_active_key_of_the_application_has_a_further_wallet(
    replica: Replica, api: httpx.AsyncClient, wallet: dict[str, Any]
):
    stranger = replica.client((await replica.token(application="other")).text)
    path = f"/v1/keys/{wallet['key_id']}/wallets"
    assert_problem(await stranger.post(path, json=SEPOLIA), 404, "not_found")
    body = {"network": "Ethereum", "store": "hsm"}
    pending = (await api.post("/v1/wallets", json=body)).json()
    path = f"/v1/keys/{pending['key_id']}/wallets"
    assert_problem(await api.post(path, json=SEPOLIA), 409, "key_not_active")
