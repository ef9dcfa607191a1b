"""The PIN of the token changes while a driver signs: docs/how-to/rotate-the-pin.md."""

import os
import signal
import subprocess
import time
from pathlib import Path

from custody.client import Network
from custody.pkcs11.worker_process import WORKER_MODULE
from custody.runtime.configuration import replace_file
from devstack.driver import Driver, DriverOptions
from devstack.stack import Stack
from tests.commands import run_command

SECONDS = 40
WORKERS = 2
NEW_PIN = "5678-new"


def change_pin(stack: Stack, old: str) -> None:
    subprocess.run(
        [
            "pkcs11-tool", "--module", stack.token.module, "--token-label", stack.token.label,
            "--login", "--pin", old, "--change-pin", "--new-pin", NEW_PIN,
        ],
        env={**os.environ, "SOFTHSM2_CONF": str(stack.token.configuration)},
        check=True,
        capture_output=True,
    )  # fmt: skip


def workers_of(driver: int) -> set[int]:
    """Return the ids of the driver's HSM workers."""
    children = Path(f"/proc/{driver}/task").glob("*/children")
    ids = {int(each) for path in children for each in _content(path).split()}
    return {
        each for each in ids if WORKER_MODULE.encode() in _content(Path(f"/proc/{each}/cmdline"))
    }


def wait_for_workers(driver: Driver, before: set[int]) -> None:
    """Wait until the driver has two workers that are not in ``before``."""
    deadline = time.monotonic() + SECONDS
    while len(workers_of(driver.process.pid) - before) < WORKERS:
        assert time.monotonic() < deadline, driver.log.read_text()
        time.sleep(0.1)


def _content(path: Path) -> bytes:
    """Return the content of a file in /proc; nothing if its thread or process has ended."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def test_a_driver_signs_before_during_and_after_the_change(make_stack) -> None:
    stack: Stack = make_stack(drivers=1, driver=DriverOptions(workers=WORKERS))
    [driver] = stack.drivers
    old = stack.token.pin_file.read_text()
    wait_for_workers(driver, set())  # a driver is ready with its first worker
    with stack.client() as custody:
        key = custody.create_wallet(Network.ETHEREUM).key_id
        change_pin(stack, old)
        custody.sign_message(key, "the workers are logged in")
        replace_file(stack.token.pin_file, NEW_PIN.encode(), like_old=True)
        before = workers_of(driver.process.pid)
        for worker in before:
            os.kill(worker, signal.SIGKILL)
        custody.sign_message(key, "by workers with the new PIN", wait=SECONDS)
        wait_for_workers(driver, before)
    checked = run_command(driver.command("master-key", "check"), driver.program().environment)
    assert checked.returncode == 0, checked.stdout + checked.stderr
