"""The pool against real servers: that restart, fall silent, end connections, or are standbys."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID, uuid4

import asyncpg
import psycopg
import pytest

from custody.database import connection as kept
from custody.database.causes import (
    DATABASE_ERRORS,
    Unavailable,
    UnreadableValue,
    cause_of,
    is_disconnected,
    is_transient,
)
from custody.database.pool import Pool
from devstack.postgres import Cluster
from tests.integration.database.relay import Relay, at

ONE = "SELECT 1 AS one"
PID = "SELECT pg_backend_pid() AS pid"
SLEEP = "SELECT pg_sleep(:seconds)"
INSERT = "INSERT INTO kept (id) VALUES (:id)"
COUNT = "SELECT count(*) AS n FROM kept"


@pytest.fixture
async def pool(empty_database: str) -> AsyncIterator[Pool]:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (id uuid PRIMARY KEY, about jsonb)")
    async with Pool(empty_database, 2, "test") as pool:
        yield pool


async def count(pool: Pool) -> int:
    (row,) = await pool.rows(COUNT)
    return int(row.n)


async def test_a_batch_of_each_type_there_and_back(pool: Pool):
    ids = [uuid4(), uuid4()]
    insert = (
        "INSERT INTO kept SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:about AS jsonb[]))"
        " RETURNING id, about"
    )
    rows = await pool.rows(insert, {"ids": ids, "about": [{"a": [1]}, '{"b": null}']})
    assert [row.id for row in rows] == ids
    assert [row.about for row in rows] == [{"a": [1]}, {"b": None}]
    with pytest.raises(AttributeError, match="other"):
        _ = rows[0].other
    empty = await pool.rows(insert, {"ids": [], "about": []})
    assert empty == []


async def test_a_time_is_in_utc_and_one_that_cannot_be_held_is_an_error(pool: Pool):
    there = timezone(timedelta(hours=-7))
    time = datetime(2026, 2, 3, 4, 5, 6, 789, tzinfo=there)
    sql = "SELECT CAST(:time AS timestamptz) AS time, :time = '2026-02-03 11:05:06.000789Z' AS same"
    (row,) = await pool.rows(sql, {"time": time})
    assert (row.time, row.time.tzinfo, row.same) == (time, UTC, True)
    for text in ("infinity", "-infinity", "4713-01-01 BC", "294000-01-01"):
        with pytest.raises(UnreadableValue):
            await pool.rows(f"SELECT '{text}'::timestamptz")
    assert (await pool.rows(ONE))[0].one == 1


async def test_connections_are_kept_and_no_more_are_made_than_allowed(pool: Pool):
    pids = {(await pool.rows(PID))[0].pid for _ in range(5)}
    assert len(pids) == 1
    many = await asyncio.gather(*(pool.rows(PID) for _ in range(20)))
    assert len({rows[0].pid for rows in many}) <= 2


async def test_a_task_that_holds_a_connection_is_refused_a_second_one(pool: Pool):
    async with pool.connection():
        with pytest.raises(RuntimeError, match="a second one"):
            await pool.rows(ONE)
        assert await asyncio.create_task(count(pool)) == 0
    assert await count(pool) == 0


async def test_a_transaction_is_committed_or_rolled_back_as_a_whole(pool: Pool):
    async def insert(*ids: UUID, fails: bool = False) -> None:
        async with pool.transaction() as transaction:
            for each in ids:
                await transaction.rows(INSERT, {"id": each})
            if fails:
                raise LookupError

    with pytest.raises(LookupError):
        await insert(uuid4(), fails=True)
    assert await count(pool) == 0
    twice = uuid4()
    with pytest.raises(asyncpg.UniqueViolationError) as caught:
        await insert(twice, twice)
    assert not is_transient(caught.value)
    await insert(twice)
    assert await count(pool) == 1


async def test_a_cancelled_statement_holds_no_connection(pool: Pool):
    for _ in range(3):
        task = asyncio.create_task(pool.rows(SLEEP, {"seconds": 30.0}))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with asyncio.timeout(5):
        assert await count(pool) == 0


async def test_a_connection_inside_a_transaction_is_not_kept(pool: Pool):
    async with pool.connection() as connection:
        await connection.run("BEGIN")
        await connection.rows(INSERT, {"id": uuid4()})
        first = (await connection.rows(PID))[0].pid
    assert (await pool.rows(PID))[0].pid != first
    assert await count(pool) == 0


async def test_a_connection_that_was_held_when_another_was_lost_is_not_kept(pool: Pool):
    async with pool.connection() as held:
        first = (await held.rows(PID))[0].pid

        async def lose() -> None:
            async with pool.connection() as connection:
                await connection.rows("SELECT pg_terminate_backend(pg_backend_pid())")

        with pytest.raises(DATABASE_ERRORS):
            await asyncio.create_task(lose())
        assert (await held.rows(PID))[0].pid == first
    assert (await pool.rows(PID))[0].pid != first


async def test_who_stops_waiting_for_a_connection_takes_none(pool: Pool):
    async with pool.connection():
        other = asyncio.create_task(pool.rows(SLEEP, {"seconds": 0.3}))
        await asyncio.sleep(0)
        waiting = [asyncio.create_task(count(pool)) for _ in range(5)]
        await asyncio.sleep(0.05)
        for task in waiting[:4]:
            task.cancel()
        await other
        assert await waiting[4] == 0
    assert await asyncio.gather(*(count(pool) for _ in range(4))) == [0] * 4


async def test_a_connection_that_cannot_be_made_leaves_room_for_the_next(cluster: Cluster):
    async with Pool(cluster.create_database("away"), 1, "test") as pool:
        cluster.stop()
        for _ in range(3):
            with pytest.raises(DATABASE_ERRORS):
                await pool.rows(ONE)
        cluster.start()
        assert (await pool.rows(ONE))[0].one == 1


async def test_a_hasty_commit_does_not_wait_for_the_disk(empty_database: str):
    show = "SHOW synchronous_commit"
    async with (
        Pool(empty_database, 1, "a") as one,
        Pool(empty_database, 1, "b", durable=False) as two,
    ):
        assert (await one.rows(show))[0][0] == "on"
        assert (await two.rows(show))[0][0] == "off"
        assert (await one.rows("SHOW statement_timeout"))[0][0] == "30s"


async def test_the_isolation_level_of_the_server_is_not_used(empty_database: str):
    name = psycopg.conninfo.conninfo_to_dict(empty_database)["dbname"]
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("CREATE TABLE later (id int)")
        connection.execute(
            f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'"
        )
    async with Pool(empty_database, 2, "test") as pool, pool.transaction() as transaction:
        await transaction.rows(ONE)  # a snapshot would be of this moment
        with psycopg.connect(empty_database, autocommit=True) as connection:
            connection.execute("INSERT INTO later VALUES (1)")
        assert len(await transaction.rows("SELECT id FROM later")) == 1


async def test_no_statement_waits_for_parallel_workers_or_compiled_code(empty_database: str):
    """Not even if the server takes both for free, as it does when it expects many rows."""
    name = psycopg.conninfo.conninfo_to_dict(empty_database)["dbname"]
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("CREATE TABLE many AS SELECT generate_series(1, 10000) AS id")
        connection.execute("ANALYZE many")
        for setting in (
            "parallel_setup_cost",
            "parallel_tuple_cost",
            "min_parallel_table_scan_size",
            "jit_above_cost",
        ):
            connection.execute(f"ALTER DATABASE {name} SET {setting} = 0")
        connection.execute(f"ALTER DATABASE {name} SET jit = on")
    explain = "EXPLAIN ANALYZE SELECT id FROM many WHERE id > 5"
    with psycopg.connect(empty_database) as connection:
        usual = str(connection.execute(explain).fetchall())
    assert "Parallel" in usual
    async with Pool(empty_database, 1, "test") as pool:
        plan = str(await pool.rows(explain))
    assert "Parallel" not in plan
    assert "JIT" not in plan


async def test_each_connection_has_the_settings_of_its_pool(empty_database: str):
    settings = {"plan_cache_mode": "force_custom_plan", "enable_seqscan": "off"}
    show = "SELECT current_setting('plan_cache_mode') AS plans, current_setting('enable_seqscan')"
    async with (
        Pool(empty_database, 2, "test", settings=settings) as pool,
        pool.connection() as one,
    ):
        rows = [*await one.rows(show), *await asyncio.create_task(pool.rows(show))]
    assert [tuple(row) for row in rows] == [("force_custom_plan", "off")] * 2
    async with Pool(empty_database, 1, "test") as pool:
        assert [tuple(row) for row in await pool.rows(show)] == [("auto", "on")]


async def test_after_a_restart_the_first_statement_works(cluster: Cluster):
    async with Pool(cluster.create_database("restarted"), 3, "test") as pool:
        await asyncio.gather(*(pool.rows(PID) for _ in range(3)))
        cluster.stop()
        with pytest.raises(DATABASE_ERRORS) as caught:
            await pool.rows(ONE)
        assert is_transient(caught.value)
        cluster.start()
        assert (await pool.rows(ONE))[0].one == 1


async def test_a_connection_that_the_server_ends_is_replaced(pool: Pool, empty_database: str):
    pid = (await pool.rows(PID))[0].pid
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(%s)", [pid])
    assert (await pool.rows(PID))[0].pid != pid


async def test_a_transaction_on_an_ended_connection_says_so_and_leaves_nothing(
    pool: Pool, empty_database: str
):
    async def cut_off() -> None:
        async with pool.transaction() as transaction:
            row = await transaction.row(PID)
            await transaction.rows(INSERT, {"id": uuid4()})
            with psycopg.connect(empty_database, autocommit=True) as connection:
                connection.execute("SELECT pg_terminate_backend(%s)", [row and row.pid])
            await transaction.rows(ONE)

    with pytest.raises(DATABASE_ERRORS) as caught:
        await cut_off()
    assert is_transient(caught.value)
    assert is_disconnected(caught.value)
    assert await count(pool) == 0


async def test_a_server_that_does_not_write_any_more_is_left(pool: Pool, empty_database: str):
    before = (await pool.rows(PID))[0].pid
    with psycopg.connect(empty_database, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        connection.execute("SELECT pg_terminate_backend(%s)", [before])
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError) as caught:
            await pool.rows(INSERT, {"id": uuid4()})
        assert is_transient(caught.value)
        assert "primary" in cause_of(caught.value).todo
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    await pool.rows(INSERT, {"id": uuid4()})  # on a new connection


async def test_a_frozen_server_is_noticed_in_time(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kept, "ANSWER_SECONDS", 0.5)
    async with Pool(cluster.create_database("frozen"), 2, "test") as pool:
        pid = (await pool.rows(PID))[0].pid
        os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        try:
            with pytest.raises(Unavailable):
                async with pool.transaction() as transaction:
                    await transaction.rows(ONE)
        finally:
            os.kill(pid, signal.SIGCONT)
        assert time.monotonic() - began < 10
        assert (await pool.rows(ONE))[0].one == 1


async def test_a_network_that_drops_everything_is_noticed_in_time(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kept, "ANSWER_SECONDS", 0.5)
    async with Relay(empty_database) as relay, Pool(relay.url, 2, "test") as pool:
        await pool.rows(ONE)
        relay.drop()
        began = time.monotonic()
        with pytest.raises(Unavailable):
            await pool.rows(ONE)
        assert time.monotonic() - began < 15
        relay.pass_on()
        assert (await pool.rows(ONE))[0].one == 1


async def test_the_first_host_that_is_a_primary_is_taken(postgres: Cluster, empty_database: str):
    info = psycopg.conninfo.conninfo_to_dict(empty_database)
    url = at(info, f"{info['host']},{info['host']}", f"1,{info['port']}")
    async with Pool(url + "&target_session_attrs=read-write", 1, "test") as pool:
        assert (await pool.rows(ONE))[0].one == 1
    with psycopg.connect(empty_database, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    async with Pool(url + "&target_session_attrs=read-write", 1, "test") as pool:
        with pytest.raises(DATABASE_ERRORS) as caught:
            await pool.rows(ONE)
    assert is_transient(caught.value)
