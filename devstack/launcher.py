"""Starts processes that end with us, or that outlive us and are written down to be ended later."""

import os
import shutil
import signal
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel

from devstack.processes import Process, ProcessIdentity, Program

OWNER = "owner"


class Launcher(Protocol):
    """How a stack's processes are started, and who ends them if we cannot."""

    def start(self, program: Program, gently: signal.Signals) -> Process:
        """Start a program; ``gently`` is the signal that asks it to end."""

    def keep_folder(self, folder: Path) -> None:
        """A folder outside of the stack's own has been made for it."""


class Tied:
    """The kernel ends each process when we end, however that happens.

    Not ``forked``: our programs are run as an operator runs them, for what measures them.
    """

    def __init__(self, forked: bool = True) -> None:
        self._forked = forked

    def start(self, program: Program, gently: signal.Signals) -> Process:
        # A daemon that nobody waits for need not finish what is under way; PostgreSQL takes its
        # own processes along only when it is asked.
        tied = signal.SIGKILL if gently is signal.SIGTERM else gently
        return Process(program, tied, forked=self._forked)

    def keep_folder(self, folder: Path) -> None:
        """Say in the folder whose it is: ``remove_abandoned`` takes it away when we are gone."""
        us = ProcessIdentity.of(os.getpid())
        if us is not None:
            (folder / OWNER).write_text(us.model_dump_json())


def remove_abandoned(base: Path, prefix: str) -> None:
    """Delete the folders whose owner was killed before it could."""
    for owner in base.glob(f"{prefix}*/{OWNER}"):
        try:
            identity = ProcessIdentity.model_validate_json(owner.read_text())
        except (OSError, ValueError):
            continue  # another user's, or just being made or deleted
        if not identity.is_alive():
            shutil.rmtree(owner.parent, ignore_errors=True)


class RecordedProcess(BaseModel):
    name: str
    identity: ProcessIdentity
    gently: signal.Signals


class RecordedFolder(BaseModel):
    folder: Path


class Recorded:
    """Processes outlive this one. Each is in the record before anything else happens."""

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
        """In the order of their start."""
        return [RecordedProcess.model_validate_json(line) for line in self._lines("identity")]

    def folders(self) -> list[Path]:
        return [RecordedFolder.model_validate_json(line).folder for line in self._lines("folder")]

    def _lines(self, key: str) -> list[str]:
        try:
            lines = self._path.read_text().splitlines()
        except FileNotFoundError:
            return []
        return [line for line in lines if f'"{key}":' in line and line.endswith("}")]
