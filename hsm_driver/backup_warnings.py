"""Warnings of master keys whose backup nobody has confirmed."""

from custody.database.pool import Pool
from custody.node.key_backups import unconfirmed
from custody.runtime.checks import Check, Status
from hsm_driver.vault import known_master_keys

COMMAND = "hsm-driver master-key confirm-backup"


async def backup_warnings(pool: Pool) -> list[str]:
    """Return a warning for each master key of the database without a confirmed backup."""
    missing = await unconfirmed(pool, await known_master_keys(pool))
    return [f"no confirmed backup of master key {name}: {COMMAND}" for name in sorted(missing)]


async def backup_check(pool: Pool) -> Check:
    """Return doctor's check of the confirmations."""
    name = "master key backup"
    known = await known_master_keys(pool)
    if not known:
        return Check(
            name,
            Status.WARN,
            "the database knows no master key yet, so nobody has confirmed a backup",
            f"The driver records its master keys when it starts. Then: {COMMAND} --place TEXT",
        )
    missing = sorted(await unconfirmed(pool, known))
    if missing:
        return Check(
            name,
            Status.WARN,
            f"nobody has confirmed a backup of {', '.join(missing)}: if the HSM is lost, each "
            "wallet is lost",
            "Back the HSM up by its vendor's mechanism, prove it, then: "
            f"{COMMAND} --place TEXT (docs/how-to/back-up-the-master-key.md)",
        )
    return Check(name, Status.OK, "confirmed for each version that the database knows")
