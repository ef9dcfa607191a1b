"""Making the table of wrapped keys again from their copies in S3."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from custody.database.pool import Pool
from custody.node.audited_changes import AuditedChanges, record_without_job
from custody.node.errors import Failed
from hsm_driver.audited_keys import REBUILT
from hsm_driver.key_copies import KeyCopies, KeyCopy, is_about_one_object
from hsm_driver.possession import prove_possession
from hsm_driver.vault import INSERT_KEYS, Vault, row_of

PAGE = 1000

_STORED = "SELECT key_id FROM wrapped_keys WHERE key_id = ANY(:key_ids::uuid[])"
_INSERT = f"{INSERT_KEYS} ON CONFLICT DO NOTHING RETURNING key_id"


@dataclass
class Rebuilt:
    """``copies``: keys with a copy in the bucket. ``present``: keys that had a row already.

    ``unusable``: by key, why its newest copy gives no key. ``strange``: objects that are no copies.
    """

    copies: int
    present: int = 0
    added: list[UUID] = field(default_factory=list)
    unusable: dict[UUID, str] = field(default_factory=dict)
    strange: list[str] = field(default_factory=list)


async def rebuild(
    pool: Pool,
    vault: Vault,
    copies: KeyCopies,
    changes: AuditedChanges,
    operator: str,
    show: Callable[[int, int], None],
) -> Rebuilt:
    """Add a row for each copy whose key has none, after the key has signed in the HSM.

    It may be stopped at any moment, and run again. ``show`` gets the copies done and all. Raise
    Failed if the bucket cannot be read.
    """
    names, strange = await copies.names()
    key_ids = list(names)
    rebuilt = Rebuilt(copies=len(key_ids), strange=strange)
    missing = []
    for begin in range(0, len(key_ids), PAGE):
        page = key_ids[begin : begin + PAGE]
        stored = {row.key_id for row in await pool.rows(_STORED, {"key_ids": page})}
        rebuilt.present += len(stored)
        missing += [key_id for key_id in page if key_id not in stored]
    for key_id in missing:
        try:
            copy = await _usable_copy(vault, copies, key_id, names[key_id])
            if await _add(changes, copy, operator):
                rebuilt.added.append(key_id)
            else:  # another command was first
                rebuilt.present += 1
        except Failed as error:
            if _ends_all(error):
                raise
            rebuilt.unusable[key_id] = error.reason
        show(rebuilt.present + len(rebuilt.added) + len(rebuilt.unusable), len(key_ids))
    return rebuilt


def _ends_all(error: Failed) -> bool:
    """Return whether no copy can be tried now. A server may also refuse one object alone."""
    return error.transient and not is_about_one_object(error)


async def _usable_copy(
    vault: Vault, copies: KeyCopies, key_id: UUID, names: Sequence[str]
) -> KeyCopy:
    """Return the newest copy whose key signs. Raise the Failed of the newest one if none does.

    An older copy is under an older master key. A restored HSM may have only that one.
    """
    first: Failed | None = None
    for name in names:
        try:
            copy = await copies.read(key_id, name)
            await prove_possession(vault, key_id, copy.key)
        except Failed as error:
            if _ends_all(error):
                raise
            first = first or error
        else:
            return copy
    assert first is not None  # a key has at least one copy
    raise first


async def _add(changes: AuditedChanges, copy: KeyCopy, operator: str) -> bool:
    row = row_of(copy.key_id, copy.network, copy.key)
    details = {
        "operator": operator,
        "public_key": copy.public_key.hex(),
        "scheme": copy.scheme.value,
        "curve": copy.curve.value,
        "network": copy.network.value if copy.network else None,
        "protection": copy.protection.value,
        "master_key": copy.master_key,
        "imported": str(copy.imported).lower(),
    }
    record = record_without_job(REBUILT, details, copy.key_id)
    return bool(await changes.commit(_INSERT, row.alone, record))
