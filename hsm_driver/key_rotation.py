"""The rotation of master keys by the age of the version that wraps new keys."""

from datetime import UTC, datetime

from custody.database.pool import Pool
from custody.node.key_age import KeyAge
from custody.runtime.checks import Check, Status
from hsm_driver.settings import HsmSection

KIND = "master key"

_NEWEST = """
    SELECT id, first_seen FROM master_keys WHERE retired_at IS NULL
    ORDER BY substring(id FROM '[0-9]+$')::numeric DESC NULLS LAST, length(id) LIMIT 1
"""
"""The key of host signing has the same number and a longer name."""

_OLDER = """
    SELECT master_key, newest.id AS newest, count(*) AS number
    FROM wrapped_keys CROSS JOIN (
        SELECT id, substring(id FROM '[0-9]+$')::numeric AS version FROM master_keys
        WHERE retired_at IS NULL ORDER BY version DESC NULLS LAST, length(id) LIMIT 1
    ) AS newest
    WHERE substring(master_key FROM '[0-9]+$')::numeric < newest.version
    GROUP BY master_key, newest.id ORDER BY master_key
"""

_ROTATION = (
    "hsm-driver master-key generate && hsm-driver master-key adopt, with the names that it prints; "
    "then systemctl restart hsm-driver on each host of the group, and back up the new version: "
    "docs/how-to/new-master-key.md"
)


async def master_key_age(pool: Pool, section: HsmSection) -> KeyAge | None:
    """Return the age of the newest adopted version; None if the database knows no master key.

    An older version has to stay as long as it wraps a stored key.
    """
    row = await pool.row(_NEWEST)
    if row is None:
        return None
    return KeyAge(KIND, row.id, row.first_seen, section.rotate_after_days)


async def rotation_check(pool: Pool, section: HsmSection) -> Check:
    """Return doctor's check of the age."""
    age = await master_key_age(pool, section)
    if age is None:
        return Check(f"{KIND} age", Status.OK, "no master key is in use before the first run")
    return age.check(datetime.now(UTC), _ROTATION)


async def older_keys_check(pool: Pool) -> Check | None:
    """Return doctor's check of the stored keys under older versions; None if there are none.

    The keys of a locked version stay under it: docs/adr/0040-rewrapped-keys.md. So it warns of
    nothing.
    """
    rows = await pool.rows(_OLDER)
    if not rows:
        return None
    under = ", ".join(f"{row.number} under {row.master_key}" for row in rows)
    return Check(
        "keys under older master keys",
        Status.OK,
        f"{under}: hsm-driver master-key rewrap --dry-run says which of them can be put under "
        f"version {rows[0].newest.rpartition('/')[2]}",
    )
