"""Starts our own programs by fork from one process that has imported their modules.

The imports of one of our Python processes take two to three seconds of processor time. A stack has
up to nine daemons and runs seven commands before them, and tests start many daemons.
So one server imports all modules, once, and forks a child for each program. The child gets the
program's arguments, environment, folder and log, and calls the program's entry point. Children
share imports and nothing else: the server has one thread, opens no connection and draws no random
number.
"""

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import entry_points
from pathlib import Path

from custody.runtime.hardening import die_with_parent

ENVIRONMENT = Path(sys.executable).parent
PROGRAMS = ("control-plane", "hsm-driver", "mpc-delivery", "mpc-signer", "pki")
PRELOADED = (
    "alembic.command",
    "botocore.session",
    "custody.backup.creation",
    "custody.control_plane.access.nodes",
    "custody.control_plane.cli",
    "custody.control_plane.job_signing_key.commands",
    "custody.control_plane.reconcile.reconcile",
    "custody.control_plane.serve",
    "custody.delivery.cli",
    "custody.delivery.doctor",
    "custody.delivery.server",
    "custody.migrations.environment",
    "custody.migrations.schema",
    "custody.node.chain_verification",
    "custody.pkcs11.administration",
    "custody.pki.certificates",
    "custody.pki.cli",
    "custody.pki.directory",
    "custody.s3.bucket",
    "hsm_driver.cli",
    "hsm_driver.doctor",
    "hsm_driver.driver",
    "mpc.cli",
    "mpc.doctor",
    "mpc.layer4.backfill",
    "mpc.signer",
    "sqlalchemy.dialects.postgresql.psycopg",
)
"""Modules to import once. Each child imports a module that is missing here, which costs time."""
INHERITED = ("PATH", "HOME", "PYTHONPATH")
"""Variables of the server alone: a child has the environment of its request. `make mutants` sets
PYTHONPATH, so that the programs run the changed code."""
TITLE_BYTES = 1000
"""Room for the arguments of a child, which ps reads at a fixed place in the server's memory."""
MAX_REQUEST = 100_000


@dataclass(frozen=True)
class Request:
    """A program to run. ``tied``: the signal that the child gets when the server ends, or None."""

    arguments: list[str]
    folder: str
    environment: dict[str, str]
    tied: int | None


class ForkedProcess:
    """A child of the fork server, with the methods of ``subprocess.Popen`` that we use."""

    def __init__(self, answers: socket.socket) -> None:
        self._answers = answers
        text, (self._handle,), _, _ = socket.recv_fds(answers, 32, 1)
        self.pid = int(text)
        self.returncode: int | None = None
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """Return the exit status; None while the process runs."""
        return self._status(0)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status; negative: the signal. Raises subprocess.TimeoutExpired."""
        code = self._status(None if timeout is None else 1000 * timeout)
        if code is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        with contextlib.suppress(ProcessLookupError):
            if self.returncode is None:
                signal.pidfd_send_signal(self._handle, number)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _status(self, milliseconds: float | None) -> int | None:
        poll = select.poll()
        if self.returncode is None:
            poll.register(self._answers, select.POLLIN)
            if not poll.poll(milliseconds):
                return None
        with self._lock:
            if self.returncode is None:
                text = self._answers.recv(32)
                # without an answer the server has ended, and the kernel ends its tied children
                self.returncode = int(text) if text else -signal.SIGKILL
                self._answers.close()
                os.close(self._handle)
        return self.returncode


class ForkServer:
    """The server, started when the first program needs it. It ends when this process ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: socket.socket | None = None

    def start(self) -> None:
        """Have the server import its modules while this process does something else."""
        with self._lock:
            self._connected()

    def spawn(
        self,
        arguments: Sequence[str | Path],
        folder: Path,
        environment: Mapping[str, str],
        outputs: tuple[int, int],
        tied: signal.Signals | None,
    ) -> ForkedProcess:
        """Run a program that ``can_fork``. ``outputs``: its stdout and stderr, as descriptors."""
        request = Request(list(map(str, arguments)), str(folder), dict(environment), tied)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            message = json.dumps(asdict(request)).encode()
            with self._lock:
                socket.send_fds(self._connected(), [message], [theirs.fileno(), *outputs])
        return ForkedProcess(ours)

    def _connected(self) -> socket.socket:
        if self._requests is None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                process = subprocess.Popen(
                    [sys.executable, "-P", "-m", __name__, str(theirs.fileno()), "-" * TITLE_BYTES],
                    cwd="/",
                    env={name: os.environ[name] for name in INHERITED if name in os.environ},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            atexit.register(_end, ours, process)
            self._requests = ours
        return self._requests


def can_fork(arguments: Sequence[str | Path]) -> bool:
    """Return whether a command line runs one of our programs, or a script with our Python."""
    program = Path(arguments[0])
    if program.parent != ENVIRONMENT:
        return False
    return program.name in PROGRAMS or str(arguments[1]).endswith(".py")


def _end(requests: socket.socket, process: "subprocess.Popen[bytes]") -> None:
    requests.close()
    process.kill()  # it may be in the middle of its imports
    process.wait()


class _Server:
    """The server's own side: one thread, which forks and waits for what it has forked."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._selector = selectors.DefaultSelector()
        self._selector.register(requests, selectors.EVENT_READ)
        self._children: dict[int, tuple[int, socket.socket]] = {}
        """Process id, and where to report its end, by the process's file descriptor."""

    def serve(self) -> Callable[[], object]:
        """Return the program to run now: in a child its program, in the server None."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is not self._requests:
                    self._report(key.fd)
                    continue
                message, fds, _, _ = socket.recv_fds(self._requests, MAX_REQUEST, 3)
                if not message:
                    return lambda: None
                request = Request(**json.loads(message))
                answers, *outputs = fds
                program = self._fork(request, socket.socket(fileno=answers), outputs)
                if program is not None:
                    return program

    def _fork(
        self, request: Request, answers: socket.socket, outputs: list[int]
    ) -> Callable[[], object] | None:
        parent = os.getpid()
        if (pid := os.fork()) == 0:
            self._forget()
            answers.close()
            return _prepare(request, outputs, parent)
        for output in outputs:
            os.close(output)
        handle = os.pidfd_open(pid)
        self._children[handle] = (pid, answers)
        self._selector.register(handle, selectors.EVENT_READ)
        with contextlib.suppress(OSError):  # the process that sent the request has ended
            socket.send_fds(answers, [str(pid).encode()], [handle])
        return None

    def _report(self, handle: int) -> None:
        self._selector.unregister(handle)
        pid, answers = self._children.pop(handle)
        _, status = os.waitpid(pid, 0)
        os.close(handle)
        with answers, contextlib.suppress(OSError):
            answers.send(str(os.waitstatus_to_exitcode(status)).encode())

    def _forget(self) -> None:
        self._selector.close()
        self._requests.close()
        for handle, (_, answers) in self._children.items():
            os.close(handle)
            answers.close()


def _prepare(request: Request, outputs: list[int], server: int) -> Callable[[], object]:
    """Give this child the state that exec would have given it. Return its program."""
    os.setsid()
    if request.tied is not None:
        die_with_parent(request.tied)
        if os.getppid() != server:  # the server ended before the kernel tied this child to it
            os.kill(os.getpid(), request.tied)
    for output, number in zip(outputs, (1, 2), strict=True):
        os.dup2(output, number)
        os.close(output)
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environment)
    _set_title(request.arguments)
    return _program(request.arguments)


def _program(arguments: list[str]) -> Callable[[], object]:
    """Return the entry point of a console script, or a Python script as a function."""
    name = Path(arguments[0]).name
    if not name.startswith("python"):
        sys.argv = arguments
        (entry,) = entry_points(group="console_scripts", name=name)
        main: Callable[[], object] = entry.load()
        return main
    sys.argv = arguments[1:]
    sys.path.insert(0, str(Path(arguments[1]).resolve().parent))
    return lambda: runpy.run_path(arguments[1], run_name="__main__")


def _set_title(arguments: list[str]) -> None:
    """Show a child's own arguments in ps: they overwrite the server's (proc(5), fields 48, 49)."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[46])
    text = "\0".join(arguments).encode()[: end - start - 1]
    if start:  # 0: the kernel hides the addresses
        ctypes.memset(start, 0, end - start)
        ctypes.memmove(start, text, len(text))
    Path("/proc/self/comm").write_text(Path(arguments[0]).name[:15])


def main() -> None:
    """Serve until the process that started this one ends, or closes its side."""
    requests = socket.socket(fileno=int(sys.argv[1]))
    for name in PRELOADED:
        importlib.import_module(name)
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads != 1:
        raise RuntimeError(f"a fork server must have one thread, and the imports left {threads}")
    gc.collect()
    gc.freeze()  # so that the children's collections leave the shared pages alone
    _Server(requests).serve()()


if __name__ == "__main__":
    main()
