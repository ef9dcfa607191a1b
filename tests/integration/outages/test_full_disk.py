"""A database whose disk is full, or that takes no writes: nothing is lost, and it is said once."""

import asyncio
import os
from collections.abc import AsyncIterator

import asyncpg
import httpx
import psycopg
import pytest
from structlog.testing import capture_logs

from custody.database import health as database_health
from custody.database.pool import Pool
from custody.migrations.schema import migrate
from custody.node import journal
from tests.integration.control_plane.conftest import Replica, assert_problem
from tests.integration.control_plane.node import MemoryNode
from tests.integration.driver.commits import commit
from tests.integration.driver.conftest import node_parts
from tests.integration.outages.conftest import SmallDisk

WALLET = {"network": "Ethereum", "store": "hsm"}
SECONDS = 20
AWAY = ["database is away"]
AWAY_AND_BACK = ["database is away", "database is back"]


def said(logs: list) -> list[str]:
    """What the log says of the database, without what else it has."""
    return [entry["event"] for entry in logs if entry["event"].startswith("database is")]


async def until(is_so) -> None:
    async with asyncio.timeout(SECONDS):
        while not is_so():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.fixture
def driver_url(small_disk: SmallDisk) -> str:
    url = small_disk.create_database()
    migrate("hsm_driver", url)
    return url


@pytest.mark.usefixtures("hasty_probes")
async def test_a_node_holds_its_outcomes_until_there_is_room_and_says_so_once(
    small_disk: SmallDisk, driver_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(journal, "LONGEST_PAUSE", 0.1)
    async with Pool(driver_url, 8, "test") as pool:
        node = node_parts(pool, "driver-1")
        health = node.journal.database
        watching = asyncio.create_task(health.watch())
        await node.journal.commit(commit())
        small_disk.fill()
        with capture_logs() as logs:
            waiting = []
            async with asyncio.timeout(SECONDS):
                while health.problem() is None:
                    waiting += [
                        asyncio.create_task(node.journal.commit(commit())) for _ in range(64)
                    ]
                    await asyncio.sleep(0.02)
            await asyncio.sleep(1.5)  # reads and small writes work all the while
            assert await node.journal.look_up(commit().job_id) is None
            assert "disk of the database server is full" in str(health.problem())
            assert "Free or add space" in str(health.problem())
            assert said(logs) == AWAY
            small_disk.make_room()
            async with asyncio.timeout(SECONDS):
                outcomes = await asyncio.gather(*waiting)
            await until(lambda: health.problem() is None)
            assert said(logs) == AWAY_AND_BACK
        watching.cancel()
        for recorded, task in zip(outcomes, waiting, strict=True):
            assert recorded == task.result()
        [row] = await pool.rows("SELECT count(*) AS number FROM journal")
        assert row.number == len(waiting) + 1


@pytest.mark.usefixtures("hasty_probes")
async def test_small_writes_that_still_work_do_not_end_a_full_disk(
    small_disk: SmallDisk, driver_url: str, monkeypatch: pytest.MonkeyPatch
):
    """The row of a probe is written in place: only new room shows that there is room."""
    async with Pool(driver_url, 8, "test") as pool:
        health = database_health.DatabaseHealth(pool)
        assert await health.probe()
        small_disk.fill()
        for _ in range(3):
            assert await health.probe()  # this is what a SELECT or an UPDATE in place sees
        with pytest.raises(asyncpg.exceptions.DiskFullError) as caught:
            await pool.rows(
                "INSERT INTO database_probe (id, filler) VALUES (7, :filler)",
                {"filler": os.urandom(1 << 20)},
            )
        health.failed(caught.value)
        await asyncio.sleep(database_health.QUIET_SECONDS + 0.1)
        assert not await health.probe()
        assert health.problem() is not None
        small_disk.make_room()
        await asyncio.sleep(database_health.QUIET_SECONDS + 0.1)
        assert await health.probe()


@pytest.fixture
async def replica(small_disk: SmallDisk) -> AsyncIterator[Replica]:
    url = small_disk.create_database()
    migrate("control_plane", url)
    replica = Replica(url)
    await replica.start()
    yield replica
    await replica.stop()


async def until_ready(api: httpx.AsyncClient) -> None:
    async with asyncio.timeout(SECONDS):
        while (await api.get("/readyz")).status_code != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def registered(replica: Replica) -> httpx.AsyncClient:
    """A client, once a node has reported."""
    await MemoryNode(replica.database, replica.queue, replica.notifications).report_in()
    return replica.client((await replica.token()).text)


@pytest.mark.usefixtures("hasty_probes")
async def test_the_control_plane_is_not_ready_while_its_disk_is_full(
    small_disk: SmallDisk, replica: Replica
):
    api = await registered(replica)
    made = (await api.post("/v1/wallets", json=WALLET)).json()
    await until_ready(api)
    small_disk.fill()
    with capture_logs() as logs:
        async with asyncio.timeout(SECONDS):
            while (answer := await api.post("/v1/wallets", json=WALLET)).status_code != 503:
                assert answer.status_code == 201
        assert "disk of the database server is full" in assert_problem(answer, 503, "unavailable")
        assert answer.headers["retry-after"] == "5"
        for _ in range(30):
            assert (await api.get(f"/v1/wallets/{made['id']}")).status_code == 200
            ready = await api.get("/readyz")
            assert "is full" in assert_problem(ready, 503, "unavailable")
            await asyncio.sleep(0.05)
        assert (await api.get("/healthz")).status_code == 200
        small_disk.make_room()
        await until_ready(api)
        assert (await api.post("/v1/wallets", json=WALLET)).status_code == 201
    assert said(logs) == AWAY_AND_BACK


@pytest.mark.usefixtures("hasty_probes")
async def test_a_database_that_takes_no_writes_is_unavailable_and_not_a_fault_of_ours(
    control_plane_database: str,
):
    """As a standby is, which a failed primary was replaced by."""
    replica = Replica(control_plane_database)
    await replica.start()
    try:
        api = await registered(replica)
        await until_ready(api)
        with psycopg.connect(control_plane_database, autocommit=True) as connection:
            name = connection.info.dbname
            connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
            cut_off(connection)
            with capture_logs() as logs:
                answer = await api.post("/v1/wallets", json=WALLET)
                assert "takes no writes" in assert_problem(answer, 503, "unavailable")
                ready = await api.get("/readyz")
                assert "takes no writes" in assert_problem(ready, 503, "unavailable")
                connection.execute("SET default_transaction_read_only = off")
                connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
                cut_off(connection)
                await until_ready(api)
            assert (await api.post("/v1/wallets", json=WALLET)).status_code == 201
            assert said(logs) == AWAY_AND_BACK
    finally:
        await replica.stop()


@pytest.mark.usefixtures("hasty_probes")
async def test_a_node_holds_its_outcomes_while_its_database_takes_no_writes(driver_database: str):
    async with Pool(driver_database, 8, "test") as pool:
        node = node_parts(pool, "driver-1")
        with psycopg.connect(driver_database, autocommit=True) as connection:
            name = connection.info.dbname
            connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
            cut_off(connection)
            waiting = asyncio.create_task(node.journal.commit(commit()))
            await until(lambda: node.journal.database.problem() is not None)
            assert "primary" in str(node.journal.database.problem())
            assert not waiting.done()
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
            cut_off(connection)
        async with asyncio.timeout(SECONDS):
            await waiting


def cut_off(connection: psycopg.Connection) -> None:
    """So that everybody connects again, under the changed settings."""
    connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
