"""A connection lost at each statement that a job needs, before it is done and after it."""

import asyncio
import itertools
import threading
from collections.abc import Iterator

import psycopg
import pytest

from devstack.control_plane import ControlPlaneOptions
from devstack.driver import DriverOptions
from devstack.postgres import Cluster
from devstack.stack import Databases, Stack, StackOptions
from tests.conftest import fresh_database
from tests.faults.cutting_relay import Cut, CuttingRelay, relays
from tests.faults.load import Load, check_databases

CLIENTS = 4
HIT_SECONDS = 10.0
"""How long the next run of a statement may take to come. Some belong to a heartbeat."""


@pytest.fixture(scope="module")
def direct(
    postgres: Cluster, control_plane_template: str, driver_template: str
) -> Iterator[Databases]:
    """URLs past the relays."""
    planes = fresh_database(postgres, control_plane_template)
    drivers = fresh_database(postgres, driver_template)
    yield Databases(next(planes), next(drivers))
    for database in (planes, drivers):
        next(database, None)


@pytest.fixture(scope="module")
def parts(
    direct: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Stack, dict[str, CuttingRelay]]]:
    options = StackOptions(
        control_plane=ControlPlaneOptions(lease_seconds=1, max_lapses=1_000),
        driver=DriverOptions(workers=1),
    )
    with relays(direct.control_plane, direct.driver) as (plane, driver):
        databases = Databases(plane.url, driver.url)
        with Stack(tmp_path_factory.mktemp("lost"), options, databases) as stack:
            yield stack, {"control plane": plane, "driver": driver}


async def wait_for_hit(hit: threading.Event, load: Load) -> bool:
    """Whether the statement ran again, and so was cut."""
    for _ in range(int(HIT_SECONDS / 0.02)):
        if hit.is_set():
            return True
        load.check()
        await asyncio.sleep(0.02)
    return False


async def rehearse(relay: CuttingRelay, load: Load) -> list[str]:
    """The statements that run while wallets are made and keys sign."""
    before = relay.ran.copy()
    await load.wait_for(8 * CLIENTS)
    return list(relay.ran - before)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("name", "written"), [("driver", "journal"), ("control plane", "jobs")])
async def test_every_request_ends_with_one_result_wherever_the_connection_is_lost(
    parts, name, written, everything
):
    stack, by_name = parts
    relay = by_name[name]
    cut_at: set[tuple[str, Cut]] = set()
    async with Load(stack, CLIENTS) as load:
        everything.append(load)
        for text, cut in itertools.product(await rehearse(relay, load), Cut):
            if await wait_for_hit(relay.cut_at(text, cut), load):
                cut_at.add((text, cut))
            relay.spare()  # an update of the clock's difference, for example, may not come again
        await load.wait_for(CLIENTS)
        await load.finish()
        await load.check_results()
    for cut in Cut:
        assert any(f"INSERT INTO {written}" in text for text, how in cut_at if how is cut)
        assert any(text.startswith("COMMIT") for text, how in cut_at if how is cut)
    assert len(cut_at) > 20


@pytest.fixture(scope="module")
def everything() -> list[Load]:
    return []


REFUSE = """
    CREATE SEQUENCE refusals;
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('refusals') <= 3 THEN RAISE EXCEPTION USING ERRCODE = '{code}'; END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON {table} EXECUTE FUNCTION refuse();
"""
PERMIT = "DROP TRIGGER refuse ON {table}; DROP FUNCTION refuse(); DROP SEQUENCE refusals"
REFUSED = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM refusals"
CODES = ["40001", "40P01"]
"""Serialization failure; deadlock (PostgreSQL's manual, appendix A)."""
TABLES = ["driver.journal", "driver.audit", "driver.wrapped_keys", "plane.jobs", "plane.keys"]


async def test_what_the_server_refuses_for_now_is_done_again(parts, direct, everything):
    """The server's own refusal: a trigger raises what it raises of concurrent transactions."""
    stack, _ = parts
    async with Load(stack, CLIENTS) as load:
        everything.append(load)
        for place, code in itertools.product(TABLES, CODES):
            database, table = place.split(".")
            url = direct.driver if database == "driver" else direct.control_plane
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(REFUSE.format(code=code, table=table).encode())
                async with asyncio.timeout(2 * HIT_SECONDS):
                    while connection.execute(REFUSED).fetchone() == (0,):
                        load.check()
                        await asyncio.sleep(0.02)
                await load.wait_for(CLIENTS)
                connection.execute(PERMIT.format(table=table).encode())
        await load.finish()
        await load.check_results()


def test_at_the_end_both_databases_tell_the_same(parts, everything):
    stack, _ = parts
    for service in [*stack.drivers, *stack.control_planes]:
        assert service.process.is_alive()
    check_databases(stack, everything)
