"""Warnings of encryption keys whose backup nobody has confirmed."""

from custody.database.pool import Pool
from custody.node.key_backups import KeyBackupStatus, unconfirmed
from custody.runtime.checks import Check, Status
from mpc.shares.encryption_key import EncryptionKey, HsmKey
from mpc.shares.encryption_keys import EncryptionKeys, known_keys

IN_HSM = "mpc-signer master-key confirm-backup"
MAKE = "mpc-signer encryption-key backup"
CONFIRM = "mpc-signer encryption-key confirm-backup"


async def backup_warnings(pool: Pool, keys: EncryptionKeys) -> list[str]:
    """Return a warning for each encryption key without a confirmed backup."""
    return [_words(key, backup) for key, backup in await _missing(pool, keys)]


async def backup_check(pool: Pool, keys: EncryptionKeys) -> Check:
    """Return doctor's check of the confirmations."""
    name = "encryption key backup"
    missing = await _missing(pool, keys)
    if missing:
        return Check(
            name,
            Status.WARN,
            "; ".join(_words(key, backup) for key, backup in missing),
            "Without this key the shares of this signer are lost. Read "
            "docs/how-to/back-up-the-encryption-key.md, or docs/how-to/back-up-the-master-key.md "
            "for a key in an HSM.",
        )
    return Check(name, Status.OK, "confirmed")


async def _missing(pool: Pool, keys: EncryptionKeys) -> list[tuple[EncryptionKey, KeyBackupStatus]]:
    """Return the available keys without a confirmed backup.

    A key that `rewrap` has just made is not available to a signer that still runs.
    """
    available = {key.id: key for key in keys}
    # Before the first start the database knows no key: the signer will use one of these.
    known = await known_keys(pool) or {key.id: key.check_value for key in keys}
    found = await unconfirmed(pool, known)
    return [(available[each], found[each]) for each in sorted(found) if each in available]


def _words(key: EncryptionKey, backup: KeyBackupStatus) -> str:
    what = f"no confirmed backup of encryption key {key.id} ({key.name})"
    if isinstance(key, HsmKey):
        return f"{what}: {IN_HSM}"
    if backup.made_at is None:
        return f"{what}: {MAKE}"
    return f"{what}, made at {backup.made_at.isoformat(timespec='seconds')}: {CONFIRM}"
