"""Verification of wrapped keys: each one signs a test message inside the HSM."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from custody.database.connection import Row
from custody.database.pool import Pool
from custody.node.errors import Failed
from hsm_driver.possession import prove_possession
from hsm_driver.vault import Vault, retired_master_keys, wrapped_key

PAGE = 256

_PAGE = """
    SELECT key_id, scheme, curve, network, public_key, protection, wrapped, master_key, mechanism,
        imported
    FROM wrapped_keys
    WHERE CASE WHEN :key_ids::uuid[] = '{}' THEN master_key <> ALL(:retired::varchar[])
            ELSE key_id = ANY(:key_ids::uuid[]) END
        AND (:last::uuid IS NULL OR key_id > :last::uuid)
    ORDER BY key_id LIMIT :limit
"""
_COUNT = """
    SELECT count(*) FILTER (WHERE master_key <> ALL(:retired::varchar[])) AS usable,
        count(*) FILTER (WHERE master_key = ANY(:retired::varchar[])) AS not_tried
    FROM wrapped_keys
"""


@dataclass(frozen=True)
class StoredKeys:
    """``retired``: names of the retired master keys, which wrap the ``not_tried`` keys.

    ``usable``: the number of all other wrapped keys.
    """

    usable: int
    not_tried: int
    retired: list[str]

    def said(self) -> list[str]:
        """Return the line that tells people about the keys that are not tried."""
        if not self.not_tried:
            return []
        return [f"{self.not_tried} keys under retired master keys, not tried"]


@dataclass(frozen=True)
class BadKey:
    """A key that does not sign for its public key. ``what``: the reason."""

    key_id: str
    what: str


async def stored_keys(database: Pool) -> StoredKeys:
    """Count the wrapped keys. No token has the retired master keys, so theirs cannot be tried."""
    retired = sorted(await retired_master_keys(database))
    [row] = await database.rows(_COUNT, {"retired": retired})
    return StoredKeys(row.usable, row.not_tried, retired)


async def verify_keys(
    vault: Vault,
    database: Pool,
    key_ids: Sequence[UUID],
    retired: Sequence[str],
    done: Callable[[int], None],
) -> tuple[int, list[BadKey]]:
    """Unwrap keys in the HSM, and sign with each. Return the number of keys, and the bad ones.

    ``key_ids``: empty for all keys but those under the ``retired`` master keys; an unknown id is
    not counted. ``done`` gets the number so far.
    """
    bad: list[BadKey] = []
    count = 0
    place: dict[str, object] = {
        "key_ids": list(key_ids),
        "retired": list(retired),
        "last": None,
        "limit": PAGE,
    }
    while rows := await database.rows(_PAGE, place):
        answers = await asyncio.gather(*(_bad_key(vault, row) for row in rows))
        bad += [answer for answer in answers if answer]
        count += len(rows)
        place["last"] = rows[-1].key_id
        done(count)
    return count, bad


async def _bad_key(vault: Vault, row: Row) -> BadKey | None:
    try:
        await prove_possession(vault, row.key_id, wrapped_key(row))
    except Failed as error:
        return BadKey(str(row.key_id), error.reason)
    return None
