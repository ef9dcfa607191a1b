"""Processes that we start and end: by pid and start time, so that a reused pid is never hit."""

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
"""Below those that outgoing connections take by themselves (ip_local_port_range)."""
TAIL_LINES = 15
STOP_TIMEOUT = 30.0
"""Seconds for what is under way, after a process was asked to end."""

# The kernel ties PR_SET_PDEATHSIG to the thread that forked (prctl(2)): one that lives as long as
# this process does.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")
fork_server = ForkServer()


class ProcessIdentity(BaseModel):
    """A process for as long as it lives: its pid, and its start in clock ticks since boot."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> "ProcessIdentity | None":
        """Identity of a living process; None when there is none, or only a zombie is left."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        fields = stat.rpartition(")")[2].split()  # proc(5): fields 3 and on; the name may hold ')'
        state, started = fields[0], int(fields[19])
        return None if state in "ZX" else cls(pid=pid, started=started)

    def is_alive(self) -> bool:
        return ProcessIdentity.of(self.pid) == self

    def end(self, gently: signal.Signals) -> None:
        """Ask the process to end; kill it when it has not in time."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if not self.is_alive():  # asked after the handle is held: it cannot change hands now
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
    """What to run. ``user``: the unprivileged user to become, where we are root."""

    name: str
    arguments: Sequence[str | Path]
    folder: Path
    log: Path
    environment: Mapping[str, str] | None = None
    user: str | None = None


class Process:
    """A program running in a session of its own, so that Ctrl-C on a terminal is ours to handle.

    ``tied``: the kernel sends it this signal when we end, however that happens; None: it stays.
    ``forked``: our own programs come from the fork server, which saves the time of their imports.
    ``output``: file descriptor of its standard output; None: the log has that too.
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
        """Raise OperatorError, with the end of its log, when the process has ended."""
        code = self._popen.poll()
        if code is not None:
            raise failure(self.program, f"ended with status {code}")

    def wait(self) -> int:
        """Exit status, once it has ended; negative: the signal that ended it."""
        return self._popen.wait()

    def stop(self, gently: signal.Signals = signal.SIGTERM) -> int:
        """End the process and return its exit status; negative: the signal that ended it."""
        self.signal(gently)
        return self.finish()

    def finish(self) -> int:
        """Wait for the end of a process that was asked to; kill it when that takes too long."""
        try:
            return self._popen.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            return self._popen.wait()

    def kill(self) -> None:
        """SIGKILL: nothing of the program's own runs any more."""
        self._popen.kill()
        self._popen.wait()

    def signal(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)  # checks first that it has not ended


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
    """setpriv(1), which replaces itself with the program, so the pid stays the program's."""
    options = []
    if user is not None:
        options += ["--reuid", user, "--regid", user, "--init-groups"]
    if tied is not None:
        options += ["--pdeathsig", tied.name.removeprefix("SIG")]
    return ["setpriv", *options, "--"] if options else []


def run(program: Program, what: str, output: int | None = None) -> None:
    """Run a program to its end. Raises OperatorError, with the end of its log, when it fails."""
    process = Process(program, tied=signal.SIGKILL, output=output)
    try:
        code = process.wait()
    except BaseException:
        process.kill()
        raise
    if code != 0:
        raise failure(program, f"could not {what} (status {code})")


def run_for_output(program: Program, what: str) -> str:
    """Run a program to its end and return what it printed. Raises OperatorError, as ``run``."""
    with tempfile.TemporaryFile() as output:
        run(program, what, output.fileno())
        output.seek(0)
        return output.read().decode()


def failure(program: Program, what: str) -> OperatorError:
    """An error that shows the end of the program's log."""
    return OperatorError(
        f"{program.name} {what}. The end of {program.log}:\n{tail(program.log)}",
        "Correct what the log says, or send it along with a question.",
    )


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """Last lines of a log, indented."""
    try:
        text = log.read_text(errors="replace")
    except FileNotFoundError:
        text = ""
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:]) or "    (empty)"


def wait_until(process: Process, ready: Callable[[], bool], timeout: float) -> None:
    """Poll ``ready`` until it holds. Raises OperatorError when the process ends or time is up."""
    deadline = time.monotonic() + timeout
    while not ready():
        process.check()
        if time.monotonic() > deadline:
            raise failure(process.program, f"was not ready after {timeout:.0f} s")
        time.sleep(0.02)


def free_port() -> int:
    """A TCP port on 127.0.0.1 that was free a moment ago, and that no outgoing connection gets."""
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind((LOCALHOST, port))
            return port
    raise OperatorError("no TCP port is free on 127.0.0.1", "End what listens on them: ss -tln")
