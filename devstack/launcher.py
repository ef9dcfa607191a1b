"""Start of processes: they end with this process, or a record of them allows to end them later."""

import os
import shutil
import signal
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel

from devstack.processes import Process, ProcessIdentity, Program

OWNER = "owner"


class Launcher(Protocol):
    """The start of a stack's processes, and the guarantee that something ends them."""

    def start(self, program: Program, gently: signal.Signals) -> Process:
        """Start a program; ``gently`` is the signal that asks it to end."""

    def keep_folder(self, folder: Path) -> None:
        """Note a folder of the stack that is outside of the stack's own folder."""


class Tied:
    """The kernel ends each process when this process ends for any reason.

    Without ``forked``, our programs start as an operator starts them: measurements need that.
    """

    def __init__(self, forked: bool = True) -> None:
        self._forked = forked

    def start(self, program: Program, gently: signal.Signals) -> Process:
        # A daemon without a waiting parent need not finish its work. PostgreSQL ends its own
        # processes only at its own signal.
        tied = signal.SIGKILL if gently is signal.SIGTERM else gently
        return Process(program, tied, forked=self._forked)

    def keep_folder(self, folder: Path) -> None:
        """Write the owner into the folder: ``remove_abandoned`` deletes abandoned folders."""
        us = ProcessIdentity.of(os.getpid())
        if us is not None:
            (folder / OWNER).write_text(us.model_dump_json())


def remove_abandoned(base: Path, prefix: str) -> None:
    """Delete the folders whose owner was killed before it could delete them."""
    for owner in base.glob(f"{prefix}*/{OWNER}"):
        try:
            identity = ProcessIdentity.model_validate_json(owner.read_text())
        except (OSError, ValueError):
            continue  # the folder of another user, or another process makes or deletes it now
        if not identity.is_alive():
            shutil.rmtree(owner.parent, ignore_errors=True)


class RecordedProcess(BaseModel):
    name: str
    identity: ProcessIdentity
    gently: signal.Signals


class RecordedFolder(BaseModel):
    folder: Path


class Recorded:
    """The processes outlive this process. Each start is recorded before the next step."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def start(self, program: Program, gently: signal.Signals) -> Process:
        process = Process(program)
        self._add(RecordedProcess(name=program.name, identity=process.identity, gently=gently))
        return process

    def keep_folder(self, folder: Path) -> None:
        self._add(RecordedFolder(folder=folder))

    def _add(self, entry: BaseModel) -> None:
        with self._path.open("a") as record:
            record.write(entry.model_dump_json() + "\n")

    def processes(self) -> list[RecordedProcess]:
        """Return the processes in the order of their start."""
        return [RecordedProcess.model_validate_json(line) for line in self._lines("identity")]

    def folders(self) -> list[Path]:
        return [RecordedFolder.model_validate_json(line).folder for line in self._lines("folder")]

    def _lines(self, key: str) -> list[str]:
        try:
            lines = self._path.read_text().splitlines()
        except FileNotFoundError:
            return []
        return [line for line in lines if f'"{key}":' in line and line.endswith("}")]
