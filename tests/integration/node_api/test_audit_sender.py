"""A node that sends its audit records: real databases of both sides, and TLS between them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from custody.control_plane.audit.restores import AuditRestores, acknowledge, restores_of
from custody.control_plane.database import Database
from custody.database.pool import Pool
from custody.node import audit_sender
from custody.node.audit_records import read_kept
from custody.node.audit_restore import state_restore
from custody.node.audit_sender import AuditSender, NotSendable
from custody.node.control_plane_client import ControlPlaneClient, ControlPlaneRefused
from custody.runtime.tls import TlsFiles
from custody.wire.node_api import AuditHeads
from tests.integration.driver.conftest import node_parts
from tests.integration.driver.test_audit_prune import Chain
from tests.integration.node_api.certificates import Certificates
from tests.integration.node_api.nodes import Node
from tests.integration.node_api.test_audit_records import read
from tests.integration.node_api.test_heartbeats import age_heads, alarm
from tests.integration.node_api.workload import Workload
from tests.waiting import until


@pytest.fixture
async def pool(driver_database: str) -> AsyncIterator[Pool]:
    """The driver's own database."""
    async with Pool(driver_database, 8, "test") as pool:
        yield pool


@pytest.fixture
async def chain(pool: Pool, node: Node, tmp_path: Path) -> Chain:
    """The audit chain of driver-1, with four records."""
    await node.heartbeat()
    chain = Chain(pool, node_parts(pool, node.id, node.signer), tmp_path / "audit.jsonl")
    await chain.grow()
    return chain


@pytest.fixture
async def client(
    url: str, certificates: Certificates, node: Node
) -> AsyncIterator[ControlPlaneClient]:
    home = certificates.node(node.id)
    files = TlsFiles(
        "control_plane", home / "certificate.pem", home / "private_key.pem", home / "ca.pem"
    )
    async with ControlPlaneClient(url, files) as client:
        yield client


@pytest.fixture
def sender(client: ControlPlaneClient, pool: Pool, node: Node) -> AuditSender:
    return AuditSender(client, pool, node.id, node.signer, idle_seconds=0.02)


async def numbers(database: Database) -> list[int]:
    return [each.sequence for each in reversed(await read(database))]


async def test_all_records_arrive_and_then_nothing_is_sent(
    chain: Chain, sender: AuditSender, database: Database, pool: Pool
):
    assert not await sender.send()
    own = await pool.rows("SELECT sequence, record, hash FROM audit ORDER BY sequence")
    kept = reversed(await read(database))
    assert [(each.sequence, each.record, each.hash) for each in kept] == [tuple(row) for row in own]
    await chain.grow()
    assert not await sender.send()
    assert not await sender.send()
    assert await numbers(database) == list(range(1, 9))


async def test_full_pages_follow_each_other_at_once(
    chain: Chain, sender: AuditSender, database: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(audit_sender, "MAX_AUDIT_RECORDS", 3)
    assert await sender.send()
    assert await numbers(database) == [1, 2, 3]
    assert not await sender.send()
    assert await numbers(database) == [1, 2, 3, 4]


async def test_a_page_has_a_limit_of_bytes(
    chain: Chain, sender: AuditSender, database: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(audit_sender, "MAX_AUDIT_BYTES", 1)
    for count in range(1, 5):
        assert await sender.send()
        assert await numbers(database) == list(range(1, count + 1))


async def test_a_running_sender_sends_new_records(
    chain: Chain, sender: AuditSender, database: Database
):
    running = asyncio.create_task(sender.run())
    await chain.grow()

    async def all_arrived() -> bool:
        return await numbers(database) == list(range(1, 9))

    await until(all_arrived)
    running.cancel()


async def test_a_restored_control_plane_gets_what_its_backup_lacks(
    chain: Chain, sender: AuditSender, database: Database
):
    await sender.send()
    await database.rows("DELETE FROM node_audit_records WHERE sequence > 2")
    await chain.grow()
    for _ in range(2):  # the first page follows a record that is gone, and the answer says so
        await sender.send()
    assert await numbers(database) == list(range(1, 9))


async def test_a_chain_that_was_pruned_before_is_sent_from_its_checkpoint(
    chain: Chain, sender: AuditSender, database: Database, workload: Workload, node: Node
):
    await chain.grow()
    await chain.prune()
    await chain.grow()
    for _ in range(3):  # record 1, of a key, is still there, and record 2 is not
        await sender.send()
    assert await numbers(database) == [1, *range(9, 14)]
    assert await alarm(node, workload) is None


async def test_a_chain_that_was_pruned_up_to_the_kept_place_continues(
    chain: Chain, sender: AuditSender, database: Database, pool: Pool
):
    await sender.send()
    await chain.prune()
    assert await pool.rows("SELECT FROM audit WHERE sequence = 4") == []
    await sender.send()
    assert await numbers(database) == [1, 2, 3, 4, 5]


async def test_records_that_were_pruned_while_the_control_plane_was_away_are_a_gap(
    chain: Chain, sender: AuditSender, database: Database
):
    await sender.send()
    await chain.grow()
    await chain.prune()
    await sender.send()
    assert await numbers(database) == [1, 2, 3, 4, 9]


async def test_no_head_is_signed_over_a_changed_record(
    chain: Chain, sender: AuditSender, database: Database, pool: Pool
):
    await pool.rows("UPDATE audit SET record = record || ' '::bytea WHERE sequence = 3")
    await sender.send()
    assert await numbers(database) == [1, 2]
    with pytest.raises(NotSendable, match="record 3 was changed"):
        await sender.send()
    await pool.rows("DELETE FROM audit WHERE sequence = 3")
    with pytest.raises(NotSendable, match="audit verify"):
        await sender.send()


async def test_a_restored_node_sends_nothing_before_an_admin_has_acknowledged_that(
    chain: Chain,
    sender: AuditSender,
    database: Database,
    pool: Pool,
    node: Node,
    workload: Workload,
    engine: AsyncEngine,
):
    await sender.send()
    await age_heads(engine, 3600)
    await pool.rows("DELETE FROM audit WHERE sequence > 2")
    chain.node.chain.forget_head()
    await chain.grow()
    lost = await read(database)
    with pytest.raises(NotSendable, match="audit restored"):
        await sender.send()
    restores = AuditRestores(database)
    heads = AuditHeads(group="hsm", heads=await node.kept_heads())
    kept = read_kept(heads, node.signer, node.id)
    signed, _ = await state_restore(pool, node.id, node.signer, kept, "bo", "disk failed")
    await restores.claim(node.id, signed)
    async with database.transaction() as connection:
        [seen] = await restores_of(connection, [node.id])
        await acknowledge(connection, seen, "ada", "asked Bo")
    chain.node.chain.forget_head()
    fresh = AuditSender(sender._client, pool, node.id, node.signer)
    await fresh.send()
    own = await pool.rows("SELECT hash FROM audit ORDER BY sequence")
    assert [each.hash for each in reversed(await read(database))] == [row.hash for row in own]
    assert await read(database, restore=1) == lost[:2], "records 4 and 3 stay as evidence"
    assert await read(database, restore=2) == []
    assert await alarm(node, workload) is None


async def test_a_control_plane_that_is_away_is_logged_once_and_then_gets_everything(
    chain: Chain,
    sender: AuditSender,
    database: Database,
    client: ControlPlaneClient,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(audit_sender, "LONGEST_PAUSE", 0.05)
    good, client._url = client._url, "https://127.0.0.1:1"
    with capture_logs() as logs:
        running = asyncio.create_task(sender.run())
        await asyncio.sleep(0.5)
        client._url = good

        async def all_arrived() -> bool:
            return await numbers(database) == [1, 2, 3, 4]

        await until(all_arrived)
        await until(lambda: "audit records are sent again" in str(logs))
        running.cancel()
    # a slow machine may add a failure of another kind, when the control plane is back
    *failures, end = logs
    assert (failures[0]["log_level"], end["log_level"]) == ("warning", "info")
    errors = [each["error"] for each in failures]
    assert len(errors) == len(set(errors)) < 3


async def test_a_refusal_does_not_make_the_node_unhealthy(
    chain: Chain, sender: AuditSender, client: ControlPlaneClient, workload: Workload
):
    """As by a control plane of an earlier version, which does not know the request."""
    before = client.problem()
    good, client._url = client._url, f"{client._url}/earlier"
    with pytest.raises(ControlPlaneRefused, match="404"):
        await sender.send()
    assert client.problem() == before
    client._url = good
    await sender.send()
    assert client.problem() == before
