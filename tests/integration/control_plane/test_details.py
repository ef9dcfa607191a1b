"""What is for operators is shown to scope admin alone, wherever the API could show it."""

import json
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import func, insert, update

from custody.control_plane.access.scopes import Scope
from custody.control_plane.serve import openapi_document
from custody.control_plane.tables import bans, nodes
from custody.wire.outcomes import Outcome, OutcomeStatus
from tests.integration.control_plane.conftest import Replica
from tests.integration.control_plane.node import MemoryNode

WORDS = (
    "greta",
    "lost laptop",
    "CKR_DEVICE_ERROR",
    "unfreeze",
    "acme",
    "9.8.7",
    "2026-03-01",
    "custody/1",
)
WARNING = "no confirmed backup of master key custody/1"
FROZEN = "frozen at 2026-03-01 by greta: lost laptop; mpc-signer unfreeze"
MESSAGE = {"kind": "Message", "message": "hello", "hash_function": "SHA-256"}
ORDINARY = (Scope.READ, Scope.WALLETS, Scope.SIGN)
HIDDEN: dict[str, Any] = {"status": "degraded", "detail": None, "works": True, "warnings": []}
LISTED = {"id", "group", "capabilities", "health"}


@pytest.fixture
async def application(replica: Replica) -> httpx.AsyncClient:
    """The client of an ordinary application: the one that the other requests here are of."""
    return replica.client((await replica.token(ORDINARY)).text)


@pytest.fixture
async def told(replica: Replica, node: MemoryNode, key: UUID) -> None:
    """Nodes that have told more than applications are to know."""
    health = {"status": "degraded", "detail": f"freeze: {FROZEN}", "warnings": [WARNING]}
    row = {"owner": "acme", "version": "9.8.7", "health": health, "last_seen": func.now()}
    values = {"node_group": "mpc", "capabilities": {"ECDSA/secp256k1": "mpc"}, **row}
    ban = {"signer": "signer-1", "banned": "signer-2", "key_id": key, "reason": "CKR_DEVICE_ERROR"}
    async with replica.engine.begin() as connection:
        await connection.execute(update(nodes).values(row))
        await connection.execute(insert(nodes).values(id="signer-1", **values))
        signed = {"payload": b"", "signature": b"", "signing_key_id": ""}
        await connection.execute(insert(bans).values(ban | signed | {"at": func.now()}))


async def failing(api: httpx.AsyncClient, node: MemoryNode, key: UUID, transient: bool) -> str:
    """Path of a signature whose attempt failed with an operator's words."""
    made = await api.post(f"/v1/keys/{key}/signatures", json=MESSAGE)
    (claimed,) = await node.claim()
    words = f"{FROZEN}: CKR_DEVICE_ERROR"
    outcome = Outcome(
        job_id=claimed.job_id,
        node="driver-1",
        status=OutcomeStatus.FAILED,
        code="frozen",
        reason=words,
        transient=transient,
    )
    await node.report([(claimed, outcome)])
    path: str = made.headers["location"]
    return path


async def test_an_ordinary_token_reads_nothing_that_is_for_operators(
    application: httpx.AsyncClient, told: None, node: MemoryNode, key: UUID
):
    signature = await failing(application, node, key, transient=True)
    await failing(application, node, key, transient=False)
    places = {"key_id": str(key), "signature_id": signature.rpartition("/")[2]}
    read = 0
    for path, methods in openapi_document()["paths"].items():
        if "get" not in methods:
            continue
        try:
            answer = await application.get(path.format(**places))
        except KeyError:
            continue  # of what only keys of store mpc have: the conductor's tests read it
        read += 1
        for word in WORDS:
            assert word not in answer.text, (path, word)
    assert read > 8


async def test_an_ordinary_token_sees_which_nodes_there_are(
    application: httpx.AsyncClient, told: None
):
    shown = {each["id"]: each for each in (await application.get("/v1/nodes")).json()["items"]}
    assert shown.keys() == {"driver-1", "signer-1"}
    for each in shown.values():
        assert each["health"] == HIDDEN
        assert {name for name, value in each.items() if value not in (None, [])} == LISTED
    (signer,) = (await application.get("/v1/signers")).json()["items"]
    assert (signer["id"], signer["group"]) == ("signer-1", "mpc")
    assert signer["capabilities"] == {"ECDSA/secp256k1": "mpc"}
    assert signer["health"] == HIDDEN
    assert {name for name, value in signer.items() if value is not None} == LISTED


async def test_an_admin_sees_it_all(
    api: httpx.AsyncClient, told: None, node: MemoryNode, key: UUID
):
    listed = (await api.get("/v1/nodes")).json()["items"]
    listed += (await api.get("/v1/signers")).json()["items"]
    for each in listed:
        assert (each["version"], FROZEN in each["health"]["detail"]) == ("9.8.7", True)
        assert each["health"]["warnings"] == [WARNING]
        assert each["last_seen"] is not None
    assert listed[-1]["owner"] == "acme"
    assert [ban["reason"] for ban in listed[-1]["bans"]] == ["CKR_DEVICE_ERROR"]
    reason = (await api.get(await failing(api, node, key, transient=True))).json()["reason"]
    assert (reason["code"], reason["node"]) == ("frozen", "driver-1")
    assert reason["detail"].startswith(FROZEN)


async def test_an_ordinary_token_sees_that_its_request_waits_and_where_more_is_shown(
    application: httpx.AsyncClient, node: MemoryNode, key: UUID
):
    path = await failing(application, node, key, transient=True)
    shown = (await application.get(path)).json()
    assert shown["status"] == "Pending"
    assert (shown["reason"]["code"], shown["reason"]["node"]) == ("frozen", None)
    assert "scope admin" in json.dumps(shown["reason"])
