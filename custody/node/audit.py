"""The audit chain: each node's hash chain of its decisions and results."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from custody.database.connection import Connection
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


async def read_head(database: Pool | Connection, node: str) -> AuditHead:
    """Return position and hash of the last record of a node; GENESIS for an empty chain."""
    row = await database.row(_HEAD, {"node": node})
    sequence, last = row or (0, GENESIS)
    return AuditHead(node=node, sequence=sequence, hash=last)


def sign_head(head: AuditHead, signer: SigningKey) -> SignedBytes:
    """Return a head, signed by its node."""
    return signer.sign(AUDIT_HEAD_TYPE, head.model_dump_json().encode())


def link(head: AuditHead, audit_records: Sequence[AuditRecord]) -> Links:
    """Return the links of records that follow ``head``."""
    now = datetime.now(UTC)
    sequence, previous = head.sequence, head.hash
    links = Links(head, head, [], [], [])
    for each in audit_records:
        sequence += 1
        record = each.record(head.node, sequence, now)
        previous = chain_hash(previous, record)
        links.sequences.append(sequence)
        links.records.append(record)
        links.hashes.append(previous)
    return replace(links, head=AuditHead(node=head.node, sequence=sequence, hash=previous))


class AuditChain:
    """The head of the running node's chain, kept in memory between its transactions.

    Read the head before a transaction begins: reading it takes a connection, and a task that holds
    one must not wait for another. An operator's command may append to the chain too
    (custody/node/audited_changes.py). An insertion then conflicts: forget the head, and retry.
    """

    def __init__(self, pool: Pool, node: str, signer: SigningKey) -> None:
        self._pool = pool
        self._node = node
        self._signer = signer
        self._head: AuditHead | None = None

    def advance(self, links: Links) -> None:
        """Take the new head: the transaction that inserted these records was committed."""
        self._head = links.head

    def forget_head(self) -> None:
        """Forget the head: a transaction's commit is uncertain, so the head must be read again."""
        self._head = None

    async def head(self) -> AuditHead:
        """Return position and hash of the last committed record."""
        if self._head is None:
            self._head = await read_head(self._pool, self._node)
        return self._head

    async def signed_head(self) -> SignedBytes:
        """Return the committed head, signed by the node."""
        return sign_head(await self.head(), self._signer)
