"""Reading of files that somebody else may have put there: never a hang, never more than a limit."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


class NotRegular(OSError):
    """The path names a folder, a pipe, a device or a socket; ``strerror`` says so."""


class TooLarge(OSError):
    """The file is larger than its reader accepts."""


def open_regular(path: Path, *, follow: bool = True) -> BinaryIO:
    """Open a regular file for reading. Raise NotRegular, or another OSError.

    ``follow``: False refuses a symbolic link as the last part of the path. An open of a named pipe
    would wait for a writer, and an open of a device may have effects, so the kind of the path is
    checked before the open. The check of the open file finds a path that was exchanged in between.
    """
    _require_regular(path.stat(follow_symlinks=follow).st_mode, path)
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    try:
        _require_regular(os.fstat(descriptor).st_mode, path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, limit: int, *, follow: bool = True) -> bytes:
    """Return the contents of a regular file of at most ``limit`` bytes.

    Raise NotRegular, TooLarge, or another OSError. The bytes are counted while they are read: the
    size that the system states may be wrong, and the file may grow.
    """
    with open_regular(path, follow=follow) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise TooLarge(errno.EFBIG, f"it has more than {limit} bytes", str(path))
    return content


def _require_regular(mode: int, path: Path) -> None:
    if not stat.S_ISREG(mode):
        raise NotRegular(errno.EINVAL, f"it is {kind_of(mode)}, not a file", str(path))


def kind_of(mode: int) -> str:
    """Return what a path of this mode is, for people."""
    kinds = {
        stat.S_IFREG: "a file",
        stat.S_IFDIR: "a folder",
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(mode), "a device")
