"""Imports: asked for, used by one key once, and shown as imported."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from coincurve import PrivateKey

from custody.wire.jobs import JobKind
from custody.wire.outcomes import Outcome, OutcomeStatus, PreparedImport
from tests.integration.control_plane.conftest import Replica, assert_problem
from tests.integration.control_plane.node import MemoryNode

SECP256K1 = {"scheme": "ECDSA", "curve": "secp256k1", "store": "hsm"}
MINE = PrivateKey(b"\7" * 32)


def imported(import_id: str, key: PrivateKey = MINE, **changes: str) -> dict[str, Any]:
    fields = {
        "import_id": import_id,
        "public_key": "0x" + key.public_key.format().hex(),
        "wrapped": "0x" + key.secret.hex(),
    }
    return {**SECP256K1, "imported": fields | changes}


async def ready(api: httpx.AsyncClient, node: MemoryNode, **body: str) -> dict[str, Any]:
    created = await api.post("/v1/imports", json={**SECP256K1, **body})
    assert created.status_code == 201
    assert created.json()["status"] == "Pending"
    await node.work()
    found: dict[str, Any] = (await api.get(created.headers["location"])).json()
    return found


async def test_an_import_is_used_by_one_key(api: httpx.AsyncClient, node: MemoryNode):
    first = await ready(api, node)
    assert (first["status"], len(first["statements"]), first["key_id"]) == ("Ready", 1, None)
    assert first["expires_at"] > (datetime.now(UTC) + timedelta(minutes=59)).isoformat()
    created = await api.post("/v1/keys", json=imported(first["id"]))
    assert created.status_code == 201
    await node.work()
    key = (await api.get(created.headers["location"])).json()
    assert (key["status"], key["imported"]) == ("Active", True)
    assert key["public_key"] == "0x" + MINE.public_key.format().hex()
    used = (await api.get(f"/v1/imports/{first['id']}")).json()
    assert (used["status"], used["key_id"]) == ("Used", key["id"])
    again = await api.post("/v1/keys", json=imported(first["id"]))
    assert "is Used, not Ready" in assert_problem(again, 409, "import_not_usable")
    listed = (await api.get("/v1/keys")).json()["items"]
    assert [each["id"] for each in listed] == [key["id"]]  # the refused one has left nothing
    assert (await api.get("/v1/imports")).json()["items"] == [used]


async def test_an_imported_wallet_says_so_and_a_generated_one_does_not(
    api: httpx.AsyncClient, node: MemoryNode
):
    import_id = (await ready(api, node))["id"]
    body = imported(import_id)
    wallet = {"network": "Ethereum", "store": "hsm"}
    one = await api.post("/v1/wallets", json={**wallet, "imported": body["imported"]})
    other = await api.post("/v1/wallets", json=wallet)
    shown = [(await api.get(each.headers["location"])).json() for each in (one, other)]
    assert [each["imported"] for each in shown] == [True, False]


async def test_of_many_at_once_one_key_gets_the_import(api: httpx.AsyncClient, node: MemoryNode):
    import_id = (await ready(api, node))["id"]
    asked = (api.post("/v1/keys", json=imported(import_id)) for _ in range(6))
    codes = [answer.status_code for answer in await asyncio.gather(*asked)]
    assert sorted(codes) == [201, 409, 409, 409, 409, 409]


async def test_a_repeated_request_finds_its_key_under_another_import(
    api: httpx.AsyncClient, node: MemoryNode
):
    """An application that crashed does not know which import it used, and encrypts again."""
    one, other = [(await ready(api, node))["id"] for _ in range(2)]
    first = await api.post("/v1/keys", json={**imported(one), "external_id": "mine"})
    body = {**imported(other, wrapped="0xaabb"), "external_id": "mine"}
    second = await api.post("/v1/keys", json=body)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["id"] == second.json()["id"]
    assert (await api.get(f"/v1/imports/{other}")).json()["status"] == "Ready"
    another = imported(other, PrivateKey(b"\5" * 32))
    conflict = await api.post("/v1/keys", json={**another, "external_id": "mine"})
    assert_problem(conflict, 409, "external_id_conflict")


async def test_the_same_external_id_is_the_same_import(api: httpx.AsyncClient, node: MemoryNode):
    first = await ready(api, node, external_id="mine")
    again = await api.post("/v1/imports", json={**SECP256K1, "external_id": "mine"})
    assert (again.status_code, again.json()["id"]) == (200, first["id"])


@pytest.mark.parametrize(
    "change", [{"scheme": "EdDSA", "curve": "ed25519"}, {"curve": "secp256r1"}]
)
async def test_an_import_is_for_its_algorithm(
    api: httpx.AsyncClient, node: MemoryNode, change: dict[str, str]
):
    everything = ("ECDSA/secp256k1", "ECDSA/secp256r1", "EdDSA/ed25519")
    await node.report_in(dict.fromkeys(everything, "hsm"))
    created = await api.post("/v1/imports", json={**SECP256K1, **change})
    await node.work()
    refused = await api.post("/v1/keys", json=imported(created.json()["id"]))
    assert "another store, signer group or algorithm" in assert_problem(
        refused, 409, "import_not_usable"
    )


async def test_an_import_is_not_used_before_it_is_ready_or_after_its_end(
    api: httpx.AsyncClient, node: MemoryNode
):
    created = (await api.post("/v1/imports", json=SECP256K1)).json()
    early = await api.post("/v1/keys", json=imported(created["id"]))
    assert "is Pending" in assert_problem(early, 409, "import_not_usable")
    (claimed,) = await node.claim()
    past = node.statement(node.read(claimed), expires_at=datetime.now(UTC))
    await node.report([(claimed, _done(node, claimed.job_id, past))])
    assert (await api.get(f"/v1/imports/{created['id']}")).json()["status"] == "Expired"
    late = await api.post("/v1/keys", json=imported(created["id"]))
    assert "is Expired" in assert_problem(late, 409, "import_not_usable")


async def test_an_import_is_of_one_application(
    replica: Replica, api: httpx.AsyncClient, node: MemoryNode
):
    import_id = (await ready(api, node))["id"]
    other = replica.client((await replica.token(application="other")).text)
    assert_problem(await other.get(f"/v1/imports/{import_id}"), 404, "not_found")
    assert_problem(await other.post("/v1/keys", json=imported(import_id)), 404, "not_found")
    assert (await other.get("/v1/imports")).json()["items"] == []


async def test_a_failed_import_says_why(api: httpx.AsyncClient, node: MemoryNode):
    created = (await api.post("/v1/imports", json=SECP256K1)).json()
    (claimed,) = await node.claim()
    failure = node.failed(claimed, OutcomeStatus.FAILED, transient=False)
    await node.report([(claimed, failure)])
    found = (await api.get(f"/v1/imports/{created['id']}")).json()
    assert (found["status"], found["reason"]["code"]) == ("Failed", "out_of_order")


@pytest.mark.parametrize(
    "changes", [{"import_id": uuid4()}, {"node": "other", "signers": ["other"]}]
)
async def test_a_statement_about_another_import_is_not_taken(
    api: httpx.AsyncClient, node: MemoryNode, changes: dict[str, object]
):
    created = (await api.post("/v1/imports", json=SECP256K1)).json()
    (claimed,) = await node.claim()
    wrong = node.statement(node.read(claimed), **changes)
    await node.report([(claimed, _done(node, claimed.job_id, wrong))])
    found = (await api.get(f"/v1/imports/{created['id']}")).json()
    assert (found["status"], found["reason"]["code"]) == ("Pending", "bad_result")


async def test_another_key_than_the_announced_one_is_not_taken(
    api: httpx.AsyncClient, node: MemoryNode
):
    import_id = (await ready(api, node))["id"]
    other = PrivateKey(b"\5" * 32)
    body = imported(import_id, wrapped="0x" + other.secret.hex())
    created = (await api.post("/v1/keys", json=body)).json()
    await node.work()
    found = (await api.get(f"/v1/keys/{created['id']}")).json()
    assert (found["status"], found["reason"]["code"]) == ("Pending", "bad_result")


async def test_an_import_to_signers_is_for_a_group_that_there_is(api: httpx.AsyncClient):
    body = {**SECP256K1, "store": "mpc", "signer_group": "two-of-three"}
    answer = await api.post("/v1/imports", json=body)
    assert "two-of-three" in assert_problem(answer, 422, "unknown_signer_group")


def _done(node: MemoryNode, job_id: object, statement: object) -> Outcome:
    result = PreparedImport.model_validate({"statements": (statement,)})
    return Outcome.model_validate(
        {"job_id": job_id, "node": node.name, "status": OutcomeStatus.DONE, "result": result}
    )


async def test_the_jobs_are_of_their_kinds(api: httpx.AsyncClient, node: MemoryNode):
    await api.post("/v1/imports", json=SECP256K1)
    (claimed,) = await node.claim()
    job = node.read(claimed)
    assert (job.kind, job.endpoint) == (JobKind.PREPARE_IMPORT, "imports")
    await node.report([(claimed, node.do(claimed))])
    await api.post("/v1/keys", json=imported(str(job.id)))
    (claimed,) = await node.claim()
    assert (node.read(claimed).kind, node.read(claimed).endpoint) == (JobKind.IMPORT_KEY, "keys")
