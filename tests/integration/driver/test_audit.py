"""The audit chain: what tampering `audit verify` finds."""

import json

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from daemon.statements import Statements
from hsm_driver.tables import audit, journal
from node.audit import open_heads
from node.chain_verification import Verification, verify_chain
from tests.integration.driver.commits import commit
from tests.integration.driver.conftest import NodeParts, node_parts
from wire.audit import GENESIS, AuditHead, chain_hash
from wire.envelope import BadEnvelope, SignedBytes

RECORDS = 5


@pytest.fixture
async def heads(node: NodeParts) -> list[SignedBytes]:
    """The signed heads after each of RECORDS commits, as the control plane keeps them."""
    heads = []
    for _ in range(RECORDS):
        await node.journal.commit(commit())
        heads.append(await node.chain.signed_head())
    return heads


async def verify(statements: Statements, node: NodeParts, heads: list[SignedBytes]) -> Verification:
    opened = open_heads(heads, node.signer, node.name)
    return await verify_chain(statements, node.name, opened, lambda _: None)


async def test_an_untouched_chain_agrees_with_every_head(
    statements: Statements, node: NodeParts, heads: list[SignedBytes]
) -> None:
    found = await verify(statements, node, heads)
    assert (found.records, found.compared, found.findings) == (RECORDS, RECORDS, [])


async def test_a_changed_record_is_found(
    statements: Statements, engine: AsyncEngine, node: NodeParts, heads: list[SignedBytes]
) -> None:
    async with engine.begin() as connection:
        record = (
            await connection.execute(select(audit.c.record).where(audit.c.sequence == 3))
        ).scalar_one()
        forged = json.dumps(json.loads(record) | {"status": "DENIED"}).encode()
        await connection.execute(update(audit).where(audit.c.sequence == 3).values(record=forged))
    found = await verify(statements, node, heads)
    assert [finding.sequence for finding in found.findings] == [3]


async def test_a_deleted_record_is_found(
    statements: Statements, engine: AsyncEngine, node: NodeParts, heads: list[SignedBytes]
) -> None:
    async with engine.begin() as connection:
        await connection.execute(delete(audit).where(audit.c.sequence == 2))
    found = await verify(statements, node, heads)
    assert any("missing" in finding.what for finding in found.findings)


async def test_deleted_last_records_are_found_by_the_kept_head(
    statements: Statements, engine: AsyncEngine, node: NodeParts, heads: list[SignedBytes]
) -> None:
    async with engine.begin() as connection:
        rows = await connection.execute(
            delete(audit).where(audit.c.sequence >= RECORDS - 1).returning(audit.c.record)
        )
        for row in rows:
            job_id = json.loads(row.record)["job_id"]
            await connection.execute(delete(journal).where(journal.c.job_id == job_id))
    assert (await verify(statements, node, [])).findings == []
    found = await verify(statements, node, heads)
    assert [finding.sequence for finding in found.findings] == [RECORDS]


async def test_a_recomputed_chain_is_found_by_the_kept_heads(
    statements: Statements, engine: AsyncEngine, node: NodeParts, heads: list[SignedBytes]
) -> None:
    async with engine.begin() as connection:
        rows = (await connection.execute(select(audit).order_by(audit.c.sequence))).all()
        previous = GENESIS
        for row in rows:
            record = row.record
            if row.sequence == 2:
                record = json.dumps(json.loads(record) | {"details": "forged"}).encode()
            previous = chain_hash(previous, record)
            await connection.execute(
                update(audit)
                .where(audit.c.sequence == row.sequence)
                .values(record=record, hash=previous)
            )
    assert (await verify(statements, node, [])).findings == []
    found = await verify(statements, node, heads)
    assert [finding.sequence for finding in found.findings] == [2, 3, 4, 5]


async def test_a_changed_outcome_in_the_journal_is_found(
    statements: Statements, engine: AsyncEngine, node: NodeParts, heads: list[SignedBytes]
) -> None:
    async with engine.begin() as connection:
        job_id = (await connection.execute(select(journal.c.job_id).limit(1))).scalar_one()
        await connection.execute(
            update(journal).where(journal.c.job_id == job_id).values(outcome=b"{}")
        )
    found = await verify(statements, node, heads)
    assert [str(job_id) in finding.what for finding in found.findings] == [True]


async def test_a_kept_head_that_another_key_signed_is_not_believed(
    statements: Statements, node: NodeParts
) -> None:
    forger = node_parts(statements, node.name)
    with pytest.raises(BadEnvelope):
        open_heads([await forger.chain.signed_head()], node.signer, node.name)


async def test_after_a_restart_the_chain_goes_on_where_it_was(
    statements: Statements, node: NodeParts, heads: list[SignedBytes]
) -> None:
    again = node_parts(statements, node.name, node.signer)
    assert (await again.chain.head()).sequence == RECORDS
    await again.journal.commit(commit())
    found = await verify(statements, node, [*heads, await again.chain.signed_head()])
    assert (found.records, found.findings) == (RECORDS + 1, [])


async def test_the_empty_chain_has_the_genesis_head(node: NodeParts) -> None:
    assert await node.chain.head() == AuditHead(node=node.name, sequence=0, hash=GENESIS)
