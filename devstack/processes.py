"""Start and end of processes, by pid and start time: a reused pid never gets a signal."""

import contextlib
import os
import random
import select
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from custody.runtime.errors import OperatorError
from devstack.fork_server import ForkedProcess, ForkServer, can_fork

LOCALHOST = "127.0.0.1"
PORTS = range(15_000, 32_000)
"""Ports below the range of outgoing connections (ip_local_port_range)."""
TAIL_LINES = 15
STOP_TIMEOUT = 30.0
"""Seconds that a process has to finish its work after it was asked to end."""

# The kernel ties PR_SET_PDEATHSIG to the thread that forked (prctl(2)), so the thread must live as
# long as this process.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")
fork_server = ForkServer()


class ProcessIdentity(BaseModel):
    """The identity of a running process: its pid, and its start in clock ticks since boot."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> "ProcessIdentity | None":
        """Return the identity of a running process; None if it has ended, also for a zombie."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        fields = stat.rpartition(")")[2].split()  # proc(5): from field 3 on; the name may hold ')'
        state, started = fields[0], int(fields[19])
        return None if state in "ZX" else cls(pid=pid, started=started)

    def is_alive(self) -> bool:
        return ProcessIdentity.of(self.pid) == self

    def end(self, gently: signal.Signals) -> None:
        """Ask the process to end; kill it if it does not end in time."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if not self.is_alive():  # checked again: the handle keeps the pid from being reused
                return
            for number, patience in ((gently, STOP_TIMEOUT), (signal.SIGKILL, STOP_TIMEOUT)):
                signal.pidfd_send_signal(handle, number)
                if select.select([handle], [], [], patience)[0]:
                    return
        except ProcessLookupError:
            return
        finally:
            os.close(handle)


@dataclass(frozen=True)
class Program:
    """A program to run. ``user``: the unprivileged user who runs it, if this process is root."""

    name: str
    arguments: Sequence[str | Path]
    folder: Path
    log: Path
    environment: Mapping[str, str] | None = None
    user: str | None = None


class Process:
    """A program that runs in its own session: Ctrl-C on a terminal reaches only this process.

    ``tied``: the signal that the kernel sends it when this process ends; None: it keeps running.
    ``forked``: the fork server starts our own programs, which saves the time of their imports.
    ``output``: file descriptor of its standard output; None: the log.
    """

    def __init__(
        self,
        program: Program,
        tied: signal.Signals | None = None,
        *,
        forked: bool = True,
        output: int | None = None,
    ) -> None:
        self.program = program
        self._popen = _spawner.submit(_spawn, program, tied, forked, output).result()
        identity = ProcessIdentity.of(self._popen.pid)
        self.identity = identity or ProcessIdentity(pid=self._popen.pid, started=0)

    @property
    def name(self) -> str:
        return self.program.name

    @property
    def pid(self) -> int:
        return self._popen.pid

    def is_alive(self) -> bool:
        return self._popen.poll() is None

    def check(self) -> None:
        """Raise OperatorError, with the end of the process's log, if the process has ended."""
        code = self._popen.poll()
        if code is not None:
            raise failure(self.program, f"ended with status {code}")

    def wait(self) -> int:
        """Wait for the end of the process. Return its exit status; negative: the signal."""
        return self._popen.wait()

    def stop(self, gently: signal.Signals = signal.SIGTERM) -> int:
        """End the process. Return its exit status; negative: the signal."""
        self.signal(gently)
        return self.finish()

    def finish(self) -> int:
        """Wait for the end of a process that was asked to end; kill it if that takes too long."""
        try:
            return self._popen.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            return self._popen.wait()

    def kill(self) -> None:
        """Send SIGKILL: the program cannot clean up."""
        self._popen.kill()
        self._popen.wait()

    def signal(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)  # sends nothing if the process has ended


def _spawn(
    program: Program, tied: signal.Signals | None, forked: bool, output: int | None
) -> "subprocess.Popen[bytes] | ForkedProcess":
    program.log.parent.mkdir(parents=True, exist_ok=True)
    with program.log.open("ab") as log:
        shown = log.fileno() if output is None else output
        if forked and program.environment is not None and can_fork(program.arguments):
            return fork_server.spawn(
                program.arguments,
                program.folder,
                program.environment,
                outputs=(shown, log.fileno()),
                tied=tied,
            )
        return subprocess.Popen(
            [*_setpriv(program.user, tied), *map(str, program.arguments)],
            cwd=program.folder,
            env=None if program.environment is None else dict(program.environment),
            stdin=subprocess.DEVNULL,
            stdout=shown,
            stderr=log,
            start_new_session=True,
        )


def _setpriv(user: str | None, tied: signal.Signals | None) -> list[str]:
    """Return a setpriv(1) command: setpriv executes the program, which keeps the pid."""
    options = []
    if user is not None:
        options += ["--reuid", user, "--regid", user, "--init-groups"]
    if tied is not None:
        options += ["--pdeathsig", tied.name.removeprefix("SIG")]
    return ["setpriv", *options, "--"] if options else []


def run(program: Program, what: str, output: int | None = None) -> None:
    """Run a program to its end. Raise OperatorError with the end of its log if it fails."""
    process = Process(program, tied=signal.SIGKILL, output=output)
    try:
        code = process.wait()
    except BaseException:
        process.kill()
        raise
    if code != 0:
        raise failure(program, f"could not {what} (status {code})")


def run_for_output(program: Program, what: str) -> str:
    """Run a program to its end and return its output. Raise OperatorError, as ``run``."""
    with tempfile.TemporaryFile() as output:
        run(program, what, output.fileno())
        output.seek(0)
        return output.read().decode()


def failure(program: Program, what: str) -> OperatorError:
    """Return an error that shows the end of the program's log."""
    return OperatorError(
        f"{program.name} {what}. The end of {program.log}:\n{tail(program.log)}",
        "Correct the fault that the log shows. If you cannot, report it together with the log.",
    )


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """Return the last lines of a log, indented."""
    try:
        text = log.read_text(errors="replace")
    except FileNotFoundError:
        text = ""
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:]) or "    (empty)"


def wait_until(process: Process, ready: Callable[[], bool], timeout: float) -> None:
    """Poll ``ready`` until it is true. Raise OperatorError if the process ends or time is up."""
    deadline = time.monotonic() + timeout
    while not ready():
        process.check()
        if time.monotonic() > deadline:
            raise failure(process.program, f"was not ready after {timeout:.0f} s")
        time.sleep(0.02)


def free_port() -> int:
    """Return a free TCP port on 127.0.0.1, outside of the range of outgoing connections."""
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind((LOCALHOST, port))
            return port
    raise OperatorError(
        "no TCP port is free on 127.0.0.1", "End processes that listen on ports: ss -tln"
    )
