"""Making the table of wrapped keys again from their copies in S3."""

from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from custody.database.pool import Pool
from custody.node.audited_changes import AuditedChanges, record_without_job
from custody.node.errors import Failed
from custody.s3.faults import FaultKind, S3Fault
from hsm_driver.audited_keys import REBUILT
from hsm_driver.key_copies import KeyCopies
from hsm_driver.possession import prove_possession
from hsm_driver.vault import INSERT_KEYS, Vault, row_of

PAGE = 1000

_STORED = "SELECT key_id FROM wrapped_keys WHERE key_id = ANY(:key_ids::uuid[])"
_INSERT = f"{INSERT_KEYS} ON CONFLICT DO NOTHING RETURNING key_id"


@dataclass
class Rebuilt:
    """``copies``: in the bucket. ``present``: had a row already. ``strange``: objects, no copies.

    ``unusable``: by key, why its copy gives no key.
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
    key_ids, strange = await copies.key_ids()
    rebuilt = Rebuilt(copies=len(key_ids), strange=strange)
    missing = []
    for begin in range(0, len(key_ids), PAGE):
        page = key_ids[begin : begin + PAGE]
        stored = {row.key_id for row in await pool.rows(_STORED, {"key_ids": page})}
        rebuilt.present += len(stored)
        missing += [key_id for key_id in page if key_id not in stored]
    for key_id in missing:
        try:
            if await _add(vault, copies, changes, key_id, operator):
                rebuilt.added.append(key_id)
            else:  # another command was first
                rebuilt.present += 1
        except Failed as error:
            if error.transient and not _is_about_one_object(error):
                raise
            rebuilt.unusable[key_id] = error.reason
        show(rebuilt.present + len(rebuilt.added) + len(rebuilt.unusable), len(key_ids))
    return rebuilt


def _is_about_one_object(error: Failed) -> bool:
    """Return whether the server refused this object alone. The other copies must still be read."""
    fault = error.__cause__
    return isinstance(fault, S3Fault) and fault.kind in (FaultKind.DENIED, FaultKind.REJECTED)


async def _add(
    vault: Vault, copies: KeyCopies, changes: AuditedChanges, key_id: UUID, operator: str
) -> bool:
    copy = await copies.read(key_id)
    await prove_possession(vault, key_id, copy.key)
    row = row_of(key_id, copy.network, copy.key)
    values = {name: [value] for name, value in row.values.items()}
    details = {
        "operator": operator,
        "public_key": copy.public_key.hex(),
        "scheme": copy.scheme.value,
        "curve": copy.curve.value,
        "network": copy.network.value if copy.network else None,
        "protection": copy.protection.value,
        "master_key": copy.master_key,
    }
    record = record_without_job(REBUILT, details, key_id)
    return bool(await changes.commit(_INSERT, values, record))
