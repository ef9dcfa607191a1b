"""The audit records that nodes send: each is kept once, and never changed.

A record is kept only if its hash follows from the records before it, and the node's identity key
has signed the head that the page ends with. A page that contradicts a kept record or a kept head
raises the node's audit alarm, as a head does (heads.py in this folder).
"""

from dataclasses import dataclass
from typing import Any

import structlog

from custody.control_plane.audit.heads import WAY_OUT, AuditHeads, BadHead
from custody.control_plane.audit.record_pages import BadPage, SentPage, SentRecord, open_page
from custody.control_plane.audit.space import (
    DEFAULT_MEGABYTES,
    MEGABYTE,
    ROW_BYTES,
    require_space,
)
from custody.control_plane.columns import columns
from custody.control_plane.database import Database
from custody.control_plane.problems import Code, ProblemError, not_registered
from custody.database.connection import Connection
from custody.wire.audit import BEGIN, AuditPlace
from custody.wire.node_api import AuditRecordsRequest, AuditRecordsResponse

_LOCK_NODE = "SELECT audit_record_bytes FROM nodes WHERE id = :node FOR NO KEY UPDATE"

_LAST = """
    SELECT sequence, hash FROM node_audit_records
    WHERE node_id = :node AND set_aside_by IS NULL ORDER BY sequence DESC LIMIT 1
"""

_CONTRADICTION = """
    SELECT known.sequence, known.hash, ours.hash AS other FROM (
        SELECT sequence, hash FROM node_audit_records
        WHERE node_id = :node AND set_aside_by IS NULL AND sequence BETWEEN :first AND :last
        UNION ALL
        SELECT sequence, hash FROM audit_heads
        WHERE node_id = :node AND set_aside_by IS NULL AND sequence BETWEEN :first AND :last
    ) AS known
    JOIN unnest(:sequences::bigint[], :hashes::bytea[]) AS ours (sequence, hash)
        ON ours.sequence = known.sequence AND ours.hash <> known.hash
    ORDER BY known.sequence LIMIT 1
"""

# after an acknowledged restore the node sends again what it has not lost
_KEEP = """
    WITH kept AS (
        INSERT INTO node_audit_records (node_id, sequence, hash, previous_hash, kind, record,
            payload, signature, signing_key_id)
        SELECT :node, sent.*,
            CASE WHEN sequence = :last THEN :payload::bytea END,
            CASE WHEN sequence = :last THEN :signature::bytea END,
            CASE WHEN sequence = :last THEN :signing_key_id::varchar END
        FROM unnest(:sequence::bigint[], :hash::bytea[], :previous_hash::bytea[],
            :kind::varchar[], :record::bytea[])
            AS sent (sequence, hash, previous_hash, kind, record)
        ON CONFLICT (node_id, sequence, hash) DO UPDATE SET set_aside_by = NULL,
            received_at = now(), payload = coalesce(excluded.payload, node_audit_records.payload),
            signature = coalesce(excluded.signature, node_audit_records.signature),
            signing_key_id = coalesce(excluded.signing_key_id, node_audit_records.signing_key_id)
        RETURNING octet_length(record) + :row_bytes AS size, xmax = 0 AS is_new
    )
    UPDATE nodes SET audit_record_bytes = audit_record_bytes
        + (SELECT coalesce(sum(size), 0) FROM kept WHERE is_new)
    WHERE id = :node
"""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Kept:
    """The place after the last kept record, and the contradiction that a page has shown."""

    place: AuditPlace
    contradiction: str | None = None


class NodeRecords:
    """Keeps the audit records of nodes, up to ``max_bytes`` of each node."""

    def __init__(self, database: Database, max_bytes: int = DEFAULT_MEGABYTES * MEGABYTE) -> None:
        self._database = database
        self._max_bytes = max_bytes
        self._heads = AuditHeads(database)

    async def keep(
        self, node: str, identity: bytes | None, sent: AuditRecordsRequest
    ) -> AuditRecordsResponse:
        """Keep a page, if it follows what is kept. Return the place after the last kept record.

        ``identity``: the node's 32-byte Ed25519 public key; None before its first heartbeat.
        Raise ProblemError for a page that its node has not signed, for a contradiction, and for a
        node that has used up its space.
        """
        if identity is None:
            raise ProblemError(
                Code.UNAVAILABLE, "A node's first heartbeat comes before its audit records."
            )
        if not sent.records:
            return AuditRecordsResponse(
                kept=_place(await self._database.row(_LAST, {"node": node}))
            )
        page = await self._open(node, identity, sent)

        async def work(connection: Connection) -> Kept:
            return await _keep(connection, node, page, self._max_bytes)

        kept = await self._database.in_transaction(work)
        if kept.contradiction is not None:
            await self._heads.raise_alarm(node, f"{kept.contradiction}. {WAY_OUT}", is_gap=True)
            raise ProblemError(Code.INVALID_REQUEST, f"{kept.contradiction}.")
        if kept.place == page.end:
            await self._heads.keep(node, identity, page.head, is_current=False)
        return AuditRecordsResponse(kept=kept.place)

    async def _open(self, node: str, identity: bytes, sent: AuditRecordsRequest) -> SentPage:
        try:
            return open_page(node, identity, sent)
        except BadHead as bad:
            await self._heads.raise_alarm(node, str(bad), is_gap=False)
            raise ProblemError(Code.INVALID_REQUEST, f"head: {bad}") from None
        except BadPage as bad:
            log.error("audit records refused", node=node, reason=str(bad))
            raise ProblemError(Code.INVALID_REQUEST, f"records: {bad}") from None


async def _keep(connection: Connection, node: str, page: SentPage, max_bytes: int) -> Kept:
    locked = await connection.row(_LOCK_NODE, {"node": node})
    if locked is None:
        raise not_registered(node)
    last = _place(await connection.row(_LAST, {"node": node}))
    found = await connection.row(_CONTRADICTION, _values_to_compare(node, page))
    if found is not None:
        return Kept(
            last,
            f"audit record {found.sequence} was changed after it was reported: its hash was "
            f"{found.hash.hex()}, and is now {found.other.hex()}",
        )
    follows = page.after == last or (
        page.is_after_checkpoint and page.after.sequence > last.sequence
    )
    if not follows:
        return Kept(last)
    require_space(node, locked.audit_record_bytes, page.size, max_bytes)
    values = {"node": node, "last": page.end.sequence, "row_bytes": ROW_BYTES}
    rows = columns(SentRecord, page.records)
    await connection.rows(_KEEP, {**values, **rows, **dict(page.head)})
    return Kept(page.end)


def _values_to_compare(node: str, page: SentPage) -> dict[str, Any]:
    hashes = page.hashes
    return {
        "node": node,
        "first": page.after.sequence,
        "last": page.end.sequence,
        "sequences": list(hashes),
        "hashes": list(hashes.values()),
    }


def _place(row: Any) -> AuditPlace:
    return BEGIN if row is None else AuditPlace(sequence=row.sequence, hash=row.hash)
