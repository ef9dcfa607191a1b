"""The audit chain: one hash chain a node of everything it decided, checked against its heads."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from hsm_driver.tables import audit
from wire.audit import GENESIS, AuditHead, chain_hash
from wire.envelope import AUDIT_HEAD_TYPE, BadEnvelope, PinnedKeys, SignedBytes, Signer

PAGE = 1_000


@dataclass(frozen=True)
class Entry:
    """What one record says beside its place and time. ``details`` never holds a secret."""

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


class AuditChain:
    """Appends to this node's chain. One process at a time: a second one's append conflicts."""

    def __init__(self, engine: AsyncEngine, node: str, signer: Signer) -> None:
        self._engine = engine
        self._node = node
        self._signer = signer
        self._head: AuditHead | None = None

    async def append(self, connection: AsyncConnection, entries: list[Entry]) -> AuditHead:
        """Insert records in the caller's transaction; give the new head to ``advance`` after it."""
        head = self._head or await self._read_head(connection)
        now = datetime.now(UTC)
        rows = []
        sequence, previous = head.sequence, head.hash
        for entry in entries:
            sequence += 1
            record = entry.record(self._node, sequence, now)
            previous = chain_hash(previous, record)
            rows.append(
                {"node": self._node, "sequence": sequence, "record": record, "hash": previous}
            )
        if rows:
            await connection.execute(insert(audit).values(rows))
        return AuditHead(node=self._node, sequence=sequence, hash=previous)

    def advance(self, head: AuditHead) -> None:
        """The transaction that appended up to this head is committed."""
        self._head = head

    def forget_head(self) -> None:
        """The transaction may or may not have been committed: read the head again."""
        self._head = None

    async def head(self) -> AuditHead:
        """The last committed record's place and hash."""
        if self._head is None:
            async with self._engine.connect() as connection:
                self._head = await self._read_head(connection)
        return self._head

    async def signed_head(self) -> SignedBytes:
        """The committed head, signed by the node."""
        head = await self.head()
        return self._signer.sign(AUDIT_HEAD_TYPE, head.model_dump_json().encode())

    async def _read_head(self, connection: AsyncConnection) -> AuditHead:
        row = (
            await connection.execute(
                select(audit.c.sequence, audit.c.hash)
                .where(audit.c.node == self._node)
                .order_by(audit.c.sequence.desc())
                .limit(1)
            )
        ).first()
        if row is None:
            return AuditHead(node=self._node, sequence=0, hash=GENESIS)
        return AuditHead(node=self._node, sequence=row.sequence, hash=row.hash)


@dataclass(frozen=True)
class Finding:
    """Something wrong with a chain, at a sequence number."""

    sequence: int
    what: str


class ChainCheck:
    """Compares a chain, record by record, with itself and with the heads kept elsewhere."""

    def __init__(self, node: str, heads: list[AuditHead]) -> None:
        self._node = node
        self._heads = {head.sequence: head.hash for head in heads}
        self._highest = max(self._heads, default=0)
        self._previous = GENESIS
        self.sequence = 0
        self.compared = 0

    def record(self, sequence: int, record: bytes, stored_hash: bytes) -> list[Finding]:
        """Check the next record."""
        findings = []
        self.sequence += 1
        if sequence != self.sequence:
            findings.append(Finding(self.sequence, f"missing: the next record is {sequence}"))
            self.sequence = sequence
        said = json.loads(record)
        if said.get("sequence") != sequence or said.get("node") != self._node:
            findings.append(Finding(sequence, "the record says another place than its own"))
        self._previous = chain_hash(self._previous, record)
        if self._previous != stored_hash:
            findings.append(Finding(sequence, "the hash does not follow from the record before it"))
            self._previous = stored_hash
        if sequence in self._heads:
            self.compared += 1
            if self._heads[sequence] != stored_hash:
                findings.append(
                    Finding(sequence, "differs from the head that this node signed and reported")
                )
        return findings

    def end(self) -> list[Finding]:
        """Check that the chain reaches as far as the node has reported."""
        if self.sequence < self._highest:
            return [
                Finding(
                    self._highest,
                    f"missing: this node signed and reported {self._highest} records, "
                    f"the database ends at {self.sequence}",
                )
            ]
        return []


def open_heads(heads: list[SignedBytes], signer: Signer, node: str) -> list[AuditHead]:
    """The kept heads, once each is seen to be signed by this node. Raises BadEnvelope."""
    pinned = PinnedKeys([signer.public_key])
    opened = [AuditHead.model_validate_json(pinned.open(AUDIT_HEAD_TYPE, head)) for head in heads]
    for head in opened:
        if head.node != node:
            raise BadEnvelope(f"a kept head is of node {head.node}")
    return opened


async def records(engine: AsyncEngine, node: str) -> AsyncIterator[tuple[int, bytes, bytes]]:
    """(sequence, record, hash) of a node's chain, in order, a page at a time."""
    last = 0
    async with engine.connect() as connection:
        while True:
            page = (
                await connection.execute(
                    select(audit.c.sequence, audit.c.record, audit.c.hash)
                    .where(audit.c.node == node, audit.c.sequence > last)
                    .order_by(audit.c.sequence)
                    .limit(PAGE)
                )
            ).all()
            for row in page:
                yield row.sequence, row.record, row.hash
            if len(page) < PAGE:
                return
            last = page[-1].sequence
