"""The rewrap of all keys killed at each stage, while the driver signs and makes keys."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from devstack.certificates import Certificates
from devstack.driver import Driver, DriverOptions
from devstack.launcher import Tied
from devstack.processes import run_for_output
from devstack.s3 import S3Server
from devstack.stack import Stack, StackOptions
from hsm_driver.rewrap import Stage
from tests.faults import killing_rewrap
from tests.faults.load import Load, check_databases
from tests.faults.test_killed_driver import (
    audit_verify,
    token_objects,
    wait_until_nothing_is_left_of,
)

IN_FLIGHT = 4
KILLS = [(Stage.WRAPPED, 5), (Stage.PROVED, 5), (Stage.COPIED, 1), (Stage.COMMITTED, 1)]
"""The stage, and which time: the trial of each kind of keys wraps and proves three keys before."""
PREFIX = "hsm/"


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    leaf = Certificates(tmp_path / "s3-pki").server("s3")
    s3 = S3Server(tmp_path / "s3", tmp_path / "s3.log", Tied(), leaf)
    s3.start()
    try:
        s3.add_user("driver", tmp_path / "credentials")
        reads = ("s3:GetObject", "s3:ListBucket")
        s3.create_bucket("copies", {"driver": PREFIX}, more_actions=reads)
        section = s3.section("copies", PREFIX, tmp_path / "credentials")
        driver = DriverOptions(workers=1, rewrappable=True, more={"key_copies": section})
        with Stack(tmp_path / "stack", StackOptions(durable=False, driver=driver)) as stack:
            yield stack
    finally:
        s3.kill()


def under(stack: Stack) -> dict[str, int]:
    """Return the number of keys under each master key."""
    with psycopg.connect(stack.databases.driver) as connection:
        found = connection.execute("SELECT master_key, count(*) FROM wrapped_keys GROUP BY 1")
        return dict(found.fetchall())


def killed_at(driver: Driver, stage: Stage, nth: int) -> None:
    """Run a command that kills itself, and wait until its workers have ended too."""
    program = driver.program_of([sys.executable, "-m", killing_rewrap.__name__])
    arguments = [*program.arguments, driver.config, stage.value, str(nth)]
    process = subprocess.Popen(
        arguments,
        cwd=Path(__file__).parents[2],
        env=dict(program.environment or {}),
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    _, said = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, f"at {stage}: {said}"
    wait_until_nothing_is_left_of(process.pid)


@pytest.mark.timeout(600)
async def test_no_key_is_lost_wherever_the_rewrap_is_killed_while_the_driver_signs(stack: Stack):
    driver = stack.drivers[0]
    async with Load(stack, IN_FLIGHT) as load:
        await load.wait_for(4 * IN_FLIGHT)
        driver.run("make the next version", "master-key", "generate")
        names = ("custody/2", "custody-host/2")
        driver.run("adopt it", "master-key", "adopt", *names, "--yes")
        driver.run("confirm", "master-key", "confirm-backup", "--place", "a copy of the folder")
        driver.stop()
        driver.start()
        objects = token_objects(stack)
        for stage, nth in KILLS:
            await asyncio.to_thread(killed_at, driver, stage, nth)
            load.check()
        left = under(stack)
        assert left.keys() - set(names), "the commands that were killed have left nothing to do"

        command = driver.command("master-key", "rewrap", "--yes", "--retire", "--json")
        report = json.loads(
            await asyncio.to_thread(run_for_output, driver.program_of(command), "rewrap")
        )
        assert (report["failed"], report["left"]) == ([], 0)
        assert report["rewrapped"] == sum(left[name] for name in left if name not in names)
        assert report["retired"] == ["custody-host/1", "custody/1"]
        await load.wait_for(IN_FLIGHT)  # the driver continues, though it knows the retired version
        driver.stop()
        driver.start()
        await load.wait_for(IN_FLIGHT)
        await load.finish()
        await load.check_results()
    assert under(stack).keys() == set(names)
    assert token_objects(stack) == objects
    check_databases(stack, [load])
    driver.run("sign with each key", "keys", "verify")
    driver.stop()
    await require_copies(stack, driver)
    driver.start()
    audit_verify(stack, driver)


async def require_copies(stack: Stack, driver: Driver) -> None:
    """Make the table again from the copies: each row is what it was."""
    read = "SELECT key_id, master_key, wrapped FROM wrapped_keys ORDER BY key_id"
    with psycopg.connect(stack.databases.driver, autocommit=True) as connection:
        before = connection.execute(read).fetchall()
        connection.execute("DELETE FROM wrapped_keys")
        await asyncio.to_thread(driver.run, "rebuild", "backup", "rebuild-from-s3")
        assert connection.execute(read).fetchall() == before
