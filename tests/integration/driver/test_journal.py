"""The journal: one effect a job, also when several processes commit, or commit again."""

import asyncio
import hashlib
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine

from custody.database.pool import Pool
from custody.node.audited_changes import AuditedChanges
from custody.node.journal import Commit
from custody.node.journal_retention import LongestLife, set_journal_retention
from custody.wire.outcomes import OutcomeStatus
from hsm_driver.tables import audit, journal, wrapped_keys
from tests.engines import create_engine
from tests.integration.driver.commits import commit
from tests.integration.driver.conftest import NodeParts, node_parts


async def count(engine: AsyncEngine, table) -> int:
    async with engine.connect() as connection:
        return (await connection.execute(select(func.count()).select_from(table))).scalar_one()


def digests(*commits: Commit) -> dict[UUID, bytes]:
    return {
        one.job_id: hashlib.sha256(one.outcome.model_dump_json().encode()).digest()
        for one in commits
    }


async def test_a_committed_outcome_is_found_byte_for_byte(node: NodeParts) -> None:
    one = commit()
    recorded = await node.journal.commit(one)
    assert recorded.outcome == one.outcome.model_dump_json().encode()
    assert await node.journal.look_up(one.job_id) == recorded
    assert await node.journal.look_up(uuid4()) is None


async def test_the_first_of_two_drivers_wins_and_the_other_gets_its_outcome(
    pool: Pool, engine: AsyncEngine, node: NodeParts
) -> None:
    other = node_parts(pool, "driver-2")
    job_id = uuid4()
    mine = commit(job_id=job_id, key_row=True)
    theirs = commit(job_id=job_id, key_row=True, node="driver-2")
    first, second = await asyncio.gather(node.journal.commit(mine), other.journal.commit(theirs))
    assert first == second
    assert await count(engine, wrapped_keys) == 1
    assert await count(engine, audit) == 1


async def test_many_drivers_commit_the_same_jobs_in_any_order(
    pool: Pool, engine: AsyncEngine
) -> None:
    nodes = [node_parts(pool, f"driver-{number}") for number in range(4)]
    job_ids = [uuid4() for _ in range(50)]
    results = await asyncio.gather(
        *(
            node.journal.commit(commit(job_id=job_id, node=node.name, key_row=True))
            for shift, node in enumerate(nodes)
            for job_id in job_ids[shift * 10 :] + job_ids[: shift * 10]
        )
    )
    assert len({recorded.outcome for recorded in results}) == len(job_ids)
    assert await count(engine, wrapped_keys) == len(job_ids)
    assert await count(engine, audit) == len(job_ids)


async def test_one_connection_is_enough_to_commit_and_to_link(driver_database: str) -> None:
    """Tasks that hold a connection and wait for a second one would all wait without an end."""
    async with Pool(driver_database, 1, "test") as pool, asyncio.timeout(10):
        nodes = [node_parts(pool, f"driver-{number}") for number in range(4)]
        # with rows of its own: a transaction of several statements, on a chain not read before
        commits = [
            node.journal.commit(commit(node=node.name, key_row=True))
            for node in nodes
            for _ in "ab"
        ]
        recorded = await asyncio.gather(*commits)
    assert {one.status for one in recorded} == {OutcomeStatus.DONE}


async def test_a_failure_gives_way_to_a_later_result_but_never_the_reverse(
    node: NodeParts,
) -> None:
    job_id = uuid4()
    await node.journal.commit(commit(OutcomeStatus.FAILED, job_id=job_id))
    done = await node.journal.commit(commit(OutcomeStatus.DONE, job_id=job_id))
    late = await node.journal.commit(commit(OutcomeStatus.FAILED, job_id=job_id))
    assert done.status is OutcomeStatus.DONE
    assert late == done
    assert await node.journal.look_up(job_id) == done


async def test_another_payload_under_a_known_id_gets_what_is_recorded_and_changes_nothing(
    node: NodeParts,
) -> None:
    job_id = uuid4()
    first = await node.journal.commit(commit(OutcomeStatus.FAILED, job_id=job_id))
    other = await node.journal.commit(commit(job_id=job_id, digest=bytes([1] * 32)))
    assert other == first


async def test_one_that_cannot_be_committed_does_not_keep_the_others_back(
    engine: AsyncEngine, node: NodeParts
) -> None:
    taken = commit(key_row=True)
    await node.journal.commit(taken)
    bad = commit()
    bad.rows.append(taken.rows[0])
    good = [commit(key_row=True) for _ in range(5)]
    results = await asyncio.gather(
        *(node.journal.commit(one) for one in [*good, bad]), return_exceptions=True
    )
    assert isinstance(results[-1], Exception)
    assert all(not isinstance(result, Exception) for result in results[:-1])
    assert await node.journal.look_up(bad.job_id) is None
    assert await count(engine, wrapped_keys) == 6


async def test_unreported_outcomes_are_those_of_this_node_not_yet_marked(
    pool: Pool, node: NodeParts
) -> None:
    other = node_parts(pool, "driver-2")
    reported, waiting = commit(), commit()
    await node.journal.commit(reported)
    await node.journal.commit(waiting)
    await other.journal.commit(commit(node="driver-2"))
    await node.journal.mark_reported(digests(reported))
    assert set(await node.journal.unreported()) == {waiting.job_id}


async def test_purging_takes_only_what_is_old_and_reported(
    engine: AsyncEngine, node: NodeParts
) -> None:
    old, unreported, new = commit(), commit(), commit()
    for one in (old, unreported, new):
        await node.journal.commit(one)
    await node.journal.mark_reported(digests(old, new))
    async with engine.begin() as connection:
        await connection.execute(
            update(journal)
            .where(journal.c.job_id.in_([old.job_id, unreported.job_id]))
            .values(committed_at=func.now() - timedelta(days=100))
        )
    assert await node.journal.purge() == 1
    assert await node.journal.look_up(old.job_id) is None
    assert await node.journal.look_up(unreported.job_id) is not None
    assert await node.journal.look_up(new.job_id) is not None


async def test_a_shorter_retention_counts_when_the_longer_one_has_passed(
    pool: Pool, node: NodeParts
) -> None:
    """A job that was accepted under the longer retention may still come again."""
    one = commit()
    await node.journal.commit(one)
    await node.journal.mark_reported(digests(one))
    await set_journal_retention(AuditedChanges(pool, node.name), 2, "bo", "drill")
    older = "UPDATE journal SET committed_at = committed_at - make_interval(days => :days)"
    await pool.rows(older, {"days": 89})
    assert await node.journal.purge() == 0
    await pool.rows("UPDATE retention SET changed_at = changed_at - make_interval(days => 92)")
    assert await node.journal.purge() == 1
    longest = LongestLife(pool)
    await longest.refresh()
    assert longest() == timedelta(days=2)


async def test_work_goes_on_after_every_connection_was_cut(
    engine: AsyncEngine, node: NodeParts, driver_database: str
) -> None:
    await node.journal.commit(commit())
    cut = text(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    other = create_engine(driver_database)
    async with other.connect() as connection:
        assert (await connection.execute(cut)).scalar_one() >= 1
    await other.dispose()
    await asyncio.gather(*(node.journal.commit(commit()) for _ in range(20)))
    assert await count(engine, journal) == 21
    assert await count(engine, audit) == 21


async def test_a_mark_for_a_failure_does_not_mark_the_result_that_followed(
    node: NodeParts,
) -> None:
    failed = commit(OutcomeStatus.FAILED)
    done = commit(job_id=failed.job_id)
    await node.journal.commit(failed)
    await node.journal.commit(done)
    await node.journal.mark_reported(digests(failed))
    assert set(await node.journal.unreported()) == {done.job_id}
    await node.journal.mark_reported(digests(done))
    assert await node.journal.unreported() == {}


async def test_denials_and_results_of_one_id_in_one_batch_are_all_audited(
    engine: AsyncEngine, node: NodeParts
) -> None:
    job_id = uuid4()
    denial = replace(commit(OutcomeStatus.DENIED, job_id=job_id), journalled=False)
    done = commit(job_id=job_id)
    _, recorded, _ = await asyncio.gather(
        *(node.journal.commit(one) for one in (denial, done, denial))
    )
    assert recorded == await node.journal.look_up(job_id)
    assert recorded.status is OutcomeStatus.DONE
    assert await count(engine, audit) == 3


async def test_a_failure_committed_again_is_audited_once(
    engine: AsyncEngine, node: NodeParts
) -> None:
    failed = commit(OutcomeStatus.FAILED)
    first = await node.journal.commit(failed)
    assert await node.journal.commit(failed) == first
    assert await count(engine, audit) == 1


async def test_a_database_that_went_away_is_noticed_by_a_probe_and_so_is_its_return(
    node: NodeParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    health = node.journal.database
    assert (await health.probe(), health.problem()) == (True, None)
    async with Pool("postgresql://127.0.0.1:1/nothing", 1, "test") as nowhere:
        with monkeypatch.context() as patched:
            patched.setattr(health, "_pool", nowhere)
            assert await health.probe() is False
            assert health.problem() is not None
    assert (await health.probe(), health.problem()) == (True, None)
