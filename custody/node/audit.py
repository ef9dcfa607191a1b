"""The audit chain: each node's hash chain of its decisions and results."""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from custody.database.pool import Pool
from custody.wire.audit import GENESIS, AuditHead, chain_hash
from custody.wire.signed_bytes import AUDIT_HEAD_TYPE, SignedBytes, SigningKey


@dataclass(frozen=True)
class AuditRecord:
    """A record's contents without position and time. ``details`` never contains a secret."""

    job_id: UUID
    kind: str
    key_id: UUID
    job_digest: bytes
    status: str
    code: str | None
    outcome_digest: bytes
    details: dict[str, str | None]

    def record(self, node: str, sequence: int, at: datetime) -> bytes:
        return json.dumps(
            {
                "node": node,
                "sequence": sequence,
                "at": at.isoformat(),
                "job_id": str(self.job_id),
                "kind": self.kind,
                "key_id": str(self.key_id),
                "job_digest": self.job_digest.hex(),
                "status": self.status,
                "code": self.code,
                "outcome_digest": self.outcome_digest.hex(),
                **self.details,
            },
            separators=(",", ":"),
        ).encode()


@dataclass(frozen=True)
class Links:
    """Records ready to insert, and the head once they are committed.

    ``follows``: the record that the database must end with, before the first of these records.
    """

    follows: AuditHead
    head: AuditHead
    sequences: list[int]
    records: list[bytes]
    hashes: list[bytes]

    @property
    def parameters(self) -> dict[str, Any]:
        """For INSERT_LINKS."""
        return {
            "node": self.head.node,
            "follows": self.follows.sequence,
            "previous": self.follows.hash,
            "sequences": self.sequences,
            "records": self.records,
            "hashes": self.hashes,
        }


INSERT_LINKS = """
    INSERT INTO audit (node, sequence, record, hash)
    SELECT CASE
            WHEN :follows::bigint = 0 OR EXISTS (
                SELECT 1 FROM audit
                WHERE node = :node AND sequence = :follows AND hash = :previous
            ) THEN :node::varchar
        END, sequence, record, hash
    FROM unnest(:sequences::bigint[], :records::bytea[], :hashes::bytea[])
        AS link (sequence, record, hash)
"""
"""Raises NotNullViolationError, an integrity error, if the record before the first one is missing.

The database was then restored from a backup while this process ran: its head is of another time.
"""

_HEAD = "SELECT sequence, hash FROM audit WHERE node = :node ORDER BY sequence DESC LIMIT 1"


class AuditChain:
    """Links records to this node's chain. A second process with the node's id would conflict."""

    def __init__(self, pool: Pool, node: str, signer: SigningKey) -> None:
        self._pool = pool
        self._node = node
        self._signer = signer
        self._head: AuditHead | None = None

    def link(self, head: AuditHead, audit_records: list[AuditRecord]) -> Links:
        """Return the links of records that follow ``head``. Call ``advance`` after their commit.

        Read the head before the transaction begins: reading it takes a connection, and a task
        that holds one must not wait for another.
        """
        now = datetime.now(UTC)
        sequence, previous = head.sequence, head.hash
        links = Links(head, head, [], [], [])
        for each in audit_records:
            sequence += 1
            record = each.record(self._node, sequence, now)
            previous = chain_hash(previous, record)
            links.sequences.append(sequence)
            links.records.append(record)
            links.hashes.append(previous)
        return replace(links, head=AuditHead(node=self._node, sequence=sequence, hash=previous))

    def advance(self, links: Links) -> None:
        """Take the new head: the transaction that inserted these records was committed."""
        self._head = links.head

    def forget_head(self) -> None:
        """Forget the head: a transaction's commit is uncertain, so the head must be read again."""
        self._head = None

    async def head(self) -> AuditHead:
        """Return position and hash of the last committed record."""
        if self._head is None:
            rows = await self._pool.rows(_HEAD, {"node": self._node})
            sequence, last = rows[0] if rows else (0, GENESIS)
            self._head = AuditHead(node=self._node, sequence=sequence, hash=last)
        return self._head

    async def signed_head(self) -> SignedBytes:
        """Return the committed head, signed by the node."""
        head = await self.head()
        return self._signer.sign(AUDIT_HEAD_TYPE, head.model_dump_json().encode())
