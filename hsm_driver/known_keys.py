"""The master keys of the group's database, with all that shows which keys of a token they are."""

from collections import defaultdict
from typing import Any

from custody.database.pool import Pool
from custody.node.errors import Failed
from custody.pkcs11.messages import KnownKey
from custody.pkcs11.stored_proofs import stored_proofs
from custody.pkcs11.wrapped_key import WrappedKey
from hsm_driver.vault import wrapped_key

_KNOWN = "SELECT id, check_value, retired_at IS NOT NULL AS retired FROM master_keys ORDER BY id"

_STORED_KEYS = """
    SELECT under.* FROM master_keys CROSS JOIN LATERAL (
        SELECT * FROM wrapped_keys WHERE master_key = master_keys.id
        ORDER BY key_id LIMIT 2) AS under
"""
"""Two for each master key: one of them may be damaged."""


async def known_keys(pool: Pool) -> list[KnownKey]:
    """Return what the database knows. The workers of a driver use no other keys."""
    proofs = await stored_proofs(pool)
    stored: dict[str, list[WrappedKey]] = defaultdict(list)
    for row in await pool.rows(_STORED_KEYS):
        if (key := _usable(row)) is not None:
            stored[key.master_key].append(key)
    return [
        KnownKey(
            name=row.id,
            check_value=row.check_value,
            proofs=[proof for name, proof in proofs.get(row.check_value, ()) if name == row.id],
            stored_keys=stored[row.id],
            retired=row.retired,
        )
        for row in await pool.rows(_KNOWN)
    ]


def _usable(row: Any) -> WrappedKey | None:
    try:
        return wrapped_key(row)
    except Failed:
        return None
