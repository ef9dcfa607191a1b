"""A derived key has one id: each further derivation gets the same one."""

import asyncio
from typing import Any
from uuid import UUID

from custody.wire.algorithms import Network
from custody.wire.jobs import child_key_id
from tests.integration.conductor.conftest import Troupe


async def test_the_same_child_is_the_same_key_however_often_it_is_derived(troupe: Troupe):
    master = (await troupe.master())["id"]
    first, again, named = await asyncio.gather(
        troupe.derive(master, path="m/0/5"),
        troupe.derive(master, path="m/0/5"),
        troupe.derive(master, path="m/0/5", external_id="child-1"),
    )
    assert first["id"] == again["id"] == named["id"]
    assert UUID(first["id"]) == child_key_id(UUID(master), (0, 5), None)
    between = await troupe.derive(master, path="m/0")
    assert (await troupe.derive(between["id"], path="m/5"))["id"] == first["id"]
    assert (await troupe.sign(first["id"], hash_function="SHA-256"))["status"] == "Signed"


async def test_a_wallet_of_each_network_has_a_key_of_its_own(troupe: Troupe):
    master = (await troupe.master())["id"]
    body = {"store": "mpc", "master_key": master, "path": "m/7"}
    made: dict[str, Any] = {}
    for network in ("Ethereum", "Bitcoin", "Ethereum"):
        answer = await troupe.api.post("/v1/wallets", json={"network": network, **body})
        assert answer.status_code == 201, answer.text
        wallet = answer.json()
        assert made.setdefault(network, wallet) == wallet
        assert UUID(wallet["key_id"]) == child_key_id(UUID(master), (7,), Network(network))
    assert made["Ethereum"]["address"] != made["Bitcoin"]["address"]


async def test_an_external_id_stands_for_one_child(troupe: Troupe):
    master = (await troupe.master())["id"]
    first = await troupe.derive(master, path="m/1", external_id="deposit")
    path = f"/v1/keys/{master}/derive"
    other = await troupe.api.post(path, json={"path": "m/2", "external_id": "deposit"})
    assert other.status_code == 409, other.text
    repeated = await troupe.api.post(path, json={"path": "m/1", "external_id": "deposit"})
    assert repeated.json()["id"] == first["id"]


async def test_the_children_of_a_wallets_key_are_of_that_wallets_network(troupe: Troupe):
    wallet = await troupe.wallet("Ethereum")
    body = {"network": "Ethereum", "store": "mpc", "master_key": wallet["key_id"], "path": "m/1"}
    child = (await troupe.api.post("/v1/wallets", json=body)).json()
    assert child["status"] == "Active"
    assert (await troupe.sign(child["key_id"]))["status"] == "Signed"
    for parent in (wallet["key_id"], child["key_id"]):
        bitcoin = {**body, "network": "Bitcoin", "master_key": parent}
        for path, asked in (
            ("/v1/wallets", bitcoin),
            (f"/v1/keys/{parent}/derive", {"path": "m/1"}),
        ):
            refused = await troupe.api.post(path, json=asked)
            assert (refused.status_code, refused.json()["code"]) == (422, "not_derivable")
            assert "POST /v1/keys" in refused.json()["detail"]


async def test_a_child_that_is_a_wallets_has_children_of_every_network_if_its_root_may(
    troupe: Troupe,
):
    master = (await troupe.master())["id"]
    body = {"network": "Ethereum", "store": "mpc", "master_key": master, "path": "m/1"}
    child = (await troupe.api.post("/v1/wallets", json=body)).json()["key_id"]
    bare = await troupe.derive(child, path="m/2")
    assert (bare["network"], bare["root"]) == (None, master)
