"""Finished imports are deleted after the retention, and so are the ciphertexts of imported keys."""

from typing import Any
from uuid import UUID

import httpx
import pytest

from custody.control_plane.jobs.transitions import Note
from custody.control_plane.retention import ciphertexts, pruning
from custody.control_plane.retention.pruning import Pruned
from custody.wire.node_api import Report
from tests.integration.control_plane.conftest import Replica, assert_problem
from tests.integration.control_plane.node import MemoryNode
from tests.integration.control_plane.test_imports import MINE, imported, ready
from tests.integration.control_plane.test_retention import (
    HASH,
    age,
    ids,
    keep_for,
    pruning_of,
    settle,
)

STEP = """
    WITH step AS (
        INSERT INTO steps (id, request_id, number, kind, job_id, payload, deadline, ended_at)
        VALUES (gen_random_uuid(), :id, 1, 'ImportKey', :id, 'sealed', now(), :ended_at)
        RETURNING id
    )
    INSERT INTO tasks (step_id, signer, outcome) SELECT id, 'signer-1', 'sealed' FROM step
    RETURNING step_id
"""

OLDEST = pruning._OLDEST + "SELECT * FROM oldest"


async def import_key(api: httpx.AsyncClient, node: MemoryNode, name: str) -> tuple[UUID, UUID]:
    """Import the key. Return the ids of the import and of the key."""
    found = await ready(api, node, external_id=name)
    made = await api.post("/v1/keys", json=imported(found["id"]))
    assert made.status_code == 201, made.text
    await node.work()
    return UUID(found["id"]), UUID(made.json()["id"])


async def job(replica: Replica, job_id: UUID) -> Any:
    row = await replica.database.row("SELECT * FROM jobs WHERE id = :id", {"id": job_id})
    assert row is not None
    return row


async def test_old_imports_go_with_the_ciphertexts_of_their_keys_and_the_keys_stay(
    replica: Replica, api: httpx.AsyncClient, node: MemoryNode
):
    old_import, old = await import_key(api, node, "first")
    await age(replica, 31)
    new_import, new = await import_key(api, node, "second")
    stays = {("ImportKey", old), ("ImportKey", new), ("PrepareImport", new_import)}
    await keep_for(replica, 30)
    prunes = pruning_of(replica)
    assert await prunes.round() == Pruned(spent=1, deleted=0)
    await settle(replica)
    assert await prunes.round() == Pruned(spent=0, deleted=1)
    assert await ids(replica) == stays
    assert_problem(await api.get(f"/v1/imports/{old_import}"), 404, "not_found")
    repeated = {"scheme": "ECDSA", "curve": "secp256k1", "store": "hsm", "external_id": "first"}
    again = await api.post("/v1/imports", json=repeated)
    assert str(old_import) in assert_problem(again, 409, "external_id_spent")

    assert (await job(replica, old)).payload == b""
    assert MINE.secret.hex().encode() not in (await job(replica, old)).outcome
    assert (await job(replica, new)).payload != b""
    key = (await api.get(f"/v1/keys/{old}")).json()
    assert (key["status"], key["imported"]) == ("Active", True)
    assert {each["id"] for each in (await api.get("/v1/keys")).json()["items"]} == {
        str(old),
        str(new),
    }
    signed = await api.post(f"/v1/keys/{old}/signatures", json=HASH)
    await node.work()
    assert (await api.get(signed.headers["location"])).json()["status"] == "Signed"


async def test_a_report_that_comes_again_after_its_job_was_emptied_is_confirmed(
    replica: Replica, api: httpx.AsyncClient, node: MemoryNode
):
    import_id, key_id = await import_key(api, node, "first")
    of_import, of_key = await job(replica, import_id), await job(replica, key_id)
    await age(replica, 3)
    await keep_for(replica, 2)
    prunes = pruning_of(replica)
    await prunes.round()
    await settle(replica)
    await prunes.round()
    reports = [
        Report(job_id=row.id, lease=None, outcome=row.outcome) for row in (of_import, of_key)
    ]
    results = await replica.queue.report(node.name, node.group, reports)
    assert {each.job_id: each.note for each in results} == {
        import_id: Note.UNKNOWN,
        key_id: Note.DUPLICATE,
    }


@pytest.mark.parametrize("kind", ["ImportKey", "CopyKey"])
async def test_steps_and_tasks_with_ciphertexts_go_once_none_is_open(
    replica: Replica, api: httpx.AsyncClient, node: MemoryNode, kind: str
):
    _, key_id = await import_key(api, node, "first")
    await replica.database.rows(
        "UPDATE jobs SET kind = :kind WHERE id = :id", {"kind": kind, "id": key_id}
    )
    await replica.database.rows(STEP, {"id": key_id, "ended_at": None})
    await age(replica, 3)
    await keep_for(replica, 2)
    prunes = pruning_of(replica)
    await prunes.round()
    assert (await job(replica, key_id)).payload != b"", "its step is under way"
    await replica.database.rows("UPDATE steps SET ended_at = now(), is_unsettled = true")
    await prunes.round()
    assert (await job(replica, key_id)).payload != b"", "its shares are not settled"
    await replica.database.rows("UPDATE steps SET is_unsettled = false")
    await prunes.round()
    assert (await job(replica, key_id)).payload == b""
    assert await replica.database.rows("SELECT FROM steps UNION ALL SELECT FROM tasks") == []


@pytest.mark.parametrize(
    ("sql", "index"),
    [
        (OLDEST.replace("{which}", pruning.WHICH["signatures"]), "signatures"),
        (OLDEST.replace("{which}", pruning.WHICH["imports"]), "imports"),
        (ciphertexts._DELETE, "imports"),
    ],
    ids=["signatures", "imports", "ciphertexts"],
)
async def test_an_index_has_what_is_pruned(replica: Replica, sql: str, index: str):
    """Else each round would read all requests that have made keys."""
    values = {"days": 2, "limit": 10, "after_time": pruning.FIRST[0], "after_id": pruning.FIRST[1]}
    async with replica.database.transaction() as connection:
        await connection.rows("SET LOCAL enable_seqscan = off")
        used = {name: values[name] for name in values if f":{name}" in sql}
        plan = await connection.rows(f"EXPLAIN {sql}", used)
    assert any(f"ix_jobs_finished_{index}" in str(row) for row in plan), plan
