"""Our commands as an operator types them, in processes that start in milliseconds."""

import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from devstack.processes import fork_server
from devstack.service import clean_environment


def run_command(
    arguments: Sequence[str | Path],
    environment: Mapping[str, str] | None = None,
    folder: Path = Path("/"),
) -> subprocess.CompletedProcess[str]:
    """Run a command by the fork server, which has its imports. Return its status and its output.

    ``environment``: None for what a service manager would give. The command has no terminal.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = fork_server.spawn(
            arguments,
            folder,
            clean_environment() if environment is None else environment,
            (out.fileno(), err.fileno()),
            signal.SIGKILL,
        )
        status = process.wait()
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(
            arguments, status, out.read().decode(), err.read().decode()
        )
