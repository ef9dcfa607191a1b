"""Certificates are renewed, and SIGHUP is sent, under load: no daemon ends, and nothing is lost."""

import json
import shutil
import signal
from functools import partial
from pathlib import Path

import httpx

from devstack.certificates import Leaf
from devstack.processes import LOCALHOST, run_for_output
from devstack.service import Service
from devstack.stack import Stack
from tests.faults.load import Load
from tests.waiting import until

TAKEN = "TLS files taken up"
READ = "TLS files read again, after SIGHUP"


def said(log: Path, what: str, use: str = "") -> int:
    """Return how many lines of a log say something, of one use of TLS."""
    return sum(what in line and use in line for line in log.read_text().splitlines())


def replace(old: Leaf, new: Leaf) -> None:
    for name in ("private_key", "certificate"):
        path = getattr(old, name)
        fresh = path.with_suffix(".fresh")
        shutil.copy(getattr(new, name), fresh)
        fresh.replace(path)


async def test_nothing_is_lost_by_renewals_and_hangups(stack: Stack):
    driver = stack.drivers[0]
    planes: dict[Service, Path] = {each: each.log for each in stack.control_planes}
    daemons: dict[Service, Path] = {**planes, **{each: each.log for each in stack.drivers}}
    pids = {each: each.process.pid for each in daemons}
    servers = stack.certificates.folder / "servers"
    async with Load(stack) as load:
        await load.wait_for(20)
        renewed = stack.certificates.server("renewed")
        replace(Leaf.of(servers / "public-api"), renewed)
        replace(Leaf.of(servers / "node-api"), renewed)
        nodes = stack.certificates.folder / "nodes" / driver.node_id
        mine = nodes.rename(nodes.with_name("old"))
        new = stack.certificates.node(driver.node_id)
        kept = nodes.rename(nodes.with_name("new"))
        mine.rename(nodes)
        replace(Leaf.of(nodes), Leaf.of(kept))
        assert new.certificate.parent == nodes
        taken = [(driver.log, "control_plane")]
        taken += [(log, use) for log in planes.values() for use in ("public_api", "node_api")]
        for log, use in taken:
            await until(partial(said, log, TAKEN, use))
        for times in (1, 2, 3):
            for each in daemons:
                each.process.signal(signal.SIGHUP)
            await until(lambda: all(said(log, READ) >= times for log in daemons.values()))  # noqa: B023
            await load.wait_for(10)
        await load.finish()
        await load.check_results()
        assert load.unavailable == 0
    assert {each: each.process.pid for each in daemons} == pids
    assert all(each.is_running for each in daemons)


def test_days_left_are_metrics_and_part_of_doctor(stack: Stack):
    control_plane, driver = stack.control_planes[0], stack.drivers[0]
    for port, use in (
        (control_plane.metrics_port, "node_api"),
        (driver.health_port, "control_plane"),
    ):
        shown = httpx.get(f"http://{LOCALHOST}:{port}/metrics").text
        for role in ("leaf", "intermediate", "root"):
            assert f'custody_certificate_days_left{{role="{role}",use="{use}"}} 29.9' in shown
    found = json.loads(run_for_output(control_plane._program("doctor", "--json"), "check"))
    assert {
        check["name"]: check["status"] for check in found if "certificate" in check["name"]
    } == {
        "certificate public_api": "ok",
        "certificate node_api": "ok",
    }
    assert {check["name"] for check in found if check["status"] == "fail"} == set()
