"""A daemon, run as an operator would run it: start, wait until ready, stop, kill."""

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
"""Timeout of one request."""


def command(name: str) -> Path:
    """Return the path of a command of this environment: control-plane, hsm-driver, mpc-signer."""
    return Path(sys.executable).parent / name


def clean_environment(**more: str | Path) -> Mapping[str, str]:
    """Return the environment that a service manager would give, plus ``more``.

    Variables of OpenTelemetry stay, so that a local stack can be traced.
    """
    kept = {
        key: value
        for key, value in os.environ.items()
        if key in ("PATH", "HOME") or key.startswith("OTEL_")
    }
    return kept | {"LANG": "C.UTF-8"} | {key: str(value) for key, value in more.items()}


def says_ready(health_port: int) -> bool:
    """Return whether the daemon with this health port says that it is ready."""
    return answers_ready(http.client.HTTPConnection(LOCALHOST, health_port, timeout=READY_SECONDS))


def answers_ready(connection: http.client.HTTPConnection) -> bool:
    """Return whether GET /readyz succeeds.

    Each client of httpx reads all root certificates of the Web. At fifty requests a second, httpx
    would take the processor time that the daemon needs to start.
    """
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False


class Service(ABC):
    """One process that can be started several times."""

    def __init__(self, name: str, launcher: Launcher) -> None:
        self.name = name
        self._launcher = launcher
        self._process: Process | None = None

    @abstractmethod
    def program(self) -> Program:
        """Return the program to run."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Return whether the process is ready for work."""

    @property
    def process(self) -> Process:
        """Return the running process. Raise RuntimeError if it was not started."""
        if self._process is None:
            raise RuntimeError(f"{self.name} is not running")
        return self._process

    @property
    def is_running(self) -> bool:
        """Return whether the process runs."""
        return self._process is not None and self._process.is_alive()

    def start(self, wait: bool = True) -> None:
        """Start the process. With ``wait``, wait until it is ready, or raise OperatorError."""
        self._process = self._launcher.start(self.program(), signal.SIGTERM)
        if wait:
            self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Wait until the process is ready. Raise OperatorError if it ends or takes too long."""
        wait_until(self.process, self.is_ready, READY_TIMEOUT)

    def ask_to_stop(self) -> None:
        """Ask the process to finish its work and end. Do nothing if it is not running."""
        if self._process is not None:
            self._process.signal(signal.SIGTERM)
            self._process.signal(signal.SIGCONT)  # a paused process handles no SIGTERM

    def finish(self) -> None:
        """Wait until the process has ended; kill it if that takes too long."""
        if self._process is not None:
            self._process.finish()
            self._process = None

    def stop(self) -> None:
        """Ask the process to end, and wait for that. Do nothing if it is not running."""
        self.ask_to_stop()
        self.finish()

    def kill(self) -> None:
        """Send SIGKILL. Do nothing if the process is not running."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def pause(self) -> None:
        """Suspend the process, as if its machine hung: its connections stay open."""
        self.process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.signal(signal.SIGCONT)


def start_together(services: Sequence[Service]) -> None:
    """Start several services at once, and wait until all are ready. Raise OperatorError."""
    for service in services:
        service.start(wait=False)
    for service in services:
        service.wait_until_ready()


def stop_together(services: Sequence[Service]) -> None:
    """Stop several services at once."""
    for service in services:
        service.ask_to_stop()
    for service in services:
        service.finish()
