"""The keys that a restored node may lack, as the control plane tells them."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
import pytest

from custody.control_plane.conductor.planning.facts import MAKES_KEYS
from custody.control_plane.database import Database
from custody.control_plane.node_api import changed_keys as module
from custody.control_plane.node_api.authorisation import RegisteredNode
from custody.control_plane.node_api.changed_keys import changed_keys
from tests.integration.control_plane.conftest import Replica
from tests.integration.control_plane.node import MemoryNode
from tests.integration.control_plane.test_archivals import change
from tests.integration.control_plane.test_reconcile import SIGNERS, Signers
from tests.integration.control_plane.test_reconciled_changes import PAIR, a_copy, add_pair

NOW = datetime.now(UTC).replace(microsecond=0)
KEYS = 300
SIGNATURES = 30_000

_FILL = """
    WITH application AS (
        INSERT INTO applications (id, name) VALUES (gen_random_uuid(), 'bank') RETURNING id
    ), made AS (
        INSERT INTO keys (id, application_id, node_group, store, scheme, curve, public_key)
        SELECT gen_random_uuid(), application.id, CASE WHEN number % 2 = 0 THEN 'hsm' ELSE 'other'
            END, 'hsm', 'ECDSA', 'secp256k1', '\\x02'
        FROM application, generate_series(1, :keys) AS number
        RETURNING id, application_id, node_group
    ), numbered AS (
        SELECT *, row_number() OVER () AS number FROM made
    ), work AS (
        SELECT id AS job_id, 'GenerateKey' AS kind, numbered.* FROM numbered
        UNION ALL
        SELECT gen_random_uuid(), 'Sign', numbered.*
        FROM numbered, generate_series(1, :signatures / :keys)
    )
    INSERT INTO jobs (id, kind, endpoint, application_id, key_id, node_group, body_digest, payload,
        signature, signing_key_id, state, expires_at, finished_at)
    SELECT job_id, kind, 'x', application_id, id, node_group, '', '', '', '', 'Done', :now,
        :now::timestamptz - number * interval '1 minute'
    FROM work
"""


@pytest.fixture
async def database(control_plane_database: str) -> AsyncIterator[Database]:
    async with Database(control_plane_database) as database:
        values = {"keys": KEYS, "signatures": SIGNATURES, "now": NOW}
        await database.rows(_FILL, values)
        await database.rows("ANALYZE jobs")
        yield database


async def test_only_the_keys_of_the_group_since_then_are_named(database: Database):
    node = RegisteredNode("driver-1", "hsm", None)
    since = NOW - timedelta(minutes=100)
    answer = await changed_keys(database, node, since.isoformat())
    assert answer.is_complete
    assert len(answer.keys) == 50
    assert min(key.changed_at for key in answer.keys) >= since


async def test_a_key_is_named_however_it_was_made(database: Database):
    node = RegisteredNode("driver-1", "hsm", None)
    for kind in MAKES_KEYS:
        await database.rows("UPDATE jobs SET kind = :kind WHERE kind <> 'Sign'", {"kind": kind})
        answer = await changed_keys(database, node, (NOW - timedelta(minutes=10)).isoformat())
        assert len(answer.keys) == 5, kind


async def test_the_question_reads_no_signatures(database: Database):
    """A large site has millions of them, and the answer must come while the driver waits."""
    values = {
        "group": "hsm", "kinds": module.KINDS, "since": NOW - timedelta(minutes=100),
        "node": "driver-1", "limit": 10,
    }  # fmt: skip
    rows = await database.rows(f"EXPLAIN {module._CHANGED}", values)
    plan = "\n".join(row[0] for row in rows)
    assert "ix_jobs_finished_changes" in plan, plan
    assert "Seq Scan on jobs" not in plan, plan


async def archived_since(
    replica: Replica, since: datetime, group: str = "hsm"
) -> list[UUID | None]:
    """Return the requests that have archived keys of a group."""
    node = RegisteredNode(SIGNERS[2] if group == "mpc" else "driver-1", group, None)
    answer = await changed_keys(replica.database, node, since.isoformat())
    return [each.request_id for each in answer.archived]


async def test_the_archived_keys_are_named_with_their_requests(
    replica: Replica, api: httpx.AsyncClient, node: MemoryNode, key: UUID
):
    before = datetime.now(UTC) - timedelta(seconds=5)
    assert await archived_since(replica, before) == []
    opened = (await api.post(f"/v1/keys/{key}/archive", json={})).json()
    assert await archived_since(replica, before) == [
        UUID(opened["id"])
    ]  # this node may have done it
    await node.work()
    assert await archived_since(replica, before) == [UUID(opened["id"])]
    assert await archived_since(replica, before, "mpc") == []
    later = datetime.now(UTC) + timedelta(seconds=5)
    assert await archived_since(replica, later) == []
    await replica.database.rows("DELETE FROM jobs WHERE kind = 'ArchiveKey' RETURNING id")
    assert await archived_since(replica, before) == [None]  # of a reconciled database
    await change(api, node, key, "unarchive")
    assert await archived_since(replica, before) == []


async def test_a_copy_is_told_to_its_own_signers(replica: Replica, api: httpx.AsyncClient):
    signers = Signers(replica, api)
    await signers.register()
    row = await replica.database.row("SELECT id FROM applications")
    assert row is not None
    signers.application = row.id
    await add_pair(api)
    origin, set_id = await signers.finished()
    made = await api.post(f"/v1/keys/{origin}/copy", json={"signer_group": "pair"})
    copy_id = UUID(made.json()["id"])
    said = a_copy(signers, copy_id, origin)
    for name in SIGNERS:
        said.setdefault(name, []).append(signers.held(name, origin, share_set_id=set_id))
    [difference] = await signers.differences(said)
    await signers.apply(difference)
    told = {}
    for name in SIGNERS:
        node = RegisteredNode(name, "mpc", None)
        since = datetime.now(UTC) - timedelta(minutes=1)
        answer = await changed_keys(replica.database, node, since.isoformat())
        told[name] = {each.key_id for each in answer.keys}
    assert {name for name in told if copy_id in told[name]} == set(PAIR)
    assert all(origin in keys for keys in told.values())
