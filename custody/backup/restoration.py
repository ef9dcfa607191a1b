"""`backup restore`: put a backup back, into an empty database and into an empty folder only."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from custody.backup import layout
from custody.backup.age import Identity
from custody.backup.daemon import Advance, Daemon
from custody.backup.errors import Damaged
from custody.backup.files import write_files
from custody.backup.layout import OpenBackup
from custody.backup.snapshot import snapshot
from custody.backup.verification import (
    Verification,
    compare_database,
    key_in,
    open_checked,
    read_files,
    restore_database,
)
from custody.database.url import parts_of
from custody.runtime.errors import OperatorError

_OBJECTS = """
    SELECT count(*) AS number FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
"""


def require_empty(url: str, program: str) -> None:
    """Raise OperatorError unless the database has no table, index or sequence of its own."""
    with snapshot(url, program) as taken:
        number = taken.row(_OBJECTS).number
    if number:
        name = parts_of(url).get("dbname", "")
        raise OperatorError(
            f"the database {name} is not empty: a restore never overwrites anything",
            "Create another database (createdb), and name it in [database]. Do not run migrate "
            "before the restore.",
        )


def restore(
    daemon: Daemon,
    path: Path,
    identities: Sequence[Identity],
    public_keys: Sequence[bytes],
    advance: Advance,
) -> Verification:
    """Restore the database of a backup into the configured database, in one transaction.

    Raise Damaged, CannotDecrypt or NotGood, and OperatorError; then the database is still empty.
    The result has findings if the restored database is another one than the manifest says.
    """
    with open_checked(path, public_keys, advance) as backup:
        if backup.manifest.program != daemon.program:
            raise OperatorError(
                f"{path.name} is a backup of {backup.manifest.program}",
                f"Run: {backup.manifest.program} backup restore",
            )
        require_empty(daemon.database_url, daemon.program)
        result = Verification(backup.manifest)
        restore_database(backup, identities, daemon.database_url, advance)
    compare_database(daemon, backup.manifest, daemon.database_url, result)
    return result


def restore_files(
    path: Path, identities: Sequence[Identity], public_key: bytes | None, folder: Path
) -> tuple[list[Path], str]:
    """Write configuration, keys and certificates into a folder, never over a file.

    Return the files, and the id of the key that signed the backup. Without ``public_key``, that is
    the key in the backup itself: it proves that the backup is whole, and not whose it is. The files
    are then decrypted before any checksum is checked. Before they are written, they were compared
    with the manifest, and the manifest's signature was checked with that key.
    Raise Damaged, CannotDecrypt or OperatorError.
    """
    with layout.open_backup(path) as backup:
        if public_key is not None:
            backup.check([public_key])
        found = read_files(backup, identities)
        if public_key is None:
            backup.check([_signer_in(found, backup)])
        return write_files(found, folder), layout.signed_by(backup)


def _signer_in(found: Mapping[str, bytes], backup: OpenBackup) -> bytes:
    """Return the public key among the files that claims to have signed the backup."""
    for key in map(key_in, found.values()):
        if key is not None and key.key_id == layout.signed_by(backup):
            return key.public_key
    raise Damaged(
        f"{backup.name} does not contain the key that signed it",
        "Give the node's public key with --node-key, as `identity show` printed it.",
    )
