"""Asking for signatures, waiting for them, reading them."""

import asyncio
import time
from uuid import UUID, uuid4

import httpx
import pytest
from coincurve import PublicKey

from custody.wire.digests import keccak_256
from custody.wire.outcomes import OutcomeStatus
from tests.integration.control_plane.conftest import Replica, assert_problem
from tests.integration.control_plane.node import MemoryNode

MESSAGE = {"kind": "Message", "message": "Hello", "hash_function": "Keccak-256"}


async def test_a_signature_from_pending_to_signed(
    api: httpx.AsyncClient, node: MemoryNode, key: UUID
):
    created = await api.post(f"/v1/keys/{key}/signatures", json=MESSAGE)
    assert created.status_code == 201
    path = created.headers["location"]
    pending = created.json()
    assert pending["status"] == "Pending"
    assert (pending["kind"], pending["message"]) == ("Message", "Hello")
    assert pending["digest"] == "0x" + keccak_256(b"Hello").hex()
    assert (await api.get(path)).json() == pending
    (job,) = await node.claim()
    assert (await api.get(path)).json() == {**pending, "status": "Executing"}
    await node.report([(job, node.do(job))])
    signed = (await api.get(path)).json()
    assert signed["status"] == "Signed"
    public_key = (await api.get(f"/v1/keys/{key}")).json()["public_key"]
    result = signed["signature"]
    recoverable = bytes.fromhex(result["r"][2:] + result["s"][2:]) + bytes([result["recid"]])
    found = PublicKey.from_signature_and_message(recoverable, keccak_256(b"Hello"), hasher=None)
    assert "0x" + found.format().hex() == public_key


@pytest.mark.usefixtures("only_woken")
async def test_wait_answers_with_the_signature_itself(
    api: httpx.AsyncClient, node: MemoryNode, key: UUID
):
    working = asyncio.create_task(node.work_on())
    started = time.monotonic()
    signed = await api.post(f"/v1/keys/{key}/signatures?wait=30", json=MESSAGE)
    assert signed.status_code == 201
    assert signed.json()["status"] == "Signed"
    assert time.monotonic() - started < 25
    path = f"/v1/keys/{key}/signatures/{signed.json()['id']}"
    assert (await api.get(path)).json() == signed.json()
    working.cancel()


async def test_many_at_once_each_get_their_own(api: httpx.AsyncClient, node: MemoryNode, key: UUID):
    working = asyncio.create_task(node.work_on())
    messages = [f"message {number}" for number in range(50)]
    path = f"/v1/keys/{key}/signatures?wait=30"
    answers = await asyncio.gather(
        *(api.post(path, json={**MESSAGE, "message": message}) for message in messages)
    )
    assert [answer.json()["status"] for answer in answers] == ["Signed"] * 50
    assert [answer.json()["message"] for answer in answers] == messages
    assert len({answer.json()["id"] for answer in answers}) == 50
    working.cancel()


@pytest.mark.usefixtures("only_woken")
async def test_a_wait_on_one_replica_ends_by_a_result_on_another(
    api: httpx.AsyncClient, other_replica: Replica, node: MemoryNode, key: UUID
):
    elsewhere = MemoryNode(
        other_replica.database, other_replica.queue, other_replica.notifications
    ).with_keys_of(node)
    working = asyncio.create_task(elsewhere.work_soon())
    started = time.monotonic()
    signed = await api.post(f"/v1/keys/{key}/signatures?wait=30", json=MESSAGE)
    assert signed.json()["status"] == "Signed"
    assert time.monotonic() - started < 25
    await working


async def test_when_the_time_is_over_the_status_so_far_comes_back(
    api: httpx.AsyncClient, key: UUID
):
    started = time.monotonic()
    answer = await api.post(f"/v1/keys/{key}/signatures?wait=0.3", json=MESSAGE)
    assert time.monotonic() - started >= 0.3
    assert (answer.status_code, answer.json()["status"]) == (201, "Pending")
    again = await api.get(answer.headers["location"] + "?wait=0.3")
    assert again.json()["status"] == "Pending"


@pytest.mark.parametrize(
    ("status", "shown"), [(OutcomeStatus.DENIED, "Rejected"), (OutcomeStatus.FAILED, "Failed")]
)
async def test_a_signature_that_will_not_be_says_why(
    api: httpx.AsyncClient, node: MemoryNode, key: UUID, status: OutcomeStatus, shown: str
):
    asking = asyncio.create_task(api.post(f"/v1/keys/{key}/signatures?wait=30", json=MESSAGE))
    while not (jobs := await node.claim()):  # noqa: ASYNC110 - asks as a driver may
        await asyncio.sleep(0.01)
    await node.report([(jobs[0], node.failed(jobs[0], status, transient=False))])
    answer = (await asking).json()
    assert (answer["status"], answer["signature"]) == (shown, None)
    assert answer["reason"] == {
        "code": "out_of_order",
        "detail": "The token is out of order.",
        "node": "driver-1",
    }


async def test_a_pending_key_does_not_sign_yet(api: httpx.AsyncClient, node: MemoryNode):
    body = {"scheme": "ECDSA", "curve": "secp256k1", "store": "hsm"}
    pending = (await api.post("/v1/keys", json=body)).json()["id"]
    path = f"/v1/keys/{pending}/signatures"
    assert "Pending" in assert_problem(await api.post(path, json=MESSAGE), 409, "key_not_active")
    await node.work()
    assert (await api.post(path, json=MESSAGE)).status_code == 201


async def test_a_key_of_nobody_signs_nothing(replica: Replica, api: httpx.AsyncClient, key: UUID):
    path = f"/v1/keys/{uuid4()}/signatures"
    assert_problem(await api.post(path, json=MESSAGE), 404, "not_found")
    assert (await api.post(f"/v1/keys/{key}/signatures", json=MESSAGE)).status_code == 201
    stranger = replica.client((await replica.token(application="other")).text)
    path = f"/v1/keys/{key}/signatures"
    assert_problem(await stranger.post(path, json=MESSAGE), 404, "not_found")


async def test_a_request_that_the_key_cannot_sign(
    api: httpx.AsyncClient, node: MemoryNode, key: UUID
):
    bare = {"kind": "Message", "message": "Hello"}
    answer = await api.post(f"/v1/keys/{key}/signatures", json=bare)
    assert "hash_function" in assert_problem(answer, 422, "not_signable")
    body = {"scheme": "EdDSA", "curve": "ed25519", "store": "hsm"}
    ed25519 = (await api.post("/v1/keys", json=body)).json()["id"]
    await node.work()
    a_hash = {"kind": "Hash", "hash": "0x" + "5c" * 32}
    answer = await api.post(f"/v1/keys/{ed25519}/signatures", json=a_hash)
    assert_problem(answer, 422, "not_signable")


async def test_a_solana_transaction_is_not_a_message(api: httpx.AsyncClient, node: MemoryNode):
    wallet = (await api.post("/v1/wallets", json={"network": "Solana", "store": "hsm"})).json()
    await node.work()
    path = f"/v1/keys/{wallet['key_id']}"
    public_key = (await api.get(path)).json()["public_key"][2:]
    transaction = "0x01000001" + public_key + bytes(32).hex() + "00"
    as_message = {"kind": "Message", "message": transaction}
    detail = assert_problem(
        await api.post(f"{path}/signatures", json=as_message), 422, "not_signable"
    )
    assert "use kind Transaction" in detail
    wanted = {"kind": "Transaction", "transaction": transaction}
    made = (await api.post(f"{path}/signatures", json=wanted)).json()
    await node.work()
    signed = (await api.get(f"{path}/signatures/{made['id']}")).json()
    assert (signed["status"], signed["kind"]) == ("Signed", "Transaction")
    assert (signed["transaction"], signed["message"]) == (transaction, None)
    other = {"kind": "Transaction", "transaction": "0x01000001" + bytes(64).hex() + "00"}
    assert_problem(await api.post(f"{path}/signatures", json=other), 422, "not_signable")


async def test_the_node_gets_the_request_byte_for_byte(
    api: httpx.AsyncClient, node: MemoryNode, key: UUID
):
    odd = b'{ "hash_function":"SHA-256","kind":"Message",\n'
    odd += b' "message" : "\\u00e9t\\u00e9 \xf0\x9f\x8c\x9e" }'
    assert (await api.post(f"/v1/keys/{key}/signatures", content=odd)).status_code == 201
    (claimed,) = await node.claim()
    assert node.read(claimed).request == odd
