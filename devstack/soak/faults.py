"""The faults of a soak run. Each one breaks a part and brings it back, as an operator would."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from custody.pki.directory import NODES
from devstack.processes import Program, run
from devstack.service import Service, clean_environment, command
from devstack.stack import Stack

AWAY_SECONDS = 3.0
"""How long a killed part stays away."""


@dataclass(frozen=True)
class Fault:
    """``cause`` breaks a part of the stack and brings it back."""

    name: str
    cause: Callable[[], None]


def faults(stack: Stack) -> list[Fault]:
    """Return the faults of a stack, in the order in which they happen."""
    (driver,), signers = stack.drivers, stack.signers
    return [
        Fault("HSM worker killed", lambda: _kill_worker(driver)),
        Fault("signer killed", lambda: _kill(signers.all[-1])),
        Fault("delivery server killed", lambda: _kill(signers.delivery_servers[-1])),
        Fault("certificate renewed", lambda: _renew(stack, driver.node_id)),
        Fault("database restarted", lambda: _restart_databases(stack)),
    ]


def children(pid: int) -> Sequence[int]:
    """Return the pids of the processes that a process has started."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(child) for child in task.read_text().split()]
    return found


def _kill_worker(driver: Service) -> None:
    workers = children(driver.process.pid)
    if not workers:
        raise RuntimeError(f"{driver.name} has no HSM worker")
    os.kill(workers[0], signal.SIGKILL)


def _kill(service: Service) -> None:
    service.kill()
    time.sleep(AWAY_SECONDS)
    service.start()


def _restart_databases(stack: Stack) -> None:
    for cluster in stack.clusters:
        cluster.stop()
        cluster.start()


def _renew(stack: Stack, node_id: str) -> None:
    """Renew a node's certificate with the commands of docs/how-to/certificates.md."""
    authority = stack.certificates.folder
    host = authority / NODES / node_id
    signed = stack.folder / f"{node_id}-renewed.pem"
    signed.unlink(missing_ok=True)
    request = host / "pending" / "request.pem"
    steps: list[list[str | Path]] = [
        ["renew", "--folder", host],
        ["sign", "node", node_id, request, "--out", signed, "--dir", authority],
        ["install", signed, "--folder", host],
    ]
    for arguments in steps:
        line: list[str | Path] = [command("pki"), *arguments]
        program = Program("pki", line, stack.folder, stack.log("pki"), clean_environment())
        run(program, f"run pki {arguments[0]}")
