"""A node whose database was restored from a backup: stated, acknowledged, and a permanent gap."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncEngine

from custody.control_plane.audit.heads import AuditHeads as Heads
from custody.control_plane.audit.restores import AuditRestores, Restore, acknowledge, restores_of
from custody.control_plane.database import Database
from custody.control_plane.problems import ProblemError
from custody.control_plane.tables import nodes
from custody.database.pool import Pool
from custody.node.audit_records import read_kept
from custody.node.audit_restore import lost_heads, state_restore
from custody.node.chain_verification import Subject, Verification, verify_chain
from custody.runtime.errors import OperatorError
from custody.wire.audit import AuditHead, Restored
from custody.wire.node_api import AuditHeads
from custody.wire.signed_bytes import AUDIT_HEAD_TYPE, RESTORED_TYPE, SignedBytes, SigningKey
from hsm_driver.audited_keys import CHECK
from tests.engines import create_engine
from tests.integration.driver.commits import commit
from tests.integration.driver.conftest import NodeParts, node_parts

BACKUP, RECORDS = 2, 5


@dataclass
class Plane:
    """What the control plane keeps of one node, and an admin at it."""

    engine: AsyncEngine
    database: Database
    heads: Heads
    restores: AuditRestores
    node: NodeParts

    async def beat(self) -> str | None:
        """A heartbeat with the node's head; returns the alarm."""
        head = await self.node.chain.signed_head()
        await self.heads.keep(self.node.name, self.node.signer.public_key, head, is_current=True)
        return await self.alarm()

    async def alarm(self) -> str | None:
        async with self.engine.connect() as connection:
            found: str | None = await connection.scalar(text("SELECT audit_alarm FROM nodes"))
        return found

    async def age(self) -> None:
        async with self.engine.begin() as connection:
            await connection.execute(
                text("UPDATE audit_heads SET received_at = received_at - interval '1 hour'")
            )

    async def answer(self) -> AuditHeads:
        """As the node API gives it."""
        name = self.node.name
        return AuditHeads(
            group="hsm",
            heads=await self.heads.kept(name),
            set_aside=tuple(await self.heads.kept(name, is_set_aside=True)),
            restores=tuple(await self.restores.of(name)),
        )

    async def seen(self) -> Restore:
        async with self.database.transaction() as connection:
            return (await restores_of(connection, [self.node.name]))[-1]

    async def acknowledge(self, seen: Restore | None = None) -> None:
        seen = seen or await self.seen()
        async with self.database.transaction() as connection:
            await acknowledge(connection, seen, "ada", "asked Bo, who restored it")

    async def head_count(self) -> int:
        async with self.engine.connect() as connection:
            count: int = await connection.scalar(text("SELECT count(*) FROM audit_heads")) or 0
        return count


@pytest.fixture
async def plane(control_plane_database: str, node: NodeParts) -> AsyncIterator[Plane]:
    engine = create_engine(control_plane_database)
    async with Database(control_plane_database) as database, engine.begin() as connection:
        await connection.execute(
            insert(nodes).values(
                id=node.name, node_group="hsm", identity_public_key=node.signer.public_key
            )
        )
        await connection.commit()
        plane = Plane(engine, database, Heads(database), AuditRestores(database), node)
        for _ in range(RECORDS):
            await node.journal.commit(commit())
            assert await plane.beat() is None
        yield plane
    await engine.dispose()


async def restore_backup(pool: Pool, node: NodeParts) -> None:
    """The database as it was after BACKUP records."""
    rows = await pool.rows("DELETE FROM audit WHERE sequence > :n RETURNING record", {"n": BACKUP})
    ids = [row.record.decode().split('"job_id":"')[1][:36] for row in rows]
    await pool.rows("DELETE FROM journal WHERE job_id = ANY(:ids::uuid[])", {"ids": ids})
    node.chain.forget_head()


async def verify(pool: Pool, plane: Plane) -> Verification:
    node = plane.node
    kept = read_kept(await plane.answer(), node.signer, node.name)
    subject = Subject(node.name, node.signer)
    return await verify_chain(pool, subject, kept, CHECK, lambda *_: None)


async def state(pool: Pool, plane: Plane) -> SignedBytes:
    """`audit restored`, up to the control plane."""
    node = plane.node
    kept = read_kept(await plane.answer(), node.signer, node.name)
    signed, _ = await state_restore(
        pool, node.name, node.signer, kept, "bo", "disk failed, backup of Monday"
    )
    assert await plane.restores.claim(node.name, signed) is False
    node.chain.forget_head()  # as the running node does when it meets the new record
    return signed


async def work_on(plane: Plane, records: int) -> None:
    for _ in range(records):
        await plane.node.journal.commit(commit())
        await plane.beat()


@pytest.mark.parametrize("since", [0, 1, RECORDS], ids=["truncated", "forked", "overtaken"])
async def test_a_restore_is_stated_then_acknowledged_and_a_gap_for_ever(
    pool: Pool, plane: Plane, since: int
) -> None:
    await restore_backup(pool, plane.node)
    await plane.age()
    await work_on(plane, since)
    assert await plane.beat() is not None
    kept_before = await plane.head_count()

    await state(pool, plane)
    await plane.beat()
    assert await plane.alarm() is not None  # the node cannot acknowledge itself
    found = await verify(pool, plane)
    assert any("no admin has acknowledged" in each.what for each in found.findings)
    assert (await plane.seen()).claim.lost == f"records {BACKUP + 1} to {RECORDS}"

    await plane.acknowledge()
    assert await plane.alarm() is None
    await work_on(plane, RECORDS + 1)
    await plane.age()
    assert await plane.beat() is None
    assert await plane.head_count() >= kept_before  # no head is lost
    found = await verify(pool, plane)
    assert found.findings == []
    (gap,) = found.gaps
    assert (gap.agreed.sequence, gap.kept.sequence) == (BACKUP, RECORDS)
    assert gap.own.sequence == BACKUP + since
    assert gap.kept.hash != gap.own.hash
    assert (gap.operator, gap.acknowledged_by) == ("bo", "ada")
    assert gap.acknowledged_reason == "asked Bo, who restored it"


async def test_stating_it_again_sends_the_same_statement(pool: Pool, plane: Plane) -> None:
    await restore_backup(pool, plane.node)
    first = await state(pool, plane)
    assert await state(pool, plane) == first
    await plane.acknowledge()
    assert await plane.restores.claim(plane.node.name, first) is True
    kept = read_kept(await plane.answer(), plane.node.signer, plane.node.name)
    assert await lost_heads(pool, plane.node.name, plane.node.signer, kept) == []


async def test_a_chain_that_has_all_that_was_reported_states_no_restore(
    pool: Pool, plane: Plane
) -> None:
    with pytest.raises(OperatorError, match="agrees with all"):
        await state(pool, plane)


async def test_a_second_restore_may_take_the_record_of_the_first(pool: Pool, plane: Plane) -> None:
    for _ in range(2):
        await restore_backup(pool, plane.node)
        await plane.age()
        assert await plane.beat() is not None
        await state(pool, plane)
        await plane.acknowledge()
        await work_on(plane, 3)
        assert (await verify(pool, plane)).findings == []


async def test_records_after_an_acknowledged_restore_are_held_to_their_heads(
    pool: Pool, plane: Plane
) -> None:
    """The gap excuses the records that it has cost, and not what was written in their place."""
    await restore_backup(pool, plane.node)
    await state(pool, plane)
    await plane.acknowledge()
    await work_on(plane, 1)  # record 4, within the numbers of the gap
    await restore_backup(pool, plane.node)
    found = await verify(pool, plane)
    assert any("missing: this node signed" in each.what for each in found.findings)
    assert any("missing: the record of a restore" in each.what for each in found.findings)
    await plane.node.journal.commit(commit())
    await plane.node.journal.commit(commit())
    assert "was changed" in str(await plane.beat())


async def signed_restore(plane: Plane, kept: int, agreed: int, signer: SigningKey) -> SignedBytes:
    """What somebody who has the node's host could state, as he likes."""
    answer = await plane.answer()
    by_sequence = {
        AuditHead.model_validate_json(head.payload).sequence: head for head in answer.heads
    }
    genesis = AuditHead(node=plane.node.name, sequence=0, hash=bytes(32))
    restored = Restored(
        node=plane.node.name,
        agreed=AuditHead.model_validate_json(by_sequence[agreed].payload) if agreed else genesis,
        kept=by_sequence[kept],
        own=await plane.node.chain.signed_head(),
        operator="bo",
        reason="trust me",
        at=datetime.now(UTC),
    )
    return signer.sign(RESTORED_TYPE, restored.model_dump_json().encode())


async def test_a_statement_that_admits_less_than_was_lost_does_not_help(
    pool: Pool, plane: Plane
) -> None:
    await restore_backup(pool, plane.node)
    node = plane.node
    await plane.restores.claim(node.name, await signed_restore(plane, 3, BACKUP, node.signer))
    await plane.acknowledge()
    await plane.age()
    assert f"record {RECORDS} had been reported" in str(await plane.beat())
    found = await verify(pool, plane)
    assert any(each.sequence == RECORDS for each in found.findings)


async def test_what_the_node_has_not_signed_or_reported_is_no_statement(plane: Plane) -> None:
    node = plane.node
    forger = SigningKey(Ed25519PrivateKey.generate())
    with pytest.raises(ProblemError, match="not signed by the node's identity key"):
        await plane.restores.claim(node.name, await signed_restore(plane, RECORDS, BACKUP, forger))
    never = AuditHead(node=node.name, sequence=99, hash=bytes(32))
    restored = Restored(
        node=node.name,
        agreed=AuditHead(node=node.name, sequence=0, hash=bytes(32)),
        kept=node.signer.sign(AUDIT_HEAD_TYPE, never.model_dump_json().encode()),
        own=await node.chain.signed_head(),
        operator="bo",
        reason="trust me",
        at=datetime.now(UTC),
    )
    signed = node.signer.sign(RESTORED_TYPE, restored.model_dump_json().encode())
    with pytest.raises(ProblemError, match="no head 99"):
        await plane.restores.claim(node.name, signed)
    for rubbish in (b"", b"[]", b"\xff"):
        with pytest.raises(ProblemError, match="malformed"):
            await plane.restores.claim(node.name, node.signer.sign(RESTORED_TYPE, rubbish))
    assert await plane.restores.of(node.name) == []


async def test_an_admin_acknowledges_what_was_shown_and_nothing_else(
    pool: Pool, plane: Plane
) -> None:
    await restore_backup(pool, plane.node)
    await state(pool, plane)
    seen = await plane.seen()
    signer = plane.node.signer
    other = await signed_restore(plane, RECORDS, 1, signer)
    await plane.restores.claim(plane.node.name, other)
    with pytest.raises(OperatorError, match="has replaced the statement"):
        await plane.acknowledge(seen)
    await plane.acknowledge()
    with pytest.raises(OperatorError, match="has replaced the statement"):
        await plane.acknowledge()


async def test_an_alarm_that_no_restore_explains_is_not_lifted_by_one(
    pool: Pool, plane: Plane
) -> None:
    forged = await node_parts(pool, plane.node.name).chain.signed_head()
    identity = plane.node.signer.public_key
    await plane.heads.keep(plane.node.name, identity, forged, is_current=True)
    await restore_backup(pool, plane.node)
    await state(pool, plane)
    with pytest.raises(OperatorError, match="a restored database does not explain"):
        await plane.acknowledge()
    assert "not signed by the node's identity key" in str(await plane.alarm())


async def test_heads_that_a_control_plane_sets_aside_by_itself_are_found(
    pool: Pool, plane: Plane
) -> None:
    """A stolen control plane can hide nothing that the node's own chain does not admit to."""
    await restore_backup(pool, plane.node)
    async with plane.engine.begin() as connection:
        await connection.execute(
            text("UPDATE audit_heads SET set_aside_by = 1 WHERE sequence > :n"), {"n": BACKUP}
        )
    found = await verify(pool, plane)
    assert [each.sequence for each in found.findings] == [3, 4, 5]
    assert all("no acknowledged restore" in each.what for each in found.findings)


async def test_heads_of_a_chain_in_doubt_are_not_thinned(pool: Pool, plane: Plane) -> None:
    await restore_backup(pool, plane.node)
    await plane.age()
    await plane.beat()
    async with plane.engine.begin() as connection:
        await connection.execute(
            text("UPDATE audit_heads SET received_at = date_trunc('hour', now()) - interval '8 d'")
        )
    assert await plane.heads.thin() == 0
    await state(pool, plane)
    await plane.acknowledge()
    count = await plane.head_count()
    await plane.heads.thin()
    async with plane.engine.connect() as connection:
        aside = await connection.scalar(
            text("SELECT count(*) FROM audit_heads WHERE set_aside_by IS NOT NULL")
        )
    assert aside == RECORDS - BACKUP
    assert await plane.head_count() == count - 1  # of records 1 and 2, in one hour


async def test_a_process_that_runs_while_its_database_is_restored_continues_the_restored_chain(
    pool: Pool, plane: Plane
):
    """It has the head of the time before the restore in memory."""
    node = plane.node
    for key_row in (False, True):  # one statement, and a transaction
        await node.journal.commit(commit())
        lost = await node.chain.head()
        last = {"sequence": lost.sequence}
        await pool.rows("DELETE FROM audit WHERE sequence = :sequence", last)
        await node.journal.commit(commit(key_row=key_row))
        head = await node.chain.head()
        assert head.sequence == lost.sequence
        assert head.hash != lost.hash
        rows = await pool.rows("SELECT sequence FROM audit ORDER BY sequence")
        assert [row.sequence for row in rows] == list(range(1, head.sequence + 1))
