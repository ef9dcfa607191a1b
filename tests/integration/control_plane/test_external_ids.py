"""An external id makes repeating a request safe."""

import asyncio
from uuid import UUID

import httpx

from custody.control_plane.tables import keys, wallets
from tests.integration.control_plane.conftest import Replica, assert_problem
from tests.integration.control_plane.node import MemoryNode

WALLET = {"network": "Ethereum", "store": "hsm", "external_id": "user-17"}
MESSAGE = {
    "kind": "Message",
    "message": "pay",
    "hash_function": "SHA-256",
    "external_id": "payment-1",
}


async def test_the_same_body_again_gets_the_first_result(api: httpx.AsyncClient, node: MemoryNode):
    first = await api.post("/v1/wallets", json=WALLET)
    again = await api.post("/v1/wallets", json=dict(reversed(WALLET.items())))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert first.json()["external_id"] == "user-17"
    await node.work()
    assert (await api.post("/v1/wallets?wait=1", json=WALLET)).json()["status"] == "Active"


async def test_another_body_is_a_conflict(api: httpx.AsyncClient, node: MemoryNode):
    await api.post("/v1/wallets", json=WALLET)
    other = await api.post("/v1/wallets", json={**WALLET, "network": "Solana"})
    assert "user-17" in assert_problem(other, 409, "external_id_conflict")


async def test_endpoints_and_applications_have_their_own_names(
    replica: Replica, api: httpx.AsyncClient, node: MemoryNode
):
    await api.post("/v1/wallets", json=WALLET)
    key = {"scheme": "ECDSA", "curve": "secp256k1", "store": "hsm", "external_id": "user-17"}
    assert (await api.post("/v1/keys", json=key)).status_code == 201
    stranger = replica.client((await replica.token(application="other")).text)
    assert (await stranger.post("/v1/wallets", json=WALLET)).status_code == 201


async def test_the_key_belongs_to_the_body(api: httpx.AsyncClient, node: MemoryNode, key: UUID):
    body = {"scheme": "ECDSA", "curve": "secp256k1", "store": "hsm"}
    other = (await api.post("/v1/keys", json=body)).json()["id"]
    await node.work()
    first = await api.post(f"/v1/keys/{key}/signatures", json=MESSAGE)
    assert first.status_code == 201
    answer = await api.post(f"/v1/keys/{other}/signatures", json=MESSAGE)
    assert_problem(answer, 409, "external_id_conflict")


async def test_a_race_has_one_winner_over_two_replicas(
    replica: Replica, other_replica: Replica, node: MemoryNode
):
    token = (await replica.token()).text
    clients = [replica.client(token), other_replica.client(token)]
    answers = await asyncio.gather(
        *(clients[number % 2].post("/v1/wallets", json=WALLET) for number in range(40))
    )
    assert sorted(answer.status_code for answer in answers) == [200] * 39 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    async with replica.engine.connect() as connection:
        assert len((await connection.execute(keys.select())).all()) == 1
        assert len((await connection.execute(wallets.select())).all()) == 1


async def test_a_race_of_many_names_and_two_bodies(
    replica: Replica, other_replica: Replica, node: MemoryNode, key: UUID
):
    token = (await replica.token()).text
    clients = [replica.client(token), other_replica.client(token)]
    asked = [
        ({**MESSAGE, "external_id": f"payment-{name}", "message": message}, client)
        for name in range(10)
        for message in ("pay", "do not pay")
        for client in clients
        for _ in range(2)
    ]
    path = f"/v1/keys/{key}/signatures"
    answers = await asyncio.gather(*(client.post(path, json=body) for body, client in asked))
    for name in range(10):
        mine = [
            answer
            for (body, _), answer in zip(asked, answers, strict=True)
            if body["external_id"] == f"payment-{name}"
        ]
        assert sorted(answer.status_code for answer in mine) == [200] * 3 + [201] + [409] * 4
        assert len({answer.json()["id"] for answer in mine if answer.status_code < 300}) == 1


async def test_a_repeated_request_gets_its_signature(
    api: httpx.AsyncClient, node: MemoryNode, key: UUID
):
    path = f"/v1/keys/{key}/signatures"
    working = asyncio.create_task(node.work_on())
    signed = await api.post(f"{path}?wait=30", json=MESSAGE)
    again = await api.post(f"{path}?wait=30", json=MESSAGE)
    assert again.status_code == 200
    assert again.json() == signed.json()
    working.cancel()


async def test_a_repeated_request_is_answered_where_no_node_could_do_it_any_more(
    replica: Replica, api: httpx.AsyncClient, node: MemoryNode
):
    first = await api.post("/v1/wallets", json=WALLET)
    await node.report_in(capabilities={})
    again = await api.post("/v1/wallets", json=WALLET)
    assert (again.status_code, again.json()) == (200, first.json())
    new = await api.post("/v1/wallets", json={**WALLET, "external_id": "user-18"})
    assert_problem(new, 422, "unsupported_algorithm")
