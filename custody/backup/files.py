"""The part of a backup with configuration, identity key and certificates: a tar."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from custody.backup.errors import Damaged
from custody.backup.subject import Subject
from custody.runtime.configuration import write_secret
from custody.runtime.errors import ConfigurationError, OperatorError

ELSEWHERE = "elsewhere"
"""The folder in the tar for files that are not below the configuration's folder."""
MAX_FILE = 4 * 1024 * 1024


def pack(subject: Subject) -> bytes:
    """Return a tar of the subject's files. Raise ConfigurationError.

    A file that the configuration names as a secret as well is refused: a person who opens the
    backup must not get the PIN or the encryption key with it.
    """
    target = io.BytesIO()
    secret = {path.resolve() for path in subject.secrets}
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in dict.fromkeys(each.absolute() for each in subject.files):
            if path.resolve() in secret:
                raise ConfigurationError(
                    f"{path} is a PIN or an encryption key, and the configuration names it for "
                    "another purpose as well",
                    "Keep that secret in a file of its own: it must not get into the backup.",
                )
            content = _read(path)
            member = tarfile.TarInfo(_name(path, subject.folder.absolute()))
            member.size, member.mode = len(content), 0o600
            archive.addfile(member, io.BytesIO(content))
    return target.getvalue()


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {path} for the backup: {error.strerror}",
            "Run the command as the daemon's user, or correct the path in the configuration.",
        ) from None
    if len(content) > MAX_FILE:
        raise ConfigurationError(
            f"{path} has {len(content)} bytes, too many for a key, a certificate or a "
            "configuration",
            "Correct the path in the configuration.",
        )
    return content


def _name(path: Path, folder: Path) -> str:
    if path.is_relative_to(folder):
        return str(path.relative_to(folder))
    return str(PurePosixPath(ELSEWHERE, *path.parts[1:]))


def unpack(content: bytes, backup: str) -> Mapping[str, bytes]:
    """Return the files by their names, which stay inside of a folder. Raise Damaged."""
    found = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            for member in archive:
                parts = PurePosixPath(member.name).parts
                file = archive.extractfile(member) if member.isreg() else None
                if file is None or not parts or parts[0] == "/" or ".." in parts:
                    raise Damaged(
                        f"{backup} contains {member.name!r}, which is not a plain file below the "
                        "folder",
                        "Use another backup: see `backup list`.",
                    )
                found[member.name] = file.read()
    except tarfile.TarError as error:
        raise Damaged(
            f"{backup}: the part with the files is not a tar: {error}",
            "Use another backup: see `backup list`.",
        ) from None
    return found


def write_files(found: Mapping[str, bytes], folder: Path) -> list[Path]:
    """Write files of mode 0600 into a folder, never over a file. Raise OperatorError.

    Nothing is written if one of them exists already.
    """
    paths = {folder / name: content for name, content in found.items()}
    for path in paths:
        if path.exists() or path.is_symlink():
            raise OperatorError(
                f"{path} exists already, and nothing was written",
                "Give an empty folder with --files, and move what you need from there.",
            )
    for path, content in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_secret(path, content)
    return list(paths)
