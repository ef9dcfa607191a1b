"""The files of a folder that strangers may have filled: each path, or why it is not read."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from custody.runtime.regular_files import kind_of

MAX_FILES = 1_000_000
MAX_DEPTH = 32
"""Levels of folders. A bucket's objects are three levels deep."""


class TooManyFiles(Exception):
    """The folder has more than MAX_FILES files."""


@dataclass(frozen=True)
class FoundFile:
    """``refusal``: why the path is not read at all. ``is_readable`` is False after an error."""

    path: Path
    refusal: str | None = None
    is_readable: bool = True


def find_files(folder: Path) -> list[FoundFile]:
    """Return everything below a folder but the folders, in order of the paths.

    Symbolic links are not followed: a link may lead out of the folder, or round in a circle. Raise
    TooManyFiles, and OSError if the folder itself cannot be read.
    """
    found: list[FoundFile] = []
    folders = [(folder, 1)]
    while folders:
        below, depth = folders.pop()
        try:
            for entry in _entries(below):
                path = below / entry.name
                if not entry.is_dir(follow_symlinks=False):
                    found.append(_file(entry, path))
                elif depth < MAX_DEPTH:
                    folders.append((path, depth + 1))
                else:
                    found.append(FoundFile(path, f"it is below {MAX_DEPTH} folders"))
                if len(found) + len(folders) > MAX_FILES:
                    raise TooManyFiles
        except OSError as error:
            if below == folder:
                raise
            refusal = f"the folder cannot be read: {error.strerror}"
            found.append(FoundFile(below, refusal, is_readable=False))
    return sorted(found, key=lambda each: each.path)


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        yield from entries


def _file(entry: os.DirEntry[str], path: Path) -> FoundFile:
    if entry.is_file(follow_symlinks=False):
        return FoundFile(path)
    try:
        kind = kind_of(entry.stat(follow_symlinks=False).st_mode)
    except OSError as error:
        return FoundFile(path, f"it cannot be read: {error.strerror}", is_readable=False)
    return FoundFile(path, f"it is {kind}, which is not read")
