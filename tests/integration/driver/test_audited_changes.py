"""Changes with audit records that no job asked for, beside a node that uses the same chain."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from asyncpg.exceptions import UniqueViolationError

from custody.database.pool import Pool
from custody.node import audited_changes
from custody.node.audit import INSERT_LINKS, AuditRecord, link, read_head
from custody.node.audit_records import read_kept
from custody.node.audited_changes import AuditedChanges, record_without_job
from custody.node.chain_verification import Subject, verify_chain
from custody.runtime.errors import OperatorError
from custody.wire.audit import AuditHead
from custody.wire.node_api import AuditHeads
from hsm_driver.audited_keys import CHECK
from tests.integration.driver.commits import commit
from tests.integration.driver.conftest import NodeParts
from tests.waiting import until

ADD = "INSERT INTO notes VALUES (:text) RETURNING text"


@pytest.fixture
async def notes(pool: Pool) -> None:
    await pool.rows("CREATE TABLE notes (text varchar PRIMARY KEY)")


@pytest.fixture
def changes(pool: Pool, node: NodeParts, notes: None) -> AuditedChanges:
    return AuditedChanges(pool, node.name)


async def add(changes: AuditedChanges, text: str) -> None:
    await changes.commit(ADD, {"text": text}, record_without_job("Note", {"text": text}))


async def noted(pool: Pool) -> list[str]:
    return [row.text for row in await pool.rows("SELECT text FROM notes ORDER BY text")]


async def recorded(pool: Pool) -> list[str]:
    """Return the texts of the chain's records, in the chain's order."""
    rows = await pool.rows("SELECT record FROM audit ORDER BY sequence")
    return [json.loads(row.record)["text"] for row in rows]


@asynccontextmanager
async def uncommitted_record(pool: Pool, node: NodeParts) -> AsyncIterator[None]:
    """Append a record as the running node does, and commit the record at the end of the block."""
    async with pool.transaction() as connection:
        links = link(await read_head(connection, node.name), [record_without_job("Sign", {})])
        await connection.rows(INSERT_LINKS, links.parameters)
        yield


async def waits_for_a_lock(pool: Pool) -> None:
    sql = """
        SELECT pid FROM pg_stat_activity
        WHERE wait_event_type = 'Lock' AND datname = current_database()
    """
    async with pool.connection_apart() as connection:
        await until(lambda: connection.rows(sql))


async def test_a_change_waits_for_the_nodes_record_and_then_follows_it(
    pool: Pool, node: NodeParts, changes: AuditedChanges
):
    async with uncommitted_record(pool, node):
        change = asyncio.create_task(add(changes, "one"))
        await waits_for_a_lock(pool)
    await change
    assert await noted(pool) == ["one"]
    rows = await pool.rows("SELECT record FROM audit ORDER BY sequence")
    assert [json.loads(row.record)["kind"] for row in rows] == ["Sign", "Note"]


async def test_a_record_that_follows_a_head_is_made_again_after_the_head_moved(
    pool: Pool, node: NodeParts, changes: AuditedChanges
):
    heads: list[int] = []

    def record_after(head: AuditHead) -> AuditRecord:
        heads.append(head.sequence)
        return record_without_job("Note", {"text": str(head.sequence)})

    async with uncommitted_record(pool, node):
        change = asyncio.create_task(changes.append(record_after))
        await waits_for_a_lock(pool)
    await change
    assert heads == [0, 1]


async def test_changes_beside_a_busy_node_make_one_whole_chain(
    pool: Pool, node: NodeParts, changes: AuditedChanges
):
    async def work() -> None:
        while True:
            await node.journal.commit(commit())

    busy = asyncio.create_task(work())
    texts = [f"{number:02}" for number in range(20)]
    for begin in range(0, len(texts), 4):
        await asyncio.gather(*(add(changes, text) for text in texts[begin : begin + 4]))
    busy.cancel()
    await asyncio.gather(busy, return_exceptions=True)
    assert await noted(pool) == texts
    node.chain.forget_head()
    heads = AuditHeads(group="hsm", heads=[await node.chain.signed_head()])
    found = await verify_chain(
        pool,
        Subject(node.name, node.signer),
        read_kept(heads, node.signer, node.name),
        CHECK,
        lambda *_: None,
    )
    assert found.findings == []
    rows = await pool.rows("SELECT record FROM audit")
    said = [json.loads(row.record) for row in rows]
    assert sorted(each["text"] for each in said if each["kind"] == "Note") == texts


async def test_a_statement_without_a_row_is_not_recorded(pool: Pool, changes: AuditedChanges):
    sql = "DELETE FROM notes WHERE text = :text RETURNING text"
    record = record_without_job("Note", {"text": "one"})
    assert await changes.commit(sql, {"text": "one"}, record) == []
    assert await recorded(pool) == []
    await add(changes, "one")
    [row] = await changes.commit(sql, {"text": "one"}, record)
    assert row.text == "one"
    assert await recorded(pool) == ["one", "one"]
    assert await noted(pool) == []


async def test_an_error_of_the_statement_itself_is_not_taken_for_a_moved_head(
    pool: Pool, changes: AuditedChanges
):
    await add(changes, "one")
    with pytest.raises(UniqueViolationError):
        await add(changes, "one")
    assert await recorded(pool) == ["one"]


async def test_a_head_that_moves_at_each_try_is_an_error_and_changes_nothing(
    pool: Pool, node: NodeParts, changes: AuditedChanges, monkeypatch
):
    await node.journal.commit(commit())
    outdated = AuditHead(node=node.name, sequence=0, hash=bytes(32))

    async def read_outdated(*_: object) -> AuditHead:
        return outdated

    monkeypatch.setattr(audited_changes, "read_head", read_outdated)
    with pytest.raises(OperatorError, match="keeps adding records"):
        await add(changes, "one")
    assert await noted(pool) == []
