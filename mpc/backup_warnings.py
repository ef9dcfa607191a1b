"""Warnings of encryption keys whose backup nobody has confirmed."""

from custody.database.pool import Pool
from custody.node.key_backups import unconfirmed
from custody.runtime.checks import Check, Status
from mpc.shares.encryption_key import EncryptionKey, HsmKey
from mpc.shares.encryption_keys import EncryptionKeys, known_keys

IN_HSM = "mpc-signer master-key confirm-backup"


async def backup_warnings(pool: Pool, keys: EncryptionKeys) -> list[str]:
    """Return a warning for each encryption key without a confirmed backup."""
    return [_words(key) for key in await _missing(pool, keys)]


async def backup_check(pool: Pool, keys: EncryptionKeys) -> Check:
    """Return doctor's check of the confirmations."""
    name = "encryption key backup"
    missing = await _missing(pool, keys)
    if missing:
        return Check(
            name,
            Status.WARN,
            "; ".join(_words(key) for key in missing),
            "Without this key the shares of this signer are lost. Read "
            "docs/how-to/back-up-the-master-key.md.",
        )
    return Check(name, Status.OK, "confirmed")


async def _missing(pool: Pool, keys: EncryptionKeys) -> list[EncryptionKey]:
    """Return the available keys of the HSM without a confirmed backup.

    A key that `rewrap` has just made is not available to a signer that still runs.
    """
    available = {key.id: key for key in keys if isinstance(key, HsmKey)}
    found = await unconfirmed(pool, await known_keys(pool))
    return [available[each] for each in sorted(found) if each in available]


def _words(key: EncryptionKey) -> str:
    return f"no confirmed backup of encryption key {key.id} ({key.name}): {IN_HSM}"
