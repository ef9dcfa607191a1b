"""`backup verify`: prove that a backup can be restored and used. Nothing in use is touched."""

import asyncio
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from custody.backup import layout
from custody.backup.age import Identity, Writer, decrypt
from custody.backup.counted import CountedWriter, TooMuch, WithheldWriter
from custody.backup.daemon import Advance, Daemon, DatabaseCheck
from custody.backup.errors import Damaged
from custody.backup.files import MAX_TAR, unpack
from custody.backup.folder import manifest_digest
from custody.backup.history import BackupHistory, VerifiedBackup
from custody.backup.layout import OpenBackup
from custody.backup.manifest import DATABASE, FILES, Manifest
from custody.backup.postgres import restoring
from custody.backup.scratch import scratch_database
from custody.backup.snapshot import snapshot
from custody.migrations.schema import HEADS, migrate
from custody.wire.signed_bytes import SigningKey


@dataclass
class Verification:
    """A finished verification. The backup is good if there are no ``findings``."""

    manifest: Manifest
    tried: int = 0
    in_all: int = 0
    said: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)


@contextmanager
def open_checked(
    path: Path, public_keys: Sequence[bytes], advance: Advance
) -> Iterator[OpenBackup]:
    """Open a backup, and check signature, name and checksums. Raise NothingThere or Damaged."""
    with layout.open_backup(path) as backup:
        total, done = sum(part.size for part in backup.manifest.parts), 0

        def more(size: int) -> None:
            nonlocal done
            done += size
            advance("checksums", done, total, is_bytes=True)

        backup.check(public_keys, more)
        yield backup


def verify(
    daemon: Daemon,
    path: Path,
    identities: Sequence[Identity],
    public_keys: Sequence[bytes],
    sample: int | None,
    advance: Advance,
) -> Verification:
    """Verify a backup, and remember that it was found good.

    Raise Damaged, CannotDecrypt or NotGood, and OperatorError if the check cannot be done.
    """
    with open_checked(path, public_keys, advance) as backup:
        return _verified(daemon, backup, identities, sample, advance)


def _verified(
    daemon: Daemon,
    backup: OpenBackup,
    identities: Sequence[Identity],
    sample: int | None,
    advance: Advance,
) -> Verification:
    result = Verification(backup.manifest)
    result.said.append(f"signed by {daemon.node} and complete: {len(backup.manifest.parts)} parts")
    _check_files(backup, read_files(backup, identities), result)
    with scratch_database(daemon) as url:
        restore_database(backup, identities, url, advance)
        compare_database(daemon, backup.manifest, url, result)
        if backup.manifest.schema_revision != HEADS[daemon.tree]:
            migrate(daemon.tree, url)
        checked = asyncio.run(daemon.check(url, sample, advance))
    _add(result, checked)
    if not result.findings:
        BackupHistory(daemon.state_directory).note_verified(
            VerifiedBackup(
                file=backup.manifest.file,
                manifest_sha256=manifest_digest(backup),
                created_at=backup.manifest.created_at,
                verified_at=datetime.now(UTC),
                tried=checked.tried,
                in_all=checked.in_all,
            )
        )
    return result


def _add(result: Verification, checked: DatabaseCheck) -> None:
    result.tried, result.in_all = checked.tried, checked.in_all
    result.said += checked.said
    result.findings += checked.findings


def read_files(backup: OpenBackup, identities: Sequence[Identity]) -> dict[str, bytes]:
    """Decrypt the part with the files. Raise CannotDecrypt or Damaged.

    The result is what the manifest says, also if the checksums were not checked before. Whether the
    manifest is signed, the caller checks.
    """
    part = backup.manifest.part(FILES)
    if max(part.plain_size, part.size // 2) > MAX_TAR:  # age adds less than that
        raise Damaged(
            f"{backup.name} is damaged: {FILES} has {part.size} bytes, too many for its files",
            "Use another backup: see `backup list`.",
        )
    target = io.BytesIO()
    _decrypted(backup, FILES, identities, target, lambda *_, **__: None)
    return dict(unpack(target.getvalue(), backup.name))


def restore_database(
    backup: OpenBackup, identities: Sequence[Identity], url: str, advance: Advance
) -> None:
    """Restore the dump into a database, in one transaction.

    Raise CannotDecrypt, Damaged or NotGood; then the database is unchanged. The backup's checksums
    must have been checked: pg_restore commits at the end of a dump, also if more bytes follow.
    """
    with restoring(url) as restore:
        withheld = WithheldWriter(restore)
        _decrypted(backup, DATABASE, identities, withheld, advance)
        withheld.release()
        restore.finish()


def _decrypted(
    backup: OpenBackup,
    name: str,
    identities: Sequence[Identity],
    target: Writer,
    advance: Advance,
) -> None:
    """Decrypt a part, and compare it with the manifest. Raise CannotDecrypt or Damaged.

    ``target`` gets the data before the comparison, and must not act on the last block before this
    function returns.
    """
    part = backup.manifest.part(name)
    shown = Path(name).stem
    plain = CountedWriter(
        target,
        lambda size: advance(shown, size, part.plain_size, is_bytes=True),
        limit=part.plain_size,
    )
    try:
        source, recipients = backup.part(name), backup.manifest.recipients
        decrypt(source, plain, identities, f"{backup.name}: {name}", recipients)
    except TooMuch:
        raise _other_bytes(backup, name) from None
    if (plain.size, plain.sha256) != (part.plain_size, part.plain_sha256):
        raise _other_bytes(backup, name)


def _other_bytes(backup: OpenBackup, name: str) -> Damaged:
    return Damaged(
        f"{backup.name}: {name} decrypts to other bytes than the manifest says",
        "Use another backup: see `backup list`.",
    )


def _check_files(backup: OpenBackup, found: dict[str, bytes], result: Verification) -> None:
    """Check that the key that signed the manifest is among the files."""
    if any(
        key is not None and key.key_id == layout.signed_by(backup)
        for key in map(key_in, found.values())
    ):
        result.said.append(f"{len(found)} files, among them the key that signed the backup")
    else:
        result.findings.append("the files do not contain the private key that signed the backup")


def key_in(content: bytes) -> SigningKey | None:
    """Return the Ed25519 private key in a file; None for every other file."""
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError):
        return None
    return SigningKey(key) if isinstance(key, Ed25519PrivateKey) else None


def compare_database(daemon: Daemon, manifest: Manifest, url: str, result: Verification) -> None:
    """Compare the restored database with the manifest: counts, revision, audit head, keys."""
    with snapshot(url, daemon.program) as restored:
        counts, revision = restored.counts(), restored.revision()
        facts = daemon.facts(restored.rows)
    for table in sorted(counts.keys() | manifest.counts.keys()):
        stated, found = manifest.counts.get(table), counts.get(table)
        if stated != found:
            result.findings.append(
                f"table {table} has {found} rows, and the manifest says {stated}"
            )
    if revision != manifest.schema_revision:
        result.findings.append(
            f"the schema has revision {revision}, and the manifest says {manifest.schema_revision}"
        )
    if facts.audit_head != manifest.audit_head:
        result.findings.append("the audit chain ends with another record than the manifest says")
    if dict(facts.check_values) != manifest.check_values:
        result.findings.append("the database knows other key check values than the manifest says")
    if not result.findings:
        rows = sum(counts.values())
        result.said.append(f"{rows} rows of {len(counts)} tables, as the manifest says")
