"""The pool with a primary and its standby: a commit is on both, and a failover is survived."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest

from custody.database import connection as kept
from custody.database import servers
from custody.database.causes import DATABASE_ERRORS, DOES_NOT_ANSWER, Cause, Unavailable, cause_of
from custody.database.durability import DURABILITY_TODO, read_durability
from custody.database.engine import synchronous_engine
from custody.database.pool import Pool
from custody.database.servers import Servers
from custody.node.doctor import durability_check
from custody.runtime.checks import Status
from devstack.postgres import Cluster
from tests.integration.database.relay import Relay

ONE = "SELECT 1 AS one"
INSERT = "INSERT INTO kept (id) VALUES (:id) ON CONFLICT DO NOTHING"
CREATE = "CREATE TABLE kept (id uuid PRIMARY KEY)"


@pytest.fixture
def standby(cluster: Cluster, tmp_path: Path) -> Iterator[Cluster]:
    cluster.create_database("kept")
    with psycopg.connect(cluster.url("kept")) as connection:
        connection.execute(CREATE)
    standby = cluster.start_standby(tmp_path / "standby.log")
    try:
        yield standby
    finally:
        standby.remove()


def ids_at(cluster: Cluster) -> set[UUID]:
    with psycopg.connect(cluster.url("kept")) as connection:
        return {row[0] for row in connection.execute("SELECT id FROM kept")}


async def insert(pool: Pool) -> UUID:
    made = uuid4()
    await pool.rows(INSERT, {"id": made})
    return made


async def until_waiting(cluster: Cluster, commits: int) -> None:
    """Wait until so many commits wait for the standby."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    async with asyncio.timeout(30):
        while True:
            with psycopg.connect(cluster.url()) as connection:
                if connection.execute(waiting).fetchone() == (commits,):
                    return
            await asyncio.sleep(0.05)


async def test_after_the_primary_is_killed_the_promoted_standby_has_every_commit(
    cluster: Cluster, standby: Cluster
):
    url = cluster.url_with(standby, "kept")
    told, causes = set[UUID](), set[Cause]()

    async def client() -> None:
        while not stop.is_set():
            try:
                told.add(await insert(pool))
            except DATABASE_ERRORS as error:
                causes.add(cause_of(error))
                await asyncio.sleep(0.05)

    stop = asyncio.Event()
    async with Pool(url, 4, "test") as pool, asyncio.timeout(60):
        clients = [asyncio.create_task(client()) for _ in range(4)]
        while len(told) < 100:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        cluster.kill_hard()
        before = len(told)
        await asyncio.to_thread(standby.promote)
        while len(told) < before + 100:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        stop.set()
        await asyncio.gather(*clients)
    assert told <= ids_at(standby)
    assert causes <= {DOES_NOT_ANSWER}  # none if all had their answer at that moment
    engine = synchronous_engine(url)  # the one of migrations
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT pg_is_in_recovery()").scalar_one() is False
    engine.dispose()


async def test_a_commit_that_a_caller_stopped_waiting_for_is_not_seen_before_the_standby_has_it(
    cluster: Cluster, standby: Cluster, monkeypatch: pytest.MonkeyPatch
):
    """A cancelled wait for the standby would make the row visible on the primary alone."""
    monkeypatch.setattr(kept, "CLIENT_CHECK_SECONDS", 1)
    monkeypatch.setattr(kept, "ANSWER_SECONDS", 1)
    standby.stop()
    async with Pool(cluster.url("kept"), 4, "test") as pool:
        with pytest.raises(Unavailable):
            async with pool.transaction() as transaction:
                await transaction.rows(INSERT, {"id": uuid4()})
        with pytest.raises(Unavailable):
            async with pool.connection() as connection:
                await connection.rows(INSERT, {"id": uuid4()})
        await until_waiting(cluster, 2)
        task = asyncio.create_task(insert(pool))
        await until_waiting(cluster, 3)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        async with pool.connection() as connection:
            statement = asyncio.create_task(connection.rows(INSERT, {"id": uuid4()}))
            await until_waiting(cluster, 4)
            statement.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await statement
            async with asyncio.timeout(30):
                while not connection.is_closed():  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            assert ids_at(cluster) == set()
        standby.start()
        async with asyncio.timeout(30):
            while len(ids_at(cluster)) < 4:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    assert ids_at(standby) == ids_at(cluster)


async def test_a_statement_without_a_client_ends_on_the_server(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kept, "CLIENT_CHECK_SECONDS", 1)
    async with Pool(empty_database, 2, "abandoned") as pool:
        task = asyncio.create_task(pool.rows("SELECT pg_sleep(25) AS abandoned"))
        sessions = (
            "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%AS abandoned'"
            " AND state = 'active' AND pid <> pg_backend_pid()"
        )
        async with asyncio.timeout(20):
            while not await pool.rows(sessions):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            task.cancel()
            while await pool.rows(sessions):  # noqa: ASYNC110
                await asyncio.sleep(0.1)


async def test_a_host_that_is_silent_leaves_the_next_one_its_time(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
):
    """Packets to a host without power are dropped: only a deadline ends the attempt."""
    async with Relay(empty_database) as relay:
        relay.drop()
        monkeypatch.setattr(servers, "CONNECT_SECONDS", 1)
        parts = psycopg.conninfo.conninfo_to_dict(empty_database)
        silent = psycopg.conninfo.conninfo_to_dict(relay.url)["port"]
        url = empty_database.replace(
            f"@{parts['host']}:{parts['port']}",
            f"@{parts['host']}:{silent},{parts['host']}:{parts['port']}",
        )
        both = Servers(url, "test")
        for _ in range(2):
            connection = await both.connect()
            connection.terminate()
        assert relay.connections == 1, "the server that accepted last is tried first"


async def test_settings_that_lose_commits_are_named_also_where_our_sessions_differ(
    cluster: Cluster, tmp_path: Path
):
    """The cluster of tests has fsync and full_page_writes off."""
    async with Pool(cluster.url(), 1, "test") as pool:
        found = await read_durability(pool)
        assert found.off == ("fsync", "full_page_writes", "synchronous_commit")
        assert "fsync" in str(found.problem)
        with psycopg.connect(cluster.url(), autocommit=True) as connection:
            for setting in ("fsync", "full_page_writes"):
                connection.execute(f"ALTER SYSTEM SET {setting} = on")
            connection.execute("SELECT pg_reload_conf()")
        async with asyncio.timeout(10):
            while (found := await read_durability(pool)).off != ("synchronous_commit",):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert not found.waits
        check = await durability_check(pool)
        assert (check.status, check.todo) == (Status.WARN, DURABILITY_TODO)
    durable = Cluster(tmp_path / "durable.log")
    try:
        durable.start()
        async with Pool(durable.url(), 1, "test") as pool:
            check = await durability_check(pool)
            assert check.status is Status.OK
            assert "do not wait" in check.detail
    finally:
        durable.remove()
