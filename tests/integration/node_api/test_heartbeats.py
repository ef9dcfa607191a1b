"""Heartbeats, the identity key that a node is held to, and the heads of its audit chain."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from custody.control_plane.audit.heads import KEPT_WHOLE_DAYS
from custody.control_plane.audit.heads import AuditHeads as KeptHeads
from custody.control_plane.database import Database
from custody.wire.audit import AuditHead, Restored
from custody.wire.node_api import (
    AuditHeads,
    HeartbeatResponse,
    NodeHealth,
    RestoreClaim,
    RestoreClaimed,
)
from custody.wire.signed_bytes import AUDIT_HEAD_TYPE, RESTORED_TYPE, SigningKey
from tests.integration.node_api.nodes import Node
from tests.integration.node_api.test_admission import problem
from tests.integration.node_api.workload import Workload


async def age_heads(engine: AsyncEngine, seconds: float) -> None:
    """As if every head had been received so much earlier."""
    async with engine.begin() as connection:
        await connection.execute(
            text("UPDATE audit_heads SET received_at = received_at - make_interval(secs => :s)"),
            {"s": seconds},
        )


async def alarm(node: Node, workload: Workload) -> str | None:
    """The node's audit alarm, once its health is seen to show it, also after a heartbeat."""
    await node.kept_heads()  # a report's head is kept a moment later, or when they are asked for
    await node.heartbeat()
    row = await workload.node_row(node.id)
    if row.audit_alarm is None:
        assert row.health["status"] == "ok"
        return None
    assert row.health == {"status": "failing", "detail": row.audit_alarm}
    return str(row.audit_alarm)


async def test_a_heartbeat_says_how_the_node_does(node: Node, workload: Workload):
    warnings = ("no confirmed backup of master key custody/1",)
    health = NodeHealth(status="degraded", detail="the clock is off", warnings=warnings)
    answer = await node.heartbeat(health=health, capabilities={"EdDSA/ed25519": "host"})
    told = HeartbeatResponse.model_validate_json(answer.content)
    assert (told.node, told.group) == ("driver-1", "hsm")
    assert abs(told.time - datetime.now(UTC)) < timedelta(seconds=5)
    row = await workload.node_row("driver-1")
    assert row.health == health.model_dump(mode="json")
    assert row.capabilities == {"EdDSA/ed25519": "host"}
    assert (row.version, row.identity_public_key) == ("1.0", node.signer.public_key)
    assert abs(row.last_seen - datetime.now(UTC)) < timedelta(seconds=5)


async def test_the_first_identity_key_is_the_one_that_counts(node: Node, workload: Workload):
    assert (await node.heartbeat()).status_code == 200
    other = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    detail = problem(await node.heartbeat(identity_public_key=other), 409, "identity_changed")
    assert "control-plane node remove driver-1" in detail
    assert (await workload.node_row("driver-1")).identity_public_key == node.signer.public_key


@pytest.mark.parametrize("key", [b"short", bytes(32), b"\x02" + bytes(31)])
async def test_what_is_no_public_key_is_no_identity(node: Node, workload: Workload, key: bytes):
    problem(await node.heartbeat(identity_public_key=key), 422, "invalid_request")
    assert (await workload.node_row("driver-1")).identity_public_key is None


async def test_heads_are_kept_and_given_back_to_their_node(node: Node, workload: Workload):
    heads = [node.head(sequence) for sequence in (1, 2, 7)]
    await node.heartbeat(audit_head=heads[0])
    await node.report(audit_head=heads[1])
    await node.heartbeat(audit_head=heads[2])
    await node.heartbeat(audit_head=heads[2])
    assert await node.kept_heads() == heads
    assert await alarm(node, workload) is None


async def test_a_head_with_a_number_that_no_chain_reaches_raises_the_alarm(
    node: Node, workload: Workload
):
    """It must neither be a fault of ours nor keep other nodes' heads from being kept."""
    await node.heartbeat()
    beyond = AuditHead.model_construct(node=node.id, sequence=2**63, hash=bytes(32))
    signed = node.signer.sign(AUDIT_HEAD_TYPE, beyond.model_dump_json().encode())
    answer = await node.heartbeat(audit_head=signed)
    assert answer.status_code == 200
    assert "is not an audit head" in str(await alarm(node, workload))


async def test_a_report_before_the_first_heartbeat_leaves_its_head_out(
    node: Node, workload: Workload
):
    """Whose signature it bears is not known yet."""
    await node.report(audit_head=node.head(1))
    assert await node.kept_heads() == []
    assert await alarm(node, workload) is None


@pytest.mark.parametrize("by", ["heartbeat", "report"])
async def test_a_rewritten_record_raises_the_alarm(node: Node, workload: Workload, by: str):
    first = node.head(5, b"as it was")
    await node.heartbeat(audit_head=first)
    changed = node.head(5, b"as it should have been")
    await (node.heartbeat if by == "heartbeat" else node.report)(audit_head=changed)
    assert "record 5 was changed" in str(await alarm(node, workload))
    assert await node.kept_heads() == [first, changed]  # both are evidence


async def test_a_chain_that_got_shorter_raises_the_alarm(
    node: Node, workload: Workload, engine: AsyncEngine
):
    await node.heartbeat(audit_head=node.head(9))
    await age_heads(engine, 61)
    await node.heartbeat(audit_head=node.head(4))
    assert "record 9 had been reported" in str(await alarm(node, workload))


async def test_a_head_that_was_overtaken_on_its_way_does_not(
    node: Node, workload: Workload, engine: AsyncEngine
):
    await node.heartbeat(audit_head=node.head(9))
    await node.heartbeat(audit_head=node.head(8))
    await age_heads(engine, 3600)
    await node.report(audit_head=node.head(7))  # a report that had to be sent again
    assert await alarm(node, workload) is None
    assert len(await node.kept_heads()) == 3


async def test_a_head_signed_by_another_key_raises_the_alarm(node: Node, workload: Workload):
    await node.heartbeat()
    forged = SigningKey(Ed25519PrivateKey.generate())
    head = AuditHead(node=node.id, sequence=1, hash=bytes(32))
    signed = forged.sign(AUDIT_HEAD_TYPE, head.model_dump_json().encode())
    await node.report(audit_head=signed)
    assert "not signed by the node's identity key" in str(await alarm(node, workload))
    assert await node.kept_heads() == []


async def test_a_head_of_another_node_raises_the_alarm(node: Node, workload: Workload):
    head = AuditHead(node="driver-2", sequence=1, hash=bytes(32))
    signed = node.signer.sign(AUDIT_HEAD_TYPE, head.model_dump_json().encode())
    await node.heartbeat(audit_head=signed)
    assert "another node, driver-2" in str(await alarm(node, workload))


async def test_old_heads_are_thinned_to_the_last_of_each_hour(
    node: Node, engine: AsyncEngine, database: Database
):
    for sequence in (1, 2, 3):
        await node.heartbeat(audit_head=node.head(sequence))
    async with engine.begin() as connection:
        await connection.execute(
            text("UPDATE audit_heads SET received_at = date_trunc('hour', received_at)")
        )
    await age_heads(engine, KEPT_WHOLE_DAYS * 86400 + 60)
    await node.heartbeat(audit_head=node.head(4))
    assert await KeptHeads(database).thin() == 2
    assert await node.kept_heads() == [node.head(3), node.head(4)]


async def test_a_restore_is_stated_over_the_node_api_and_told_to_its_node(
    node: Node, workload: Workload
):
    heads = [node.head(sequence, b"%d" % sequence) for sequence in (2, 5)]
    for head in heads:
        await node.heartbeat(audit_head=head)
    restored = Restored(
        node=node.id,
        agreed=AuditHead.model_validate_json(heads[0].payload),
        kept=heads[1],
        own=heads[0],
        operator="bo",
        reason="backup of Monday",
        at=datetime.now(UTC),
    )
    signed = node.signer.sign(RESTORED_TYPE, restored.model_dump_json().encode())
    answer = await node.post("audit-restored", RestoreClaim(restored=signed))
    assert RestoreClaimed.model_validate_json(answer.content).is_acknowledged is False
    told = AuditHeads.model_validate_json((await node.http.get("audit-heads")).content)
    assert [each.restored for each in told.restores] == [signed]
    assert told.restores[0].acknowledged_at is None
    assert (told.heads, told.set_aside) == (heads, ())
    other = SigningKey(Ed25519PrivateKey.generate()).sign(RESTORED_TYPE, signed.payload)
    problem(
        await node.post(
            "audit-restored", RestoreClaim(restored=other.model_copy(update={"payload": b"{}"}))
        ),
        422,
        "invalid_request",
    )
