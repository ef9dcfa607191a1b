"""The space and the time that the control plane gives to the audit records of nodes."""

import httpx
import pytest
from prometheus_client import CollectorRegistry

from custody.control_plane.audit import space
from custody.control_plane.audit.node_records import NodeRecords
from custody.control_plane.database import Database
from custody.control_plane.metrics import Metrics
from custody.control_plane.problems import ProblemError
from custody.control_plane.retention import node_audit
from custody.control_plane.retention.node_audit import NodeAuditPruning
from custody.control_plane.retention.pruning import Pruning, PruningMetrics
from tests.integration.node_api.audit_pages import Chain
from tests.integration.node_api.nodes import Node
from tests.integration.node_api.test_admission import problem
from tests.integration.node_api.test_audit_records import read
from tests.integration.node_api.test_heartbeats import alarm
from tests.integration.node_api.workload import Workload


@pytest.fixture
async def chain(node: Node) -> Chain:
    """Ten records of a node that has sent a heartbeat."""
    await node.heartbeat()
    chain = Chain(node)
    chain.grow(10)
    return chain


def counted_bytes(records: list[bytes]) -> int:
    return sum(len(each) + 300 for each in records)


async def stored_bytes(database: Database) -> tuple[int, int]:
    """Return the bytes as the node's row has them, and as the records have them."""
    [row] = await database.rows(
        "SELECT audit_record_bytes AS counted,"
        " (SELECT coalesce(sum(octet_length(record) + 300), 0)"
        " FROM node_audit_records) AS real FROM nodes"
    )
    return int(row.counted), int(row.real)


async def numbers(database: Database) -> list[int]:
    return [each.sequence for each in reversed(await read(database))]


async def keep_for(database: Database, days: int | None) -> None:
    await database.rows(node_audit.CHANGE, {"days": days, "operator": "bo", "reason": "test"})


async def age(database: Database, days: int, until: int) -> None:
    await database.rows(
        "UPDATE node_audit_records SET received_at = received_at - make_interval(days => :days)"
        " WHERE sequence <= :until",
        {"days": days, "until": until},
    )


async def test_a_node_that_has_used_up_its_space_is_told_to_wait(chain: Chain, database: Database):
    size = counted_bytes(chain.records[:6])
    records = NodeRecords(database, max_bytes=size)
    identity = chain.node.signer.public_key
    await records.keep("driver-1", identity, chain.page(0, 6))
    with pytest.raises(ProblemError, match="audit_store_full") as refused:
        await records.keep("driver-1", identity, chain.page(6, 7))
    assert int(refused.value.headers["Retry-After"]) > 60
    assert await numbers(database) == [1, 2, 3, 4, 5, 6]
    again = await records.keep("driver-1", identity, chain.page(0, 6))
    assert again.kept.sequence == 6, "a page that is kept already needs no space"
    assert await stored_bytes(database) == (size, size)


async def test_short_records_count_what_they_take_up_on_the_disk(chain: Chain, database: Database):
    await database.rows(
        "INSERT INTO node_audit_records (node_id, sequence, hash, previous_hash, kind, record)"
        " SELECT 'driver-1', number, sha256(number::text::bytea), sha256('0'), 'KeysReadopted',"
        " '{}' FROM generate_series(1, 20000) AS number"
    )
    [row] = await database.rows("SELECT pg_total_relation_size('node_audit_records') AS size")
    assert 0.9 < 20000 * (space.ROW_BYTES + 2) / row.size < 1.5


async def test_the_limit_reaches_the_node_as_429(
    chain: Chain, database: Database, monkeypatch: pytest.MonkeyPatch
):
    await database.rows("UPDATE nodes SET audit_record_bytes = :limit", {"limit": 4096 * 10**6})
    detail = problem(await chain.post(0, 1), 429, "audit_store_full")
    assert "4096 MB" in detail
    assert space.DEFAULT_MEGABYTES == 4096


async def test_metrics_show_what_a_node_stores_and_has_not_sent(chain: Chain, database: Database):
    registry = CollectorRegistry()
    metrics = Metrics(database, registry)

    async def shown(name: str) -> float | None:
        transport = httpx.ASGITransport(metrics.application())
        async with httpx.AsyncClient(transport=transport, base_url="http://metrics") as client:
            await client.get("/metrics")
        return registry.get_sample_value(f"custody_node_audit_{name}", {"node": "driver-1"})

    await chain.node.heartbeat(audit_head=chain.page(0, 2).head)
    assert await shown("lag_seconds") is None, "the node sends no records"
    await chain.send(0, 5)
    assert await shown("lag_seconds") is None, "the node has not said that it sends records"
    await chain.node.heartbeat(sends_audit_records=True)
    assert await shown("lag_seconds") == 0
    assert await shown("bytes") == counted_bytes(chain.records[:5])
    for end in (8, 10):
        await chain.node.heartbeat(audit_head=chain.page(0, end).head, sends_audit_records=True)
    await database.rows(
        "UPDATE audit_heads SET received_at = received_at - interval '1 hour' WHERE sequence = 8"
    )
    lag = await shown("lag_seconds")
    assert lag is not None
    assert 3600 <= lag < 3700
    await chain.node.heartbeat(sends_audit_records=False)
    assert await shown("lag_seconds") is None, "records that a node no longer sends are not late"
    assert await shown("bytes") == counted_bytes(chain.records[:5])
    await chain.node.heartbeat(sends_audit_records=True)
    await chain.send(5, 10)
    assert await shown("lag_seconds") == 0


async def test_nothing_is_deleted_unless_the_operator_says_so(chain: Chain, database: Database):
    await chain.send(0, 10)
    await age(database, 10_000, 10)
    assert await NodeAuditPruning(database).round() == 0
    await keep_for(database, 2)
    await keep_for(database, None)
    assert await NodeAuditPruning(database).round() == 0


async def test_old_records_go_and_the_node_continues_after_the_last(
    chain: Chain, database: Database, monkeypatch: pytest.MonkeyPatch, workload: Workload
):
    monkeypatch.setattr(node_audit, "BATCH", 2)
    await chain.send(0, 3)
    await chain.send(3, 8)
    await age(database, 31, 5)
    await keep_for(database, 30)
    registry = CollectorRegistry()
    await Pruning(database, PruningMetrics(registry)).round()
    table = {"table": "node_audit_records"}
    assert registry.get_sample_value("custody_pruned_rows_total", table) == 5
    assert await numbers(database) == [6, 7, 8]
    counted, real = await stored_bytes(database)
    assert counted == real > 0
    await age(database, 31, 8)
    assert await NodeAuditPruning(database).round() == 2
    assert await numbers(database) == [8], "the next page follows the last record"
    assert await chain.send(8, 10) == 10
    assert await chain.send(0, 5) == 10
    assert await alarm(chain.node, workload) is None


async def test_records_stay_while_the_chain_is_in_doubt(chain: Chain, database: Database):
    await chain.send(0, 10)
    await age(database, 31, 10)
    await keep_for(database, 30)
    await database.rows("UPDATE nodes SET audit_alarm = 'in doubt'")
    assert await NodeAuditPruning(database).round() == 0
    assert len(await numbers(database)) == 10
