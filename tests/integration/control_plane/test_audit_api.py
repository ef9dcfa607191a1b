"""GET /v1/audit: the control plane's own records and the signed heads, for admins."""

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.client import AuditNotVerified, AuditRecord, verify_audit_records
from custody.control_plane.audit.heads import AuditHeads
from custody.control_plane.audit.own_chain import Auditor
from custody.wire.audit import GENESIS, AuditHead, chain_hash
from custody.wire.encoding import hex_to_bytes
from custody.wire.signed_bytes import AUDIT_HEAD_TYPE, PinnedKeys, SignedBytes, SigningKey
from tests.integration.control_plane.conftest import Replica, assert_problem
from tests.integration.control_plane.test_lists import all_pages

DONE = [("bo", "AddNode"), ("ada", "CreateToken"), ("bo", "RevokeToken"), ('a"b', "AddNode")]


@pytest.fixture
async def filled(replica: Replica) -> Replica:
    async with replica.database.transaction() as connection:
        for operator, kind in DONE:
            said = {"node": 'x","operator":"eve","y":"', "reason": None}
            await Auditor(operator, replica.signer).record(connection, kind, said)
    return replica


async def test_records_come_newest_first_in_pages_and_by_filters(
    filled: Replica, api: httpx.AsyncClient
):
    for limit in (1, 3, 200):
        shown = await all_pages(api, "/v1/audit", limit=limit)
        assert [(each["operator"], each["kind"]) for each in shown] == DONE[::-1]

    async def sequences(**filters: str) -> list[int]:
        return [each["sequence"] for each in await all_pages(api, "/v1/audit", limit=1, **filters)]

    assert await sequences(kind="AddNode") == [4, 1]
    assert await sequences(operator="bo") == [3, 1]
    assert await sequences(operator="bo", kind="AddNode") == [1]
    assert await sequences(operator='a"b') == [4]
    assert await sequences(operator="eve") == [], "text of a detail is not an operator"


async def test_a_reader_can_check_the_chain_and_every_head(filled: Replica, api: httpx.AsyncClient):
    keys, previous = PinnedKeys([filled.signer.public_key]), GENESIS
    for each in reversed(await all_pages(api, "/v1/audit")):
        previous = chain_hash(previous, hex_to_bytes(each["record"]))
        head = keys.open(AUDIT_HEAD_TYPE, SignedBytes.model_validate(each["head"]))
        assert AuditHead.model_validate_json(head).hash == previous == hex_to_bytes(each["hash"])


async def test_the_client_library_verifies_the_own_chain(filled: Replica, api: httpx.AsyncClient):
    shown = await all_pages(api, "/v1/audit", limit=3)
    records = [AuditRecord.model_validate(each) for each in shown]
    found = verify_audit_records(records, "control-plane", [filled.signer.public_key])
    assert (found.count, found.first, found.last, found.gaps) == (4, 1, 4, ())
    assert await all_pages(api, "/v1/audit", node="control-plane") == shown
    said = {"checkpoint": "3", "previous_hash": records[2].hash.hex(), "reason": "ticket 31"}
    async with filled.database.transaction() as connection:
        await Auditor("bo", filled.signer).record(connection, "PruneAudit", said)
        await connection.rows("DELETE FROM audit WHERE sequence < 3")
    pruned = [AuditRecord.model_validate(each) for each in await all_pages(api, "/v1/audit")]
    found = verify_audit_records(pruned, "control-plane", [filled.signer.public_key])
    assert (found.count, found.first, found.last) == (3, 3, 5)
    with pytest.raises(AuditNotVerified):
        verify_audit_records(pruned[:1] + pruned[2:], "control-plane", [])


async def test_a_changed_record_is_shown_without_fields(filled: Replica, api: httpx.AsyncClient):
    await filled.database.rows("UPDATE audit SET record = 'not JSON' WHERE sequence = 2")
    [_, _, changed, _] = await all_pages(api, "/v1/audit")
    assert (changed["sequence"], changed["kind"], changed["details"]) == (2, None, {})
    assert hex_to_bytes(changed["record"]) == b"not JSON"


async def test_heads_of_the_control_plane_and_of_the_nodes(filled: Replica, api: httpx.AsyncClient):
    signer = SigningKey(Ed25519PrivateKey.generate())
    await filled.database.rows(
        "INSERT INTO nodes (id, node_group, identity_public_key) VALUES ('n-1', 'hsm', :key),"
        " ('n-2', 'hsm', NULL)",
        {"key": signer.public_key},
    )
    heads = AuditHeads(filled.database)
    for sequence in (1, 2):
        said = AuditHead(node="n-1", sequence=sequence, hash=bytes([sequence]) * 32)
        signed = signer.sign(AUDIT_HEAD_TYPE, said.model_dump_json().encode())
        await heads.keep("n-1", signer.public_key, signed, is_current=True)
    own, node = (await api.get("/v1/audit/heads")).json()["items"]
    assert (own["node"], own["sequence"], own["group"]) == ("control-plane", 4, None)
    assert (node["node"], node["sequence"], node["alarm"]) == ("n-1", 2, None)
    key = PinnedKeys([hex_to_bytes(node["identity_key"])])
    opened = key.open(AUDIT_HEAD_TYPE, SignedBytes.model_validate(node["head"]))
    assert AuditHead.model_validate_json(opened) == said


async def test_only_a_node_has_restores(api: httpx.AsyncClient):
    assert_problem(await api.get("/v1/audit", params={"restore": 1}), 422, "invalid_request")


@pytest.mark.parametrize("cursor", ["nonsense", "LTE", "MA", "OTk5OTk5OTk5OTk5OTk5OTk5OTk", "é"])
async def test_a_cursor_of_something_else_is_refused(api: httpx.AsyncClient, cursor: str):
    answer = await api.get("/v1/audit", params={"cursor": cursor})
    assert_problem(answer, 422, "invalid_request")
