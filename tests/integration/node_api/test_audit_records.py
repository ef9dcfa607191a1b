"""The audit records of nodes: what the control plane keeps, and what it refuses."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from custody.control_plane.audit.reading import AuditReader
from custody.control_plane.database import Database
from custody.control_plane.problems import ProblemError
from custody.control_plane.resources.pages import PageRequest
from custody.node.audit import sign_head
from custody.wire.audit import BEGIN, GENESIS, AuditHead, Checkpoint, chain_hash
from custody.wire.resources import AuditRecord
from custody.wire.signed_bytes import AUDIT_CHECKPOINT_TYPE, SignedBytes, SigningKey
from tests.integration.node_api.audit_pages import Chain
from tests.integration.node_api.conftest import Nodes
from tests.integration.node_api.nodes import Node
from tests.integration.node_api.test_admission import problem
from tests.integration.node_api.test_heartbeats import alarm
from tests.integration.node_api.workload import Workload
from tests.waiting import until


@pytest.fixture
async def chain(node: Node) -> Chain:
    """Twelve records of a node that has sent a heartbeat."""
    await node.heartbeat()
    chain = Chain(node)
    chain.grow(5)
    chain.grow(1, "KeysReadopted", operator="bo", reason="a new token")
    chain.grow(6)
    return chain


async def read(database: Database, node: str = "driver-1", **filters: Any) -> list[AuditRecord]:
    return (await AuditReader(database).records(PageRequest(200, None), node, **filters)).items


async def test_records_are_kept_in_order_and_read_newest_first(chain: Chain, database: Database):
    assert await chain.send(0, 0, head=None) == 0
    assert await chain.send(0, 5) == 5
    assert await chain.send(5, 12) == 12
    assert await chain.send(0, 0, head=None) == 12
    shown = await read(database)
    assert [each.sequence for each in shown] == list(range(12, 0, -1))
    assert [each.record for each in reversed(shown)] == chain.records
    assert [each.sequence for each in shown if each.head is not None] == [12, 5]
    assert shown[-1].previous_hash == GENESIS
    for each in shown:
        assert each.previous_hash is not None
        assert chain_hash(each.previous_hash, each.record) == each.hash


async def test_records_are_read_by_kind_and_by_operator(chain: Chain, database: Database):
    await chain.send(0, 12)
    for filters in ({"kind": "KeysReadopted"}, {"operator": "bo"}):
        [found] = await read(database, **filters)
        assert (found.sequence, found.operator, found.node) == (6, "bo", "driver-1")
        assert found.details["reason"] == "a new token"
    assert len(await read(database, kind="Sign")) == 11
    assert await read(database, operator="eve") == []
    chain.grow(1, "KeysReadopted", operator="bo as hsm-driver")
    chain.grow(1, "KeysReadopted", operator="bob")
    await chain.send(12, 14)
    assert [each.sequence for each in await read(database, operator="bo")] == [13, 6]
    assert [each.sequence for each in await read(database, operator="bo as hsm-driver")] == [13]


async def test_the_heads_say_which_records_there_are(chain: Chain, database: Database):
    async def shown() -> tuple[int | None, int | None]:
        [head] = (await AuditReader(database).heads()).items
        return head.records_from, head.records_to

    await chain.node.heartbeat(audit_head=chain.page(0, 1).head)
    assert await shown() == (None, None)
    await chain.send(0, 12)
    assert await shown() == (1, 12)


async def test_an_unknown_node_is_not_found_and_a_silent_one_has_no_records(
    node: Node, database: Database
):
    assert await read(database, node.id) == []
    with pytest.raises(ProblemError, match="not_found"):
        await read(database, "driver-9")


async def test_a_page_that_comes_twice_changes_nothing(
    chain: Chain, database: Database, workload: Workload
):
    await chain.send(0, 8)
    before = await database.rows("SELECT * FROM node_audit_records ORDER BY sequence")
    for after, end in ((0, 8), (0, 5), (3, 8)):
        assert await chain.send(after, end) == 8
    assert await database.rows("SELECT * FROM node_audit_records ORDER BY sequence") == before
    assert await alarm(chain.node, workload) is None


async def test_a_page_after_a_gap_is_not_kept(chain: Chain, database: Database, workload: Workload):
    await chain.send(0, 5)
    assert await chain.send(7, 12) == 5
    assert len(await read(database)) == 5
    assert await alarm(chain.node, workload) is None


async def test_an_overlapping_page_is_not_kept_but_compared(chain: Chain, workload: Workload):
    await chain.send(0, 5)
    assert await chain.send(3, 12) == 5
    assert await alarm(chain.node, workload) is None


async def test_a_changed_record_does_not_lead_to_the_signed_head(
    chain: Chain, database: Database, workload: Workload
):
    changed = list(chain.records[:5])
    changed[2] = changed[2].replace(b"DONE", b"FAIL")
    problem(await chain.post(0, 5, records=tuple(changed)), 422, "invalid_request")
    problem(await chain.post(0, 5, head=None), 422, "invalid_request")
    problem(await chain.post(0, 5, records=tuple(changed[:4])), 422, "invalid_request")
    assert await read(database) == []
    assert await alarm(chain.node, workload) is None


@pytest.mark.parametrize(
    "record", [b"", b"[]", b"null", b'{"node":"driver-1"}', b"[" * 100_000, b"\xff"]
)
async def test_what_is_not_an_audit_record_is_refused(chain: Chain, record: bytes):
    problem(await chain.post(0, 1, records=(record,)), 422, "invalid_request")


async def test_a_record_that_a_parser_may_not_survive_is_refused(chain: Chain):
    """Deep levels end a process whose recursion limit a library has raised."""
    deep = "[" * 40 + "]" * 40
    record = f'{{"node":"driver-1","sequence":1,"kind":"Sign","x":{deep}}}'.encode()
    head = AuditHead(node="driver-1", sequence=1, hash=chain_hash(GENESIS, record))
    page = {"records": (record,), "head": sign_head(head, chain.node.signer)}
    problem(await chain.post(0, 1, **page), 422, "invalid_request")


async def test_records_of_another_number_or_node_are_refused(chain: Chain):
    head = AuditHead(node="driver-1", sequence=1, hash=chain_hash(GENESIS, chain.records[1]))
    signed = sign_head(head, chain.node.signer)
    wrong = chain.page(0, 1, records=(chain.records[1],), head=signed)
    problem(await chain.node.post("audit-records", wrong), 422, "invalid_request")


async def test_a_page_that_another_node_signed_raises_the_alarm(
    chain: Chain, nodes: Nodes, database: Database, workload: Workload
):
    other = await nodes.add("driver-2")
    await other.heartbeat()
    head = AuditHead(node="driver-1", sequence=5, hash=chain.places[5].hash)
    forged = sign_head(head, other.signer)
    problem(await chain.post(0, 5, head=forged), 422, "invalid_request")
    assert "not signed by the node's identity key" in str(await alarm(chain.node, workload))
    assert await read(database) == []


async def test_a_node_that_sends_the_records_of_another_node_raises_its_own_alarm(
    chain: Chain, nodes: Nodes, database: Database, workload: Workload
):
    other = await nodes.add("driver-2")
    await other.heartbeat()
    problem(await other.post("audit-records", chain.page(0, 5)), 422, "invalid_request")
    assert await read(database, "driver-2") == []
    assert await alarm(chain.node, workload) is None


async def fork(chain: Chain, at: int) -> Chain:
    """The chain of a restored database: other records after a number."""
    other = Chain(chain.node, chain.places[: at + 1], chain.records[:at])
    other.grow(12 - at, "Approve")
    return other


async def test_a_page_that_contradicts_a_kept_record_raises_the_alarm(
    chain: Chain, database: Database, workload: Workload
):
    await chain.send(0, 5)
    before = await read(database)
    other = await fork(chain, 3)
    problem(await other.post(3, 5), 422, "invalid_request")
    assert "record 4 was changed" in str(await alarm(chain.node, workload))
    problem(await other.post(5, 9), 422, "invalid_request")
    assert await read(database) == before


async def test_of_two_contradicting_pages_at_once_one_is_kept(
    chain: Chain, database: Database, workload: Workload
):
    """Both arrive before either is kept, as from a node and its clone."""
    other = await fork(chain, 0)
    async with database.transaction() as connection:
        await connection.rows("SELECT FROM nodes FOR UPDATE")
        posts = [asyncio.create_task(each.post(0, 5)) for each in (chain, other)]

        async def both_wait() -> bool:
            await connection.rows("SELECT pg_stat_clear_snapshot()")
            rows = await connection.rows(
                "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                " AND datname = current_database()"
            )
            return len(rows) == 2

        await until(both_wait)
    answers = sorted([(await post).status_code for post in posts])
    assert answers == [200, 422]
    assert len(await read(database)) == 5
    assert "was changed" in str(await alarm(chain.node, workload))


async def test_a_page_that_contradicts_a_kept_head_raises_the_alarm(
    chain: Chain, database: Database, workload: Workload
):
    await chain.node.heartbeat(audit_head=chain.page(0, 7).head)
    other = await fork(chain, 3)
    problem(await other.post(0, 12), 422, "invalid_request")
    assert "record 7 was changed" in str(await alarm(chain.node, workload))
    assert await read(database) == []


def checkpoint(chain: Chain, at: int, signer: SigningKey | None = None) -> SignedBytes:
    place = chain.places[at]
    said = Checkpoint(
        node=chain.node.id, sequence=at, hash=place.hash, at=datetime.now(UTC), kept=0,
        kept_digest=GENESIS,
    )  # fmt: skip
    signer = signer or chain.node.signer
    return signer.sign(AUDIT_CHECKPOINT_TYPE, said.model_dump_json().encode())


async def test_a_pruned_chain_begins_at_its_signed_checkpoint(chain: Chain, database: Database):
    assert await chain.send(4, 8) == 0
    assert await chain.send(4, 8, checkpoint=checkpoint(chain, 4)) == 8
    first = (await read(database))[-1]
    assert (first.sequence, first.previous_hash) == (5, chain.places[4].hash)
    assert await chain.send(10, 12, checkpoint=checkpoint(chain, 10)) == 12
    assert [each.sequence for each in await read(database)] == [12, 11, 8, 7, 6, 5]


async def test_a_checkpoint_of_another_place_or_key_is_refused(
    chain: Chain, nodes: Nodes, database: Database, workload: Workload
):
    answer = await chain.post(4, 8, checkpoint=checkpoint(chain, 5))
    problem(answer, 422, "invalid_request")
    other = await nodes.add("driver-2")
    answer = await chain.post(4, 8, checkpoint=checkpoint(chain, 4, other.signer))
    problem(answer, 422, "invalid_request")
    assert "checkpoint is not signed" in str(await alarm(chain.node, workload))
    assert await read(database) == []


async def test_records_before_the_first_heartbeat_are_to_be_sent_again(node: Node):
    chain = Chain(node)
    chain.grow(1)
    problem(await chain.post(0, 1), 503, "unavailable")


async def test_a_place_before_the_first_record_has_no_other_hash(chain: Chain):
    wrong = BEGIN.model_copy(update={"hash": bytes([1]) * 32})
    hash_ = chain_hash(wrong.hash, chain.records[0])
    head = AuditHead(node=chain.node.id, sequence=1, hash=hash_)
    page = chain.page(0, 1, after=wrong, head=sign_head(head, chain.node.signer))
    answer = await chain.node.post("audit-records", page)
    assert "32 zero bytes" in problem(answer, 422, "invalid_request")
