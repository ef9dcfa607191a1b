"""A derived key has one id for good: whoever derives it again gets the same one."""

import asyncio
from typing import Any
from uuid import UUID

from tests.integration.conductor.conftest import Troupe
from wire.algorithms import Network
from wire.jobs import child_key_id


async def test_the_same_child_is_the_same_key_however_often_it_is_derived(troupe: Troupe):
    master = (await troupe.wallet())["key_id"]
    first, again, named = await asyncio.gather(
        troupe.change(master, "derive", wait=0, path="m/0/5"),
        troupe.change(master, "derive", wait=0, path="m/0/5"),
        troupe.change(master, "derive", wait=0, path="m/0/5", external_id="child-1"),
    )
    assert first["id"] == again["id"] == named["id"]
    assert UUID(first["id"]) == child_key_id(UUID(master), (0, 5), None)
    between = await troupe.change(master, "derive", wait=0, path="m/0")
    assert (await troupe.change(between["id"], "derive", wait=0, path="m/5"))["id"] == first["id"]
    assert (await troupe.sign(first["id"], hash_function="SHA-256"))["status"] == "Signed"


async def test_a_wallet_of_each_network_has_a_key_of_its_own(troupe: Troupe):
    master = (await troupe.wallet())["key_id"]
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
    master = (await troupe.wallet())["key_id"]
    first = await troupe.change(master, "derive", wait=0, path="m/1", external_id="deposit")
    path = f"/v1/keys/{master}/derive"
    other = await troupe.api.post(path, json={"path": "m/2", "external_id": "deposit"})
    assert other.status_code == 409, other.text
    repeated = await troupe.api.post(path, json={"path": "m/1", "external_id": "deposit"})
    assert repeated.json()["id"] == first["id"]
