"""The keys that a restored node may lack, as the control plane tells them."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from custody.control_plane.conductor.planning.facts import MAKES_KEYS
from custody.control_plane.database import Database
from custody.control_plane.node_api import changed_keys as module
from custody.control_plane.node_api.authorisation import RegisteredNode
from custody.control_plane.node_api.changed_keys import changed_keys

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
