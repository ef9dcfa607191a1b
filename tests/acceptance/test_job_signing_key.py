"""The job-signing key is replaced while applications sign: no request fails."""

import base64
import json
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from custody.client import Custody, Network
from custody.wire.resources import SignatureStatus
from custody.wire.signed_bytes import signing_key_id
from devstack.control_plane import ControlPlane, ControlPlaneOptions
from devstack.service import Service
from devstack.stack import Stack
from tests.commands import run_command

SECONDS = 40
QUICK = ControlPlaneOptions(lease_seconds=5)
"""A job that a restart interrupts goes to the other driver soon."""


class Load:
    """Signs with each key again and again, at each replica, until told to stop."""

    def __init__(self, stack: Stack, keys: list[UUID]) -> None:
        self._stack = stack
        self._stop = threading.Event()
        self.signed = dict.fromkeys(keys, 0)
        self.failures: list[str] = []

    def work(self, key: UUID, replica: int) -> None:
        with self._stack.client(replica=replica) as custody:
            number = 0
            while not self._stop.is_set():
                number += 1
                time.sleep(0.1)  # a steady load; the rest of the processors is for the restarts
                try:
                    self._sign(custody, key, f"{key}-{replica}-{number}")
                except Exception as error:
                    self.failures.append(f"{replica}-{number}: {error!r}")

    def _sign(self, custody: Custody, key: UUID, name: str) -> None:
        made = custody.sign_message(key, name, external_id=name, wait=SECONDS)
        assert made.status is SignatureStatus.SIGNED, made
        self.signed[key] += 1

    @contextmanager
    def running(self) -> Iterator[None]:
        threads = [
            threading.Thread(target=self.work, args=(key, replica))
            for key in self.signed
            for replica in (0, 1)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def wait_for_another(self) -> None:
        """Wait until each key has signed once more."""
        before = dict(self.signed)
        deadline = time.monotonic() + SECONDS
        while any(self.signed[key] < before[key] + 1 for key in before):
            assert time.monotonic() < deadline, (before, self.signed, self.failures)
            time.sleep(0.05)


def run(control_plane: ControlPlane, *words: str, status: int = 0) -> str:
    done = run_command(control_plane.command("job-signing-key", *words))
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def public_keys(control_plane: ControlPlane, status: int = 0) -> dict[str, str]:
    shown = json.loads(run(control_plane, "status", "--json", status=status))
    return {name: key["public_key"] for name, key in shown["keys"].items()}


def wait_until(control_plane: ControlPlane, has_come: Callable[[Any], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not has_come(shown := _status(control_plane)):
        assert time.monotonic() < deadline, shown
        time.sleep(0.5)


def _status(control_plane: ControlPlane) -> Any:
    done = run_command(control_plane.command("job-signing-key", "status", "--json"))
    return json.loads(done.stdout)


def restart(services: Sequence[Service]) -> None:
    for service in services:
        service.stop()
        service.start()


def pin(stack: Stack, keys: list[str]) -> None:
    """Pin these keys at each driver, which reads them again after SIGHUP."""
    pinned = f"job_signing_keys = {json.dumps(keys)}"
    for driver in stack.drivers:
        before = driver.config.read_text()
        driver.config.write_text(
            re.sub(r"^job_signing_keys = .*$", pinned, before, flags=re.MULTILINE)
        )
        driver.process.signal(signal.SIGHUP)


def test_the_key_is_replaced_under_load(make_stack) -> None:
    stack: Stack = make_stack(replicas=2, drivers=2, control_plane=QUICK)
    first, second = stack.control_planes
    with stack.client() as custody:
        wallet = custody.create_wallet(Network.ETHEREUM)
    load = Load(stack, [wallet.key_id])
    with load.running():
        load.wait_for_another()
        run(first, "next")
        assert "do not pin the key" in run(first, "switch", status=1)
        keys = public_keys(first, status=1)
        old, new = keys["current"], keys["next"]
        pids = [driver.process.pid for driver in stack.drivers]
        pin(stack, [old, new])
        wait_until(first, lambda shown: bool(shown["ready_to_switch"]))
        run(first, "switch")
        assert public_keys(first) == {"current": new, "previous": old}
        restart([second])  # from here on the two replicas sign with different keys
        load.wait_for_another()
        restart([first])
        load.wait_for_another()
        old_id = signing_key_id(base64.b64decode(old))
        wait_until(
            first,
            lambda shown: old_id not in {each["signing_key_id"] for each in shown["unfinished"]},
        )
        pin(stack, [new])
        new_id = signing_key_id(base64.b64decode(new))
        wait_until(
            first,
            lambda shown: all(each["job_signing_keys"] == [new_id] for each in shown["pins"]),
        )
        load.wait_for_another()
        assert [driver.process.pid for driver in stack.drivers] == pids, "a driver was restarted"
    assert load.failures == []
