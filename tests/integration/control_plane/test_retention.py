"""Finished signatures are deleted after the retention, and their external ids stay spent."""

from collections.abc import Awaitable, Callable
from uuid import UUID

import httpx
import pytest
from prometheus_client import CollectorRegistry

from custody.control_plane.retention import pruning
from custody.control_plane.retention.ciphertexts import LOCK
from custody.control_plane.retention.pruning import Pruned, Pruning, PruningMetrics
from custody.database.connection import STATEMENT_SECONDS
from custody.database.retention import CHANGE
from tests.integration.control_plane.conftest import Replica, assert_problem
from tests.integration.control_plane.node import MemoryNode

HASH = {"kind": "Hash", "hash": "0x" + "ab" * 32}
Made = tuple[httpx.Response, ...]


def pruning_of(replica: Replica) -> Pruning:
    return Pruning(replica.database, PruningMetrics(CollectorRegistry()))


async def keep_for(replica: Replica, days: int | None) -> None:
    await replica.database.rows(CHANGE, {"days": days, "operator": "bo", "reason": "test"})


async def age(replica: Replica, days: int) -> None:
    await replica.database.rows(
        "UPDATE jobs SET finished_at = finished_at - make_interval(days => :days)", {"days": days}
    )


async def settle(replica: Replica) -> None:
    """Let the time between the two rounds pass."""
    values = {"seconds": pruning.SETTLED + 1}
    await replica.database.rows(
        "UPDATE spent_external_ids SET spent_at = spent_at - make_interval(secs => :seconds)",
        values,
    )


async def ids(replica: Replica) -> set[tuple[str, UUID]]:
    return {(row.kind, row.id) for row in await replica.database.rows("SELECT kind, id FROM jobs")}


@pytest.fixture
def sign(api: httpx.AsyncClient, node: MemoryNode, key: UUID) -> Callable[..., Awaitable[UUID]]:
    async def sign(external_id: str | None = None) -> UUID:
        body = HASH if external_id is None else {**HASH, "external_id": external_id}
        made = await api.post(f"/v1/keys/{key}/signatures", json=body)
        assert made.status_code == 201, made.text
        await node.work()
        return UUID(made.json()["id"])

    return sign


async def test_nothing_is_deleted_unless_the_operator_says_so(replica: Replica, sign):
    await sign()
    await age(replica, 10_000)
    assert await pruning_of(replica).round() == Pruned(0, 0)
    await keep_for(replica, 2)
    await keep_for(replica, None)
    assert await pruning_of(replica).round() == Pruned(0, 0)


async def test_old_signatures_go_in_two_rounds_and_keys_stay(
    replica: Replica, api: httpx.AsyncClient, key: UUID, sign
):
    named, unnamed = await sign("payment-1"), await sign()
    await age(replica, 31)
    new = await sign("payment-2")
    await keep_for(replica, 30)
    prunes = pruning_of(replica)
    assert await prunes.round() == Pruned(spent=1, deleted=1)
    assert await ids(replica) == {("GenerateKey", key), ("Sign", named), ("Sign", new)}
    assert await prunes.round() == Pruned(spent=0, deleted=0)
    again = await api.post(f"/v1/keys/{key}/signatures", json={**HASH, "external_id": "payment-1"})
    assert (again.status_code, again.json()["id"]) == (200, str(named))
    await settle(replica)
    assert await prunes.round() == Pruned(spent=0, deleted=1)
    assert await ids(replica) == {("GenerateKey", key), ("Sign", new)}
    assert (await api.get(f"/v1/keys/{key}")).json()["status"] == "Active"
    for gone in (named, unnamed):
        assert_problem(await api.get(f"/v1/keys/{key}/signatures/{gone}"), 404, "not_found")


async def test_the_external_id_of_a_deleted_signature_is_never_taken_again(
    replica: Replica, api: httpx.AsyncClient, key: UUID, sign
):
    gone = await sign("payment-1")
    await age(replica, 3)
    await keep_for(replica, 2)
    prunes = pruning_of(replica)
    await prunes.round()
    await settle(replica)
    await prunes.round()
    path = f"/v1/keys/{key}/signatures"
    for body in (HASH, {**HASH, "hash": "0x" + "cd" * 32}):
        answer = await api.post(path, json={**body, "external_id": "payment-1"})
        assert str(gone) in assert_problem(answer, 409, "external_id_spent")
    assert await ids(replica) == {("GenerateKey", key)}
    other = await api.post(path, json={**HASH, "external_id": "payment-2"})
    assert other.status_code == 201


async def test_a_repetition_that_began_before_its_id_was_spent_finds_the_signature(
    replica: Replica, sign
):
    """The second round waits until no statement of before the first can still run."""
    await sign("payment-1")
    await age(replica, 3)
    await keep_for(replica, 2)
    prunes = pruning_of(replica)
    await prunes.round()
    assert pruning.SETTLED > 2 * STATEMENT_SECONDS
    assert (await prunes.round()).deleted == 0


async def test_one_replica_prunes_at_a_time(replica: Replica, other_replica: Replica, sign):
    await sign()
    await age(replica, 3)
    await keep_for(replica, 2)
    async with other_replica.database.transaction() as connection:
        await connection.rows(f"SELECT pg_advisory_xact_lock({LOCK})")
        assert await pruning_of(replica).round() == Pruned(0, 0)
    assert (await pruning_of(replica).round()).deleted == 1


async def test_the_steps_and_tasks_of_a_signature_go_with_it(replica: Replica, sign):
    signature = await sign()
    step = """
        WITH step AS (
            INSERT INTO steps (id, request_id, number, kind, job_id, deadline, ended_at)
            VALUES (gen_random_uuid(), :id, 1, 'Sign', :id, now(), :ended_at) RETURNING id
        )
        INSERT INTO tasks (step_id, signer) SELECT id, 'signer-1' FROM step RETURNING step_id
    """
    await replica.database.rows(step, {"id": signature, "ended_at": None})
    await age(replica, 3)
    await keep_for(replica, 2)
    assert (await pruning_of(replica).round()).deleted == 0, "its step is under way"
    await replica.database.rows("UPDATE steps SET ended_at = now()")
    assert (await pruning_of(replica).round()).deleted == 1
    assert await replica.database.rows("SELECT FROM steps UNION ALL SELECT FROM tasks") == []
