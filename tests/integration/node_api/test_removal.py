"""The removal of a node that sends all the time: the removal wins, and the node is refused."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from custody.control_plane.access import nodes as registry
from custody.control_plane.access.nodes import remove_node
from custody.control_plane.audit.heads import AuditHeads
from custody.control_plane.database import Database
from custody.runtime.errors import OperatorError
from custody.wire.node_api import BanAnswerRequest, BanQuestionRequest, RestoreClaim
from tests.integration.node_api.audit_pages import Chain
from tests.integration.node_api.conftest import Nodes
from tests.integration.node_api.test_admission import problem
from tests.integration.node_api.test_ban_questions import answer, ask, question
from tests.waiting import until

_HOLD = """
    CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql
        AS 'BEGIN PERFORM pg_sleep(1.5); RETURN NULL; END'
"""
_HOLD_REMOVALS = """
    CREATE TRIGGER hold BEFORE DELETE ON audit_restores
        FOR EACH STATEMENT EXECUTE FUNCTION hold()
"""
_REFUSE_OVER_TEN = """
    CREATE FUNCTION refuse_over_ten() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF (SELECT count(*) FROM deleted) > 10 THEN RAISE 'too many rows in one statement'; END IF;
        RETURN NULL; END $$
"""
_LIMIT_DELETIONS = """
    CREATE TRIGGER limit_deletions AFTER DELETE ON {table} REFERENCING OLD TABLE AS deleted
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_over_ten()
"""
Begin = Callable[[str], Awaitable[asyncio.Task[dict[str, str | None]]]]
TABLES = ("nodes", "node_audit_records", "audit_heads", "audit_restores", "ban_questions")


async def remove(database: Database, node: str) -> dict[str, str | None]:
    async with database.transaction() as connection:
        return await remove_node(connection, node, with_audit_heads=True)


async def rows_of(database: Database, node: str) -> list[str]:
    """Return the tables with a row of this node."""
    columns = {"nodes": "id", "ban_questions": "signer"}
    return [
        table
        for table in TABLES
        if await database.rows(
            f"SELECT FROM {table} WHERE {columns.get(table, 'node_id')} = :node", {"node": node}
        )
    ]


@pytest.fixture
async def begin(database: Database) -> Begin:
    """Begins a removal that stops for a moment between its deletions, and commits later."""
    await database.rows(_HOLD)
    await database.rows(_HOLD_REMOVALS)

    async def is_held() -> bool:
        rows = await database.rows(
            "SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
            " AND datname = current_database()"
        )
        return bool(rows)

    async def begin(node: str) -> asyncio.Task[dict[str, str | None]]:
        removal = asyncio.create_task(remove(database, node))

        async def is_held_or_failed() -> bool:
            return removal.done() or await is_held()

        await until(is_held_or_failed)
        return removal

    return begin


async def test_a_removal_deletes_records_and_heads_in_batches(
    nodes: Nodes, database: Database, monkeypatch: pytest.MonkeyPatch
):
    """A node may store more than one statement can delete in its time."""
    monkeypatch.setattr(registry, "BATCH", 10)
    await database.rows(_REFUSE_OVER_TEN)
    for table in ("node_audit_records", "audit_heads"):
        await database.rows(_LIMIT_DELETIONS.format(table=table))
    other = Chain(await nodes.add("driver-2"))
    other.grow(1)
    await other.node.heartbeat()
    await other.send(0, 1)
    chain = Chain(await nodes.add("driver-1"))
    chain.grow(25)
    await chain.node.heartbeat()
    for number in range(25):
        await chain.send(number, number + 1)
    with pytest.raises(OperatorError, match="at least 10 audit heads of node driver-1"):
        async with database.transaction() as connection:
            await remove_node(connection, "driver-1", with_audit_heads=False)
    removed = await remove(database, "driver-1")
    assert (removed["heads"], removed["records"], removed["last_sequence"]) == ("25", "25", "25")
    assert await rows_of(database, "driver-1") == []
    assert await rows_of(database, "driver-2") == ["nodes", "node_audit_records", "audit_heads"]


async def test_a_page_in_the_middle_of_the_removal_waits_and_is_refused(
    nodes: Nodes, database: Database, begin: Begin
):
    chain = Chain(await nodes.add("driver-1"))
    chain.grow(10)
    await chain.node.heartbeat()
    await chain.send(0, 5)
    removal = await begin("driver-1")
    page = asyncio.create_task(chain.post(5, 10))
    assert (await removal)["records"] == "5"
    problem(await page, 403, "node_not_registered")
    assert await rows_of(database, "driver-1") == []


async def test_a_head_in_the_middle_of_the_removal_waits_and_is_not_kept(
    nodes: Nodes, database: Database, begin: Begin
):
    node = await nodes.add("driver-1")
    await node.heartbeat(audit_head=node.head(1))
    removal = await begin("driver-1")
    await AuditHeads(database).keep("driver-1", node.signer.public_key, node.head(2), False)
    assert removal.done(), "the head waited for the removal"
    assert (await removal)["heads"] == "1"
    assert await rows_of(database, "driver-1") == []


async def test_other_statements_in_the_middle_of_the_removal_are_refused(
    nodes: Nodes, database: Database, begin: Begin
):
    node = await nodes.add("signer-1", "mpc")
    await node.heartbeat()
    removal = await begin("signer-1")
    claim, asked = RestoreClaim(restored=node.head(1)), BanQuestionRequest(question=question(node))
    answers = await asyncio.gather(
        node.post("audit-restored", claim), node.post("ban-question", asked)
    )
    for refused in answers:
        problem(refused, 403, "node_not_registered")
    await removal
    assert await rows_of(database, "signer-1") == []


async def test_an_answer_in_the_middle_of_the_removal_of_its_asker_is_not_wanted(
    nodes: Nodes, database: Database
):
    node, other = [await nodes.add(f"signer-{number}", "mpc") for number in (1, 2)]
    for each in (node, other):
        await each.heartbeat()
    await ask(node, question(node))
    async with database.transaction() as connection:
        await remove_node(connection, "signer-1", with_audit_heads=True)
        sent = asyncio.create_task(other.post("ban-answer", BanAnswerRequest(answer=answer(other))))
        await asyncio.sleep(0.5)
        assert not sent.done(), "the answer waits for the removal"
    response = await sent
    assert (response.status_code, response.json()["is_wanted"]) == (200, False)
