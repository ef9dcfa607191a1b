"""The rotation of a signer's encryption key by its age."""

from datetime import UTC, date, datetime

from custody.database.pool import Pool
from custody.node.key_age import KeyAge
from custody.runtime.checks import Check, Status
from mpc.settings import EncryptionSection

KIND = "encryption key"

_OLDEST = "SELECT id, first_seen FROM encryption_keys ORDER BY first_seen, id LIMIT 1"
"""A key that protects nothing any more is not in this table."""


async def encryption_key_age(pool: Pool, section: EncryptionSection) -> KeyAge | None:
    """Return the age of the oldest key that protects shares; None if the database knows no key."""
    row = await pool.row(_OLDEST)
    if row is None:
        return None
    return KeyAge(KIND, row.id, row.first_seen, section.rotate_after_days)


async def rotation_check(pool: Pool, section: EncryptionSection) -> Check:
    """Return doctor's check of the age."""
    age, now = await encryption_key_age(pool, section), datetime.now(UTC)
    if age is None:
        return Check(f"{KIND} age", Status.OK, "no key is in use before the first run")
    return age.check(now, rotation_commands(section, now.date()))


def rotation_commands(section: EncryptionSection, today: date) -> str:
    """Return the commands that rotate the key that is in use with this configuration."""
    finish = "then mpc-signer doctor && systemctl start mpc-signer, and back up the new key"
    if section.key_file is None:
        return (
            "mpc-signer master-key generate && systemctl stop mpc-signer && mpc-signer rewrap "
            f"--to-hsm; {finish}: docs/how-to/change-the-encryption-key.md"
        )
    new = section.key_file.with_name(f"encryption-{today.isoformat()}.key")
    return (
        f"systemctl stop mpc-signer && mpc-signer rewrap --new-key-file {new}; write [encryption] "
        f'key_file = "{new}"; {finish}: docs/how-to/change-the-encryption-key.md'
    )
