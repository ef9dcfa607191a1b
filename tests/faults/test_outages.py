"""Work continues, and nothing is lost, when a database or the control plane stops under load."""

import asyncio
from collections.abc import Callable, Iterator

import pytest

from devstack.control_plane import ControlPlaneOptions
from devstack.driver import DriverOptions
from devstack.stack import Stack, StackOptions
from tests.faults.load import Load, check_databases

CLIENTS = 8
AWAY_SECONDS = 2.0
BACK_SECONDS = 45.0
"""How long the next results may take once everything is there again."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Durable: a server that is killed must still have what it said that it has."""
    options = StackOptions(
        separate_clusters=True,
        replicas=2,
        drivers=2,
        control_plane=ControlPlaneOptions(lease_seconds=2),
        driver=DriverOptions(workers=1),
    )
    with Stack(tmp_path_factory.mktemp("outages"), options) as stack:
        yield stack


@pytest.fixture(scope="module")
def everything() -> list[Load]:
    """All loads of this module, for what is checked at its end."""
    return []


def control_plane_database(stack: Stack, how: str) -> tuple[Callable[[], None], ...]:
    cluster = stack.clusters[0]
    return (cluster.stop if how == "stopped" else cluster.kill), cluster.start


def driver_database(stack: Stack, how: str) -> tuple[Callable[[], None], ...]:
    cluster = stack.clusters[1]
    return (cluster.stop if how == "stopped" else cluster.kill), cluster.start


def both_databases(stack: Stack, how: str) -> tuple[Callable[[], None], ...]:
    parts = [control_plane_database(stack, how), driver_database(stack, how)]

    def down() -> None:
        for stop, _ in parts:
            stop()

    def up() -> None:
        for _, start in parts:
            start()

    return down, up


def control_plane(stack: Stack, how: str) -> tuple[Callable[[], None], ...]:
    def down() -> None:
        for replica in stack.control_planes:
            if how == "stopped":
                replica.stop()
            else:
                replica.kill()

    def up() -> None:
        for replica in stack.control_planes:
            replica.start()

    return down, up


def one_replica(stack: Stack, how: str) -> tuple[Callable[[], None], ...]:
    replica = stack.control_planes[1]
    return (replica.stop if how == "stopped" else replica.kill), replica.start


PARTS = [control_plane_database, driver_database, both_databases, control_plane, one_replica]


@pytest.mark.parametrize("how", ["stopped", "killed"])
@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
async def test_work_goes_on_by_itself_and_nothing_is_lost(stack, everything, part, how):
    down, up = part(stack, how)
    others = {driver.node_id: driver.process.pid for driver in stack.drivers}
    if part not in (control_plane, one_replica):
        others |= {replica.name: replica.process.pid for replica in stack.control_planes}

    async with Load(stack, CLIENTS) as load:
        everything.append(load)
        await load.wait_for(CLIENTS)
        await asyncio.to_thread(down)
        await asyncio.sleep(AWAY_SECONDS)  # the outage, under load
        load.check()
        await asyncio.to_thread(up)
        await load.wait_for(3 * CLIENTS, BACK_SECONDS)
        await load.finish()
        await load.check_results()

    assert (
        others.items()
        <= {
            service.name: service.process.pid for service in [*stack.drivers, *stack.control_planes]
        }.items()
    )
    for driver in stack.drivers:
        assert driver.process.is_alive()


def test_at_the_end_both_databases_tell_the_same(stack, everything):
    check_databases(stack, everything)
