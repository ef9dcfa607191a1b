"""The folder of backups: which are there, and which may be deleted."""

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from custody.backup.daemon import Daemon
from custody.backup.errors import BackupError, NothingThere
from custody.backup.history import BackupHistory, VerifiedBackup, locked
from custody.backup.layout import OpenBackup, open_backup
from custody.backup.manifest import SUFFIX
from custody.runtime.configuration import sync_folder
from custody.runtime.console import DISK_ERRORS
from custody.runtime.errors import OperatorError

LOCK = ".lock"
NEW = ".new-"
"""The beginning of the names of folders for unfinished backups."""


@dataclass(frozen=True)
class ListedBackup:
    """A file of the folder. ``problem``: why it is not a good backup, as far as `list` can see."""

    path: Path
    size: int
    backup: OpenBackup | None
    """Closed: its facts can be read, and its parts cannot."""
    problem: str | None
    verified: VerifiedBackup | None


class BackupFolder:
    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self.path = daemon.section.folder

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Make the folder, hold its lock, and remove what a killed `create` has left.

        Raise OperatorError if this user may not write there.
        """
        with ExitStack() as stack:
            try:
                self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
                stack.enter_context(locked(self.path / LOCK))
            except OSError as error:
                if error.errno in DISK_ERRORS:
                    raise
                raise OperatorError(
                    f"cannot write into {self.path}, the folder of [backup]: {error.strerror}",
                    "Run the command as the daemon's user, who owns this folder, or name another "
                    "folder.",
                ) from None
            for leftover in self.path.glob(f"{NEW}*"):
                shutil.rmtree(leftover)
            yield

    def listed(self) -> list[ListedBackup]:
        """Return this node's backups, oldest first, and every file that is damaged."""
        verified = {
            each.file: each for each in BackupHistory(self._daemon.state_directory).verified()
        }
        found = []
        for path in sorted(self.path.glob(f"*{SUFFIX}")):
            listed = self._one(path, verified.get(path.name))
            if listed is not None:
                found.append(listed)
        return found

    def _one(self, path: Path, verified: VerifiedBackup | None) -> ListedBackup | None:
        size = path.lstat().st_size
        try:
            with open_backup(path) as backup:
                if (backup.manifest.program, backup.manifest.node) != (
                    self._daemon.program,
                    self._daemon.node,
                ):
                    return None
                backup.check_signature(self._daemon.believed)
        except BackupError as error:
            return ListedBackup(path, size, None, error.what, None)
        if verified is not None and verified.manifest_sha256 != manifest_digest(backup):
            verified = None
        return ListedBackup(path, size, backup, None, verified)

    def newest(self) -> Path:
        """Return the newest backup's path. Raise NothingThere, also if the last one is missing."""
        found = [each for each in self.listed() if each.backup is not None]
        if not found:
            raise NothingThere(
                f"{self.path} contains no backup of {self._daemon.node}",
                f"Make one: {self._daemon.program} backup create",
            )
        made = BackupHistory(self._daemon.state_directory).created()
        newest = found[-1]
        if made is not None and made.file > newest.path.name:
            raise NothingThere(
                f"the last backup made here, {made.file}, is not a good file in {self.path}",
                f"Find out who moved or damaged it (`{self._daemon.program} backup list`), or "
                "name the backup that you want.",
            )
        return newest.path

    def prune(self, now: datetime) -> list[Path]:
        """Delete the backups that no rule keeps. Return them."""
        section = self._daemon.section
        with self.changing():
            good = [each for each in self.listed() if each.backup is not None]
            doomed = to_delete(
                [(each.path, _created(each), each.verified is not None) for each in good],
                now - timedelta(days=section.keep_days),
                section.keep_count,
            )
            for path in doomed:
                path.unlink()
            if doomed:
                sync_folder(self.path)
                BackupHistory(self._daemon.state_directory).forget({path.name for path in doomed})
        return doomed


def to_delete(
    backups: Sequence[tuple[Path, datetime, bool]], oldest: datetime, keep_count: int
) -> list[Path]:
    """Return the backups to delete, of those given as path, time and whether it was verified.

    A backup stays if it is not older than ``oldest``, is one of the ``keep_count`` newest, or is
    the newest verified one.
    """
    ordered = sorted(backups, key=lambda backup: backup[1])
    kept = {path for path, _, _ in ordered[-keep_count:]}
    kept |= {path for path, created_at, _ in ordered if created_at >= oldest}
    kept |= set([path for path, _, is_verified in ordered if is_verified][-1:])
    return [path for path, _, _ in ordered if path not in kept]


def manifest_digest(backup: OpenBackup) -> str:
    """Return SHA-256 of the manifest, which names this backup's contents."""
    return hashlib.sha256(backup.document).hexdigest()


def _created(listed: ListedBackup) -> datetime:
    assert listed.backup is not None
    return listed.backup.manifest.created_at
