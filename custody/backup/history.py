"""What this host remembers of its backups, in files of the state directory.

The history is not in the database, because a lost or restored database must not change it. `prune`
and the metrics read it.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import AwareDatetime, ValidationError

from custody.backup.manifest import Digest, Size
from custody.runtime.configuration import replace_file
from custody.wire.encoding import Model

CREATED = "backup-created.json"
VERIFIED = "backup-verified.json"
LOCK = "backup.lock"

Entry = TypeVar("Entry", bound=Model)


class CreatedBackup(Model):
    """The last backup that this host made."""

    file: str
    created_at: AwareDatetime
    finished_at: AwareDatetime
    size: Size


class VerifiedBackup(Model):
    """A backup that was restored here and found good. ``tried``: how many keys were tried."""

    file: str
    manifest_sha256: Digest
    created_at: AwareDatetime
    verified_at: AwareDatetime
    tried: int
    in_all: int


class _Verified(Model):
    backups: tuple[VerifiedBackup, ...] = ()


class BackupHistory:
    """The history in one state directory. A missing or unreadable file counts as no backup."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def created(self) -> CreatedBackup | None:
        return _read(self._folder / CREATED, CreatedBackup)

    def note_created(self, backup: CreatedBackup) -> None:
        """Remember the last backup, with fsync. Raise OSError."""
        with self._locked():
            replace_file(self._folder / CREATED, backup.model_dump_json().encode())

    def verified(self) -> tuple[VerifiedBackup, ...]:
        """Return the verified backups, the last verification last."""
        found = _read(self._folder / VERIFIED, _Verified)
        return () if found is None else found.backups

    def note_verified(self, backup: VerifiedBackup) -> None:
        """Remember a verified backup, with fsync. Raise OSError."""
        with self._locked():
            others = [each for each in self.verified() if each.file != backup.file]
            self._write_verified([*others, backup])

    def forget(self, files: set[str]) -> None:
        """Forget backups that were deleted. Raise OSError."""
        with self._locked():
            self._write_verified([each for each in self.verified() if each.file not in files])

    def _write_verified(self, backups: list[VerifiedBackup]) -> None:
        content = _Verified(backups=tuple(backups)).model_dump_json().encode()
        replace_file(self._folder / VERIFIED, content)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with locked(self._folder / LOCK):
            yield


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file (flock(2)), which ends with this process. Wait for it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read(path: Path, model: type[Entry]) -> Entry | None:
    try:
        return model.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
