"""Erases all of a key's shares here, for good: the key has moved to another group or is retired."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from custody.database.connection import Connection
from custody.database.pool import Pool
from custody.node.audit import AuditRecord
from custody.node.audited_changes import AuditedChanges, record_without_job
from custody.runtime.errors import OperatorError
from mpc.shares import share_queries
from mpc.shares.audited_shares import ERASE_SHARE
from mpc.shares.shares import stored_share
from mpc.shares.stored_share import StoredShare

_COPIES = """
    SELECT place, name FROM share_copies WHERE key_id = :key_id AND stored_at IS NOT NULL
    ORDER BY place, name
"""

_LEFTOVERS = """
    WITH copies AS (
        DELETE FROM share_copies WHERE key_id = :key_id AND stored_at IS NULL
    ), repairs AS (
        DELETE FROM needed_repairs WHERE key_id = :key_id
    )
    DELETE FROM import_keys WHERE key_id = :key_id
"""
"""What else this database has of the shares: copies that wait for the bucket, and import keys."""


@dataclass(frozen=True)
class Copy:
    """A share copy in the customer's bucket. ``place``: URL of the bucket, and the prefix."""

    place: str
    name: str


@dataclass(frozen=True)
class Erasable:
    """What ``erase`` would erase. ``share``: the one in use. ``copies``: what stays in buckets."""

    share: StoredShare
    copies: Sequence[Copy]


async def erasable(database: Pool, key_id: UUID) -> Erasable:
    """Return what there is to erase. Raise OperatorError if the key may not be erased."""
    rows = await database.rows(share_queries.ERASABLE, {"key_id": key_id})
    if not rows:
        raise OperatorError(
            f"this signer has no share of key {key_id} in use",
            "See mpc-signer shares list --all. To erase a pending set: mpc-signer shares discard.",
        )
    if not rows[0].archived:
        raise OperatorError(
            f"key {key_id} is not archived here",
            "Archive it first, by a request or with mpc-signer shares archive: "
            "docs/how-to/erase-shares.md.",
        )
    copies = await database.rows(_COPIES, {"key_id": key_id})
    return Erasable(stored_share(rows[0]), [Copy(row.place, row.name) for row in copies])


async def erase(
    database: Pool, node: str, key_id: UUID, *, operator: str, reason: str
) -> Sequence[AuditRecord]:
    """Erase all sets of an archived key's shares, and return their audit records.

    The rows stay, without the shares: the id stays that of this key, and the signer gets no share
    of the key any more. Raise OperatorError if the key is not in use, or not archived.
    """

    async def work(connection: Connection) -> Sequence[AuditRecord]:
        await connection.rows(share_queries.KEEP_OUT_WRITERS, {})
        rows = await connection.rows(share_queries.ERASE, {"key_id": key_id})
        await connection.rows(_LEFTOVERS, {"key_id": key_id})
        return [
            record_without_job(
                ERASE_SHARE,
                {
                    "ceremony": str(row.ceremony),
                    "public_key": row.public_key.hex(),
                    "operator": operator,
                    "reason": reason,
                },
                key_id,
            )
            for row in rows
        ]

    records = await AuditedChanges(database, node).change(work)
    if not records:
        raise OperatorError(
            f"key {key_id} is not archived here any more, or its shares are erased already",
            "See mpc-signer shares list --all.",
        )
    return records
