"""A daemon of ours as an operator would run it: start, wait until ready, stop, kill."""

import contextlib
import http.client
import os
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path

from devstack.launcher import Launcher
from devstack.processes import LOCALHOST, Process, Program, wait_until

READY_TIMEOUT = 60.0
READY_SECONDS = 2.0
"""For one answer."""


def command(name: str) -> Path:
    """Path of one of this environment's commands: control-plane, hsm-driver, mpc-signer."""
    return Path(sys.executable).parent / name


def clean_environment(**more: str | Path) -> Mapping[str, str]:
    """What a service manager would give a process, and ``more``: nothing of the shell's."""
    kept = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    return kept | {"LANG": "C.UTF-8"} | {key: str(value) for key, value in more.items()}


def says_ready(health_port: int) -> bool:
    """Whether the daemon with this health port says that it does its work."""
    return answers_ready(http.client.HTTPConnection(LOCALHOST, health_port, timeout=READY_SECONDS))


def answers_ready(connection: http.client.HTTPConnection) -> bool:
    """Whether GET /readyz succeeds.

    Not by httpx, whose every client reads all roots of the Web: asked fifty times a second, that
    takes the processor time that the daemon needs to start.
    """
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False


class Service(ABC):
    """One process that can be started again and again."""

    def __init__(self, name: str, launcher: Launcher) -> None:
        self.name = name
        self._launcher = launcher
        self._process: Process | None = None

    @abstractmethod
    def program(self) -> Program:
        """What to run."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it does its work now."""

    @property
    def process(self) -> Process:
        """The running process; RuntimeError when it was not started."""
        if self._process is None:
            raise RuntimeError(f"{self.name} is not running")
        return self._process

    @property
    def is_running(self) -> bool:
        """Whether it was started, and has neither been stopped nor ended by itself."""
        return self._process is not None and self._process.is_alive()

    def start(self, wait: bool = True) -> None:
        """Start; ``wait`` until it is ready. Raises OperatorError when it ends instead."""
        self._process = self._launcher.start(self.program(), signal.SIGTERM)
        if wait:
            self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Raises OperatorError, with the end of the log, when it ends or takes too long."""
        wait_until(self.process, self.is_ready, READY_TIMEOUT)

    def ask_to_stop(self) -> None:
        """Have it finish what is under way and end; harmless when it is not running."""
        if self._process is not None:
            self._process.signal(signal.SIGTERM)
            self._process.signal(signal.SIGCONT)  # one that is paused would not notice

    def finish(self) -> None:
        """Wait until it has ended, and kill it when that takes too long."""
        if self._process is not None:
            self._process.finish()
            self._process = None

    def stop(self) -> None:
        """Ask it to stop, and wait until it has; harmless when it is not running."""
        self.ask_to_stop()
        self.finish()

    def kill(self) -> None:
        """SIGKILL; harmless when it is not running."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def pause(self) -> None:
        """Freeze the process where it is, as a machine that hangs: its connections stay open."""
        self.process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.signal(signal.SIGCONT)


def start_together(services: Sequence[Service]) -> None:
    """Start several at once, and wait until all are ready. Raises OperatorError."""
    for service in services:
        service.start(wait=False)
    for service in services:
        service.wait_until_ready()


def stop_together(services: Sequence[Service]) -> None:
    """Stop several at once."""
    for service in services:
        service.ask_to_stop()
    for service in services:
        service.finish()
