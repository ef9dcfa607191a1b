"""The part of a backup with configuration, identity key and certificates: a tar.

It has regular files alone. A reader refuses every other kind of member, and limits numbers and
sizes before it reads a member: the backup may be an attacker's.
"""

import io
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from custody.backup.daemon import Daemon
from custody.backup.errors import Damaged
from custody.runtime.configuration import write_secret
from custody.runtime.errors import ConfigurationError, OperatorError
from custody.runtime.regular_files import TooLarge, read_regular

ELSEWHERE = "elsewhere"
"""The folder in the tar for files that are not below the configuration's folder."""
MAX_FILES = 1000
MAX_FILE = 4 * 1024 * 1024
MAX_TAR = 64 * 1024 * 1024
"""Sizes in bytes."""
MAX_NAME, MAX_COMPONENT = 1024, 255
"""Longest name, and longest name between two slashes, in bytes."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PATH_RECORD = re.compile(rb"([0-9]{1,4}) path=([^\n]+)\n")
"""The record of a pax header that names a member (IEEE 1003.1-2001, "pax Extended Header")."""


def pack(daemon: Daemon) -> bytes:
    """Return a tar of the daemon's files. Raise ConfigurationError.

    A file that the configuration names as a secret as well is refused: a person who opens the
    backup must not get the PIN or the encryption key with it.
    """
    target = io.BytesIO()
    secret = {path.resolve() for path in daemon.secrets}
    names = _Names()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in dict.fromkeys(each.absolute() for each in daemon.files):
            if path.resolve() in secret:
                raise ConfigurationError(
                    f"{path} is a PIN or an encryption key, and the configuration names it for "
                    "another purpose as well",
                    "Keep that secret in a file of its own: it must not get into the backup.",
                )
            content = _read(path)
            member = tarfile.TarInfo(_name(path, daemon.folder.absolute()))
            try:
                names.add(member.name)
            except _BadTar as error:
                raise ConfigurationError(
                    f"{path} cannot be in a backup: {error}",
                    "Give the file another name, or correct the path in the configuration.",
                ) from None
            member.size, member.mode = len(content), 0o600
            archive.addfile(member, io.BytesIO(content))
    packed = target.getvalue()
    if len(packed) > MAX_TAR:
        raise ConfigurationError(
            f"the files of the configuration have {len(packed)} bytes, and a backup has at most "
            f"{MAX_TAR} bytes of them",
            "Correct the paths in the configuration.",
        )
    return packed


def _read(path: Path) -> bytes:
    try:
        return read_regular(path, MAX_FILE)
    except TooLarge:
        raise ConfigurationError(
            f"{path} has more than {MAX_FILE} bytes, too many for a key, a certificate or a "
            "configuration",
            "Correct the path in the configuration.",
        ) from None
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {path} for the backup: {error.strerror}",
            "Run the command as the daemon's user, or correct the path in the configuration.",
        ) from None


def _name(path: Path, folder: Path) -> str:
    if path.is_relative_to(folder):
        return str(path.relative_to(folder))
    return str(PurePosixPath(ELSEWHERE, *path.parts[1:]))


def unpack(content: bytes, backup: str) -> Mapping[str, bytes]:
    """Return the files by their names, which stay inside of a folder. Raise Damaged."""
    try:
        return _files(content)
    except (_BadTar, tarfile.HeaderError, UnicodeDecodeError) as error:
        raise Damaged(
            f"{backup} is damaged: the part with the files is not a tar of plain files: {error}",
            "Use another backup: see `backup list`.",
        ) from None


class _BadTar(Exception):
    """The tar is not one that ``pack`` writes."""


def _files(content: bytes) -> dict[str, bytes]:
    """Read the tar, without the general parser: that one follows formats that have no use here."""
    found: dict[str, bytes] = {}
    if len(content) > MAX_TAR:
        raise _BadTar(f"it has more than {MAX_TAR} bytes")
    blocks, names = _Blocks(content), _Names()
    while any(block := blocks.take(tarfile.BLOCKSIZE)):
        header = _header(block)
        name = header.name
        if header.type == tarfile.XHDTYPE:
            name = _pax_name(blocks.member(header.size, MAX_NAME + 16))
            header = _header(blocks.take(tarfile.BLOCKSIZE))
        if header.type != tarfile.REGTYPE or header.linkname:
            raise _BadTar(f"{name[:MAX_NAME]!r} is not a plain file")
        names.add(name)
        found[name] = blocks.member(header.size, MAX_FILE)
    if any(blocks.rest()):
        raise _BadTar("it continues after its end")
    return found


class _Blocks:
    """The bytes of a tar, which are taken from the beginning to the end."""

    def __init__(self, content: bytes) -> None:
        self._stream = io.BytesIO(content)

    def take(self, size: int) -> bytes:
        data = self._stream.read(size)
        if len(data) < size:
            raise _BadTar("it is cut off")
        return data

    def member(self, size: int, limit: int) -> bytes:
        """Return a member of at most ``limit`` bytes, and skip its padding."""
        if not 0 <= size <= limit:
            raise _BadTar(f"a member has {size} bytes")
        content = self.take(size)
        if any(self.take(-size % tarfile.BLOCKSIZE)):
            raise _BadTar("its padding was changed")
        return content

    def rest(self) -> bytes:
        return self._stream.read()


def _header(block: bytes) -> tarfile.TarInfo:
    return tarfile.TarInfo.frombuf(block, "utf-8", "strict")


def _pax_name(content: bytes) -> str:
    """Return the name in a pax header, which holds nothing else."""
    record = _PATH_RECORD.fullmatch(content)
    if record is None or int(record[1]) != len(content):
        raise _BadTar("a pax header holds something else than a name")
    return record[2].decode()


class _Names:
    """The names of a tar's members, each of which stays inside of a folder."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def add(self, name: str) -> None:
        """Raise _BadTar for a name that cannot be restored beside the others."""
        path = PurePosixPath(name)
        folders = {str(parent) for parent in path.parents}
        if path.is_absolute() or ".." in path.parts or str(path) != name or not path.parts:
            raise _BadTar(f"{name[:MAX_NAME]!r} does not stay inside of a folder")
        if _CONTROL.search(name):
            raise _BadTar(f"{name[:MAX_NAME]!r} has a control character")
        try:
            longest = max(len(part.encode()) for part in path.parts)
        except UnicodeEncodeError:
            raise _BadTar(f"{name[:MAX_NAME]!r} is not UTF-8") from None
        if len(name.encode()) > MAX_NAME or longest > MAX_COMPONENT:
            raise _BadTar(f"{name[:MAX_NAME]!r} is too long")
        if name in self._files or name in self._folders or folders & self._files:
            raise _BadTar(f"{name!r} is there twice, or is a file and a folder")
        if len(self._files) == MAX_FILES:
            raise _BadTar(f"there are more than {MAX_FILES} files")
        self._files.add(name)
        self._folders |= folders


def write_files(found: Mapping[str, bytes], folder: Path) -> list[Path]:
    """Write files of mode 0600 into a folder, never over a file. Raise OperatorError.

    Nothing is written if one of them exists already.
    """
    paths = {folder / name: content for name, content in found.items()}
    folders = {folder / parent for name in found for parent in Path(name).parents}
    for path in (*paths, *(each for each in folders - {folder} if each.is_symlink())):
        if path.exists() or path.is_symlink():
            raise OperatorError(
                f"{path} exists already, and nothing was written",
                "Give an empty folder with --files, and move what you need from there.",
            )
    for path, content in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_secret(path, content)
    return list(paths)
