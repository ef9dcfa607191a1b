"""The marks in the state directory: the database must have one of them.

A signer keeps a random mark in its database and in its state directory, and replaces it every few
seconds. A database with another mark is not the database that this signer worked with last.
"""

import json
from pathlib import Path
from uuid import UUID

from custody.runtime.configuration import replace_file

NAME = "mark"


class Marks:
    """``state_directory``: of the node, as for the freeze."""

    def __init__(self, state_directory: Path) -> None:
        self._file = state_directory / NAME

    def read(self) -> frozenset[UUID] | None:
        """Return the marks; None without a file. A damaged file has no mark."""
        try:
            return frozenset(UUID(each) for each in json.loads(self._file.read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, AttributeError):
            return frozenset()

    def write(self, *marks: UUID) -> None:
        """Replace the marks, with fsync. Raise OSError."""
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_file(self._file, json.dumps([str(each) for each in marks]).encode())
