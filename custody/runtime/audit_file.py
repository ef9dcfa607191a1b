"""A file of exported audit records: JSON lines that grow with each export, and their check."""

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from custody.runtime.audit_lines import MAX_LINE, BadLine, LinesCheck, Place, is_head, last_place
from custody.runtime.configuration import sync_folder
from custody.runtime.errors import OperatorError
from custody.wire.signed_bytes import PinnedKeys

TAIL = MAX_LINE + 1


@dataclass(frozen=True)
class Line:
    """A line to write. ``place``: the record that it ends at; ``is_head``: it has the head."""

    place: Place
    text: str
    is_head: bool = False


class ExportFile:
    """A file that grows with each export, and continues where the last complete line ends.

    Only the user may read it. A line that a crash cut off is removed. Use it as a context.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.needs_head = False
        """Whether the last export ended before its head. Known after ``place``."""

    def __enter__(self) -> "ExportFile":
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            self._file: BinaryIO = os.fdopen(descriptor, "r+b")
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # one export at a time
        except OSError as error:
            raise self._failed(error) from None
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def place(self) -> Place | None:
        """Return where the file ends; None if it is empty. Raise OperatorError."""
        try:
            size = self._file.seek(0, os.SEEK_END)
            begin = max(0, size - 2 * TAIL)
            self._file.seek(begin)
            tail = self._file.read()
            complete = tail.rfind(b"\n") + 1
            if complete == 0 and begin > 0:
                raise BadLine("it has no end of a line")
            self._file.truncate(begin + complete)
            self._file.seek(0, os.SEEK_END)
            if complete == 0:
                return None
            last = tail[:complete].rstrip(b"\n").rsplit(b"\n", 1)[-1]
            self.needs_head = not is_head(last)
            return last_place(last)
        except OSError as error:
            raise self._failed(error) from None
        except BadLine as bad:
            raise OperatorError(
                f"{self._path} is not a file of this command: {bad}", "Name a new file."
            ) from None

    def write(self, line: Line) -> None:
        """Append a line. A head is on the disk when this returns, with all lines before it."""
        try:
            self._file.write(line.text.encode() + b"\n")
            if line.is_head:
                self._file.flush()
                os.fsync(self._file.fileno())
        except OSError as error:
            raise self._failed(error) from None

    def _failed(self, error: OSError) -> OperatorError:
        return OperatorError(
            f"cannot write {self._path}: {error.strerror}",
            "Choose a file in a folder that this user may write to.",
        )


@dataclass(frozen=True)
class FileVerification:
    """What `audit verify --file` found. ``signed``: the last record that a head covers."""

    records: int
    first: int | None
    last: int | None
    signed: int
    findings: list[tuple[int, str]]
    """Line numbers with findings, the first ones."""
    findings_in_all: int
    last_hash: str | None = None
    """Of the last record, in hex."""


def sync_file(path: Path) -> None:
    """Write an exported file and its name to the disk, before its records are deleted elsewhere.

    The file may be a copy that nobody has synced. If the path is a symbolic link, the folders of
    the link and of the file are written. Raise OperatorError.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        for folder in {path.parent.resolve(), path.resolve().parent}:
            sync_folder(folder)
    except OSError as error:
        raise OperatorError(
            f"cannot write {path} to the disk: {error.strerror}",
            "Nothing was deleted. Check the file system, or copy the file to another one.",
        ) from None


def verify_file(path: Path, keys: PinnedKeys, node: str, most: int) -> FileVerification:
    """Check an exported file line by line, in constant memory.

    Raise OperatorError if the file cannot be read, or has no line: it then proves nothing.
    ``keys``: who may have signed its heads.
    """
    check = LinesCheck(keys, node)
    findings: list[tuple[int, str]] = []
    in_all = number = 0
    try:
        with path.open("rb") as file:
            while line := file.readline(TAIL):
                number += 1
                try:
                    faults = check.line(line)
                except BadLine as bad:
                    faults = [str(bad)]
                in_all += len(faults)
                findings += [(number, what) for what in faults[: max(0, most - len(findings))]]
    except OSError as error:
        raise OperatorError(f"cannot read {path}: {error.strerror}", "Name its path.") from None
    if number == 0:
        raise OperatorError(
            f"{path} is empty, so there is nothing to check",
            "Name a file of `audit export`, or export again: an audit without records gives no "
            "line.",
        )
    last = check.last
    if last is not None and check.signed != last.sequence:
        in_all += 1
        findings.append(
            (number, f"no signed head covers the records {check.signed + 1} to {last.sequence}")
        )
    end, hash_ = (None, None) if last is None else (last.sequence, last.hash.hex())
    return FileVerification(check.records, check.first, end, check.signed, findings, in_all, hash_)
