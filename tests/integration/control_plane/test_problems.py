"""Whatever goes wrong, the answer is a problem document."""

import asyncio
import json
from collections.abc import AsyncIterator
from uuid import UUID

import httpx
import pytest

from tests.integration.control_plane.conftest import Replica, assert_problem
from tests.integration.control_plane.node import MemoryNode
from tests.waiting import until

LIMIT = 256 * 1024


@pytest.mark.parametrize("body", [b"", b"{", b"nonsense", b'{"network": "Ethereum",}', b"\xff\xfe"])
async def test_a_body_that_is_not_json(api: httpx.AsyncClient, body: bytes):
    assert_problem(await api.post("/v1/wallets", content=body), 400, "malformed_json")


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ([], ""),
        ("text", ""),
        (None, ""),
        ({}, "network"),
        ({"network": "Dogecoin", "store": "hsm"}, "network"),
        ({"network": "Ethereum", "store": "cloud"}, "store"),
        ({"network": "Ethereum", "store": "mpc"}, "signer_group"),
        ({"network": "Ethereum", "store": "hsm", "colour": "red"}, "colour"),
        ({"network": "Ethereum", "store": "hsm", "external_id": ""}, "external_id"),
        ({"network": "Ethereum", "store": "hsm", "external_id": "a b"}, "external_id"),
        ({"network": "Ethereum", "store": "hsm", "external_id": "a\x00b"}, "external_id"),
        ({"network": "Ethereum", "store": "hsm", "external_id": "a" * 201}, "external_id"),
        ({"network": "Ethereum", "store": "hsm", "external_id": 17}, "external_id"),
    ],
)
async def test_a_wallet_that_cannot_be_meant(api: httpx.AsyncClient, body: object, named: str):
    answer = await api.post("/v1/wallets", content=json.dumps(body))
    assert named in assert_problem(answer, 422, "invalid_request")


@pytest.mark.parametrize(
    "body",
    [
        {"scheme": "EdDSA", "curve": "secp256k1", "store": "hsm"},
        {"scheme": "ECDSA", "curve": "ed25519", "store": "hsm"},
        {"scheme": "RSA", "curve": "secp256k1", "store": "hsm"},
    ],
)
async def test_a_key_that_cannot_be(api: httpx.AsyncClient, body: dict):
    assert_problem(await api.post("/v1/keys", json=body), 422, "invalid_request")


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "Hash", "hash": "0x" + "5c" * 31},
        {"kind": "Hash", "hash": "5c" * 32},
        {"kind": "Hash", "hash": "0x" + "5c" * 31 + "zz"},
        {"kind": "Hash"},
        {"kind": "Message", "message": "0xabc"},
        {"kind": "Message", "message": "Hello", "hash_function": "MD5"},
        {"kind": "Message", "message": "a" * 65_537, "hash_function": "SHA-256"},
        {"kind": "Message", "message": 17},
        {"kind": "Transaction"},
        {"message": "Hello"},
    ],
)
async def test_a_signature_that_cannot_be_asked_for(
    api: httpx.AsyncClient, node: MemoryNode, key: UUID, body: dict
):
    answer = await api.post(f"/v1/keys/{key}/signatures", json=body)
    detail = assert_problem(answer, 422, "invalid_request")
    assert "aaaa" not in detail  # what was sent is not sent back


AMBIGUOUS = [
    b'{"kind": "Hash", "kind": "Hash", "hash": "0x00"}',
    b'{"kind": "Message", "message": "1 coin", "message": "100 coins"}',
    b'{"network": "Ethereum", "store": "hsm", "store": "mpc"}',
    b'{"external_id": NaN}',
    b'{"external_id": "\\ud800"}',
    b"[" * 50 + b"]" * 50,
    b"[" * 500 + b"]" * 500,
]


@pytest.mark.parametrize("body", AMBIGUOUS)
async def test_json_that_two_readers_could_read_differently_is_invalid(
    api: httpx.AsyncClient, key: UUID, body: bytes
):
    paths = ["/v1/wallets", "/v1/keys", "/v1/signer-groups"]
    for what in ("signatures", "derive", "refresh", "repair"):
        paths.append(f"/v1/keys/{key}/{what}")
    for path in paths:
        detail = assert_problem(await api.post(path, content=body), 422, "invalid_request")
        assert detail.startswith("The body is ambiguous")


async def test_a_lone_surrogate_is_no_text(api: httpx.AsyncClient, key: UUID):
    body = b'{"kind": "Message", "hash_function": "SHA-256", "message": "\\ud800"}'
    answer = await api.post(f"/v1/keys/{key}/signatures", content=body)
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_body_that_is_too_large(api: httpx.AsyncClient):
    answer = await api.post("/v1/wallets", content=b" " * (LIMIT + 1))
    assert str(LIMIT) in assert_problem(answer, 413, "too_large")
    assert (await api.get("/v1/wallets")).status_code == 200


async def test_a_body_that_grows_too_large_without_having_said_so(api: httpx.AsyncClient):
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(LIMIT // 1024 + 1):
            yield b" " * 1024

    assert_problem(await api.post("/v1/wallets", content=chunks()), 413, "too_large")


async def test_a_body_of_just_the_limit_is_read(api: httpx.AsyncClient, node: MemoryNode):
    body = json.dumps({"network": "Ethereum", "store": "hsm"}).encode()
    answer = await api.post("/v1/wallets", content=body + b" " * (LIMIT - len(body)))
    assert answer.status_code == 201


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/nothing", "/v1/wallets/", "/docs", "/metrics"])
async def test_a_path_that_is_not_there(api: httpx.AsyncClient, path: str):
    assert_problem(await api.get(path), 404, "not_found")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
async def test_a_method_that_is_not_there(api: httpx.AsyncClient, method: str):
    answer = await api.request(method, "/v1/wallets")
    assert_problem(answer, 405, "method_not_allowed")
    assert "GET" in answer.headers["allow"] or "POST" in answer.headers["allow"]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/wallets/not-an-id",
        "/v1/keys/17",
        "/v1/wallets?wait=61",
        "/v1/wallets?status=Happy",
        "/v1/wallets?external_id=%00",
        "/v1/wallets?address=%00",
        "/v1/nodes?group=%00",
    ],
)
async def test_parameters_that_cannot_be_meant(api: httpx.AsyncClient, path: str):
    if "wait" in path:
        answer = await api.post(path, json={"network": "Ethereum", "store": "hsm"})
    else:
        answer = await api.get(path)
    assert_problem(answer, 422, "invalid_request")


async def test_a_fault_of_ours_keeps_its_traceback(replica: Replica, api: httpx.AsyncClient):
    async with replica.engine.begin() as connection:
        await connection.exec_driver_sql("ALTER TABLE wallets RENAME COLUMN address TO place")
    detail = assert_problem(await api.get("/v1/wallets"), 500, "internal_error")
    assert "address" not in detail


async def test_a_client_that_goes_away_harms_nobody(
    replica: Replica, api: httpx.AsyncClient, node: MemoryNode, key: UUID
):
    body = {"kind": "Hash", "hash": "0x" + "5c" * 32}
    path = f"/v1/keys/{key}/signatures"
    leaving = [
        asyncio.create_task(api.post(f"{path}?wait=30", json={**body, "external_id": f"n{number}"}))
        for number in range(10)
    ]
    await until(lambda: len(replica.notifications._waiting) == len(leaving))
    for task in leaving:
        task.cancel()
    await asyncio.wait(leaving)
    await api.post(path, json={**body, "external_id": "n3"})  # the first may have left too early
    await node.work_soon()
    answer = await api.post(path, json={**body, "external_id": "n3"})
    assert (answer.status_code, answer.json()["status"]) == (200, "Signed")
