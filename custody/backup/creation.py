"""`backup create`: dump, encrypt, describe, sign, and only then give the file its name."""

import io
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp

from custody.backup import layout
from custody.backup.age import Reader, Recipient, encrypt, parse_recipients
from custody.backup.counted import CountedReader, CountedWriter
from custody.backup.daemon import Advance, Daemon
from custody.backup.files import pack
from custody.backup.folder import NEW, BackupFolder
from custody.backup.history import BackupHistory, CreatedBackup
from custody.backup.manifest import DATABASE, FILES, FORMAT, Manifest, Part, encode, file_name, sign
from custody.backup.postgres import dumped
from custody.backup.snapshot import Snapshot, snapshot
from custody.migrations.schema import HEADS
from custody.runtime.configuration import sync_folder
from custody.runtime.errors import SchemaError

DISTRIBUTION = "custody"


@dataclass(frozen=True)
class Made:
    """A finished backup."""

    path: Path
    size: int
    manifest: Manifest


def create(daemon: Daemon, advance: Advance) -> Made:
    """Make a backup. Raise OperatorError or OSError; then there is no new file."""
    recipients = parse_recipients(daemon.section.recipients)
    files = pack(daemon)
    folder = BackupFolder(daemon)
    with folder.changing(), _new_folder(folder.path) as unfinished:
        with snapshot(daemon.database_url, daemon.program) as taken:
            created_at = _free_time(daemon, folder.path)
            facts = daemon.facts(taken.rows)
            counts, revision = taken.counts(), _revision(taken, daemon)
            with dumped(daemon.database_url, taken.name) as dump:
                parts = (
                    _part(unfinished / DATABASE, dump, recipients, advance),
                    _part(unfinished / FILES, io.BytesIO(files), recipients, advance),
                )
        manifest = Manifest(
            format=FORMAT,
            program=daemon.program,
            node=daemon.node,
            group=daemon.group,
            product_version=version(DISTRIBUTION),
            created_at=created_at,
            file=file_name(daemon.program, daemon.node, created_at),
            schema_revision=revision,
            counts=counts,
            audit_head=facts.audit_head,
            check_values=dict(facts.check_values),
            recipients=tuple(each.strip() for each in daemon.section.recipients),
            parts=parts,
        )
        path = _finish(daemon, manifest, unfinished, folder.path)
    size = path.stat().st_size
    BackupHistory(daemon.state_directory).note_created(
        CreatedBackup(
            file=path.name, created_at=created_at, finished_at=datetime.now(UTC), size=size
        )
    )
    return Made(path, size, manifest)


def _finish(daemon: Daemon, manifest: Manifest, unfinished: Path, folder: Path) -> Path:
    """Write the file, make it durable, check it as a reader would, and give it its name."""
    temporary, path = unfinished / manifest.file, folder / manifest.file
    signature = sign(encode(manifest), daemon.signer)
    with temporary.open("xb") as target:
        temporary.chmod(0o600)
        layout.write(
            target, manifest, signature, {name: unfinished / name for name in (DATABASE, FILES)}
        )
        target.flush()
        os.fsync(target.fileno())
    with layout.open_backup(temporary) as written:
        written.check([daemon.signer.public_key])
    temporary.rename(path)
    sync_folder(folder)
    return path


def _part(path: Path, source: Reader, recipients: list[Recipient], advance: Advance) -> Part:
    with path.open("xb") as target:
        path.chmod(0o600)
        plain = CountedReader(source, lambda size: advance(path.stem, size, None, is_bytes=True))
        stored = CountedWriter(target)
        encrypt(plain, stored, recipients)
    return Part(
        name=path.name,
        size=stored.size,
        sha256=stored.sha256,
        plain_size=plain.size,
        plain_sha256=plain.sha256,
    )


def _revision(taken: Snapshot, daemon: Daemon) -> str:
    found, head = taken.revision(), HEADS[daemon.tree]
    if found != head:
        raise SchemaError(
            f"the database has schema revision {found or 'none'}, this version needs {head}",
            f"Run: {daemon.program} migrate. Before an upgrade, make the backup with the old "
            "version.",
        )
    return head


def _free_time(daemon: Daemon, folder: Path) -> datetime:
    """Return the present time in whole seconds, at which no backup has its name yet."""
    while True:
        now = datetime.now(UTC).replace(microsecond=0)
        if not (folder / file_name(daemon.program, daemon.node, now)).exists():
            return now
        time.sleep(0.1)


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Make a folder for the unfinished backup, and remove it at the end, also after an error."""
    path = Path(mkdtemp(prefix=NEW, dir=folder))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
