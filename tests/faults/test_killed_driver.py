"""The driver killed at each stage of a job, again and again, with requests in flight."""

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from custody.node.loop import STAGES, Stage
from devstack.control_plane import ControlPlaneOptions
from devstack.driver import Driver, DriverOptions
from devstack.service import clean_environment
from devstack.stack import Stack, StackOptions
from tests.commands import run_command
from tests.faults import killing_driver
from tests.faults.load import Load, check_databases

IN_FLIGHT = 8
KILLS_PER_STAGE = int(os.environ.get("CUSTODY_KILLS_PER_STAGE", "4"))
"""Fewer while working on something else than this."""


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    options = StackOptions(
        durable=False,
        control_plane=ControlPlaneOptions(lease_seconds=1, max_lapses=1_000),
        driver=DriverOptions(workers=1),
    )
    with Stack(tmp_path, options) as stack:
        yield stack


def processes_of(session: int) -> list[int]:
    """Living processes of a session: each driver leads one, and its workers belong to it."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()  # proc(5): fields 3 and on
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == session and fields[0] not in "ZX":
            found.append(int(stat.parent.name))
    return found


def wait_until_nothing_is_left_of(session: int, seconds: float = 3) -> None:
    deadline = time.monotonic() + seconds
    while left := processes_of(session):
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(0.02)


def token_objects(stack: Stack) -> list[str]:
    """Every object on the token, private ones too, without what differs from run to run."""
    arguments: list[str | Path] = ["pkcs11-tool", "--module", stack.token.module]
    arguments += ["--token-label", stack.token.label, "--login"]
    arguments += ["--pin", stack.token.pin_file.read_text(), "--list-objects"]
    listed: subprocess.CompletedProcess[str] = subprocess.run(
        arguments,
        env=dict(clean_environment(SOFTHSM2_CONF=stack.token.configuration)),
        capture_output=True,
        text=True,
        check=True,
    )
    return listed.stdout.splitlines()


def kill_at(driver: Driver, stage: Stage, plan: Path, nth: int = 1) -> None:
    """Have the driver's next starts end when a job does that stage for the nth time."""
    plan.write_text(killing_driver.Plan(stage=stage, nth=nth).model_dump_json())
    driver.run_command = [sys.executable, killing_driver.__file__, driver.config, plan]


@pytest.mark.timeout(1200)
async def test_every_request_ends_with_one_result_wherever_the_driver_is_killed(stack, tmp_path):
    driver = stack.drivers[0]
    plan = tmp_path / "plan.json"
    objects = token_objects(stack)
    driver.stop()
    killed: Counter[str] = Counter()
    driver.start()
    async with Load(stack, IN_FLIGHT) as load:
        await load.wait_for(IN_FLIGHT)
        driver.stop()
        for number, stage in itertools.product(range(KILLS_PER_STAGE), STAGES):
            kill_at(driver, stage, plan, nth=1 + 2 * number % IN_FLIGHT)
            status, session = await asyncio.to_thread(run_to_its_end, driver)
            assert status == -signal.SIGKILL, f"at {stage}: see {driver.log}"
            wait_until_nothing_is_left_of(session)
            load.check()
            killed[stage] += 1
        plan.unlink()
        driver.start()
        await load.finish()
        await load.check_results()
    assert killed == dict.fromkeys(STAGES, KILLS_PER_STAGE)

    driver.stop()
    check_databases(stack, [load])
    assert token_objects(stack) == objects
    driver.start()
    audit_verify(stack, driver)


def run_to_its_end(driver: Driver) -> tuple[int, int]:
    """Start the driver and wait for its end. Returns its status and its session."""
    driver.start(wait=False)
    process = driver.process
    return process.wait(), process.pid


def audit_verify(stack: Stack, driver: Driver) -> None:
    environment = clean_environment(SOFTHSM2_CONF=stack.token.configuration)
    done = run_command(driver.command("audit", "verify"), environment)
    assert done.returncode == 0, done.stdout + done.stderr
