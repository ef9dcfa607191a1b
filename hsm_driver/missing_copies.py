"""Copies in S3 for stored keys that have none under their present master key."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from custody.database.pool import Pool
from custody.node.errors import Failed
from custody.pkcs11.errors import MasterKeyMissing
from hsm_driver.key_copies import KeyCopies, object_name, version_of
from hsm_driver.key_verification import BadKey
from hsm_driver.possession import prove_possession
from hsm_driver.rewrap import raise_if_it_ends_all
from hsm_driver.vault import SELECT_KEYS, Vault, network_of, wrapped_key

PAGE = 1000

_NEXT = SELECT_KEYS.replace(
    "key_id = ANY(:key_ids::uuid[])",
    "master_key = ANY(:newest::varchar[]) AND key_id > :last::uuid ORDER BY key_id LIMIT :limit",
)


@dataclass
class PutCopies:
    """``number``: copies that were put, or are missing. ``failed``: keys without one, and why."""

    number: int = 0
    failed: list[BadKey] = field(default_factory=list)


async def put_missing(
    pool: Pool, vault: Vault, copies: KeyCopies, newest: Collection[str], *, dry_run: bool = False
) -> PutCopies:
    """Put a copy of each key under these master keys that has none under them.

    Each key signs first: a copy is never written twice. With ``dry_run``, only count these keys.
    Raise OperatorError if the bucket cannot be listed, or if no further copy can be put.
    """
    try:
        names, _ = await copies.names()
    except Failed as error:
        raise_if_it_ends_all(error)
        raise
    done, last = PutCopies(), UUID(int=0)
    while page := await pool.rows(_NEXT, {"newest": list(newest), "last": last, "limit": PAGE}):
        for row in page:
            try:
                if await _has_copy(copies, row, names.get(row.key_id, [])):
                    continue
                if not dry_run:
                    await _put(vault, copies, row)
                done.number += 1
            except Failed as error:
                raise_if_it_ends_all(error)
                done.failed.append(BadKey(str(row.key_id), error.reason))
        last = page[-1].key_id
    return done


async def _has_copy(copies: KeyCopies, row: Any, names: Sequence[str]) -> bool:
    """Return whether the bucket has a copy of the key under the master key of its row.

    A copy that an older master key has sealed counts as none once that master key is gone.
    """
    if object_name(row.key_id, version_of(row.master_key)) in names:
        return True
    first = object_name(row.key_id)
    if first not in names:
        return False
    try:
        copied_under = (await copies.read(row.key_id, first)).master_key
    except MasterKeyMissing:
        return False
    return copied_under == str(row.master_key)


async def _put(vault: Vault, copies: KeyCopies, row: Any) -> None:
    key = wrapped_key(row)
    await prove_possession(vault, row.key_id, key)
    await copies.put_rewrapped(row.key_id, network_of(row), key)
