"""`audit prune`: deletes exported audit records up to a signed checkpoint, in constant memory.

The checkpoint is committed first. A crash while records are deleted leaves some of them, which
`audit verify` skips, and which the next prune deletes.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime

from custody.database.connection import Connection, Row
from custody.database.pool import Pool
from custody.node.audit import AuditRecord
from custody.node.audit_checkpoint import (
    KIND,
    KeptDigest,
    Stated,
    is_kept,
    last_checkpoint,
)
from custody.node.audit_records import BadRecord, Said, parse_record
from custody.node.audited_changes import AuditedChanges, record_without_job
from custody.node.chain_verification import Subject
from custody.runtime.audit_file import FileVerification
from custody.runtime.errors import OperatorError
from custody.runtime.exported_chain import require_exported, require_same_record
from custody.wire.audit import GENESIS, Checkpoint, chain_hash
from custody.wire.encoding import to_base64
from custody.wire.signed_bytes import AUDIT_CHECKPOINT_TYPE

PAGE = 500
VERIFY = "Run: audit verify. It names the record."

_PAGE = """
    SELECT sequence, record, hash FROM audit
    WHERE node = :node AND sequence > :last AND sequence <= :until ORDER BY sequence LIMIT :limit
"""
_DELETE = """
    DELETE FROM audit WHERE node = :node AND sequence = ANY(:sequences::bigint[])
    RETURNING sequence
"""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Order:
    """Prune the records before a time that a verified export contains."""

    exported: FileVerification
    before: datetime
    operator: str
    reason: str


@dataclass(frozen=True)
class Pruned:
    """``checkpoint``: None if no record is old enough. ``deleted``: number of records.

    ``notes``: what the chains of other nodes must show, from the check before.
    """

    checkpoint: Checkpoint | None
    deleted: int
    notes: tuple[str, ...] = ()


class Pruning:
    """Prunes the chain of a node, beside the running node."""

    def __init__(self, pool: Pool, subject: Subject) -> None:
        self._pool = pool
        self._subject = subject

    async def prune(self, order: Order, progress: Progress = lambda *_: None) -> Pruned:
        """State a checkpoint and delete the records up to it. Raise OperatorError."""
        before = await self._last()
        exported = await self._require_exported(order.exported, before)
        made = await self._checkpoint(order, exported, before)
        if made is not None:
            await self._state(made, before, order)
        last = made
        if last is None and before is not None:  # a crash may have left records below it
            last = before.checkpoint
        deleted = 0 if last is None else await self._delete(last.sequence, progress)
        return Pruned(made, deleted)

    async def _last(self) -> Stated | None:
        last, findings = await last_checkpoint(
            self._pool.rows, self._subject.node, self._subject.signer
        )
        if findings:
            raise OperatorError(f"record {findings[0].sequence}: {findings[0].what}", VERIFY)
        return last

    async def _require_exported(self, file: FileVerification, before: Stated | None) -> int:
        """Return the last exported record. Raise OperatorError."""
        pruned = 0 if before is None else before.checkpoint.sequence
        last = require_exported(file, pruned, "Run: audit verify --file FILE.")
        if last > pruned:
            place = {"node": self._subject.node, "last": last - 1, "until": last, "limit": 1}
            [*rows] = await self._pool.rows(_PAGE, place)
            require_same_record(
                file,
                rows[0].hash if rows else None,
                "Name the file of this node's last export. If the database was restored, run: "
                "audit verify.",
            )
        return last

    async def _checkpoint(
        self, order: Order, exported: int, before: Stated | None
    ) -> Checkpoint | None:
        """Return a checkpoint at the last exported record before the time; None if there is none.

        Every hash up to it is checked again.
        """
        kept = await self._kept_before(before)
        begin, previous = 0, GENESIS
        if before is not None:
            begin, previous = before.checkpoint.sequence, before.checkpoint.hash
        at: datetime | None = None
        sequence = begin
        async for row, said in self._records(begin, exported):
            if said.at >= order.before:
                break
            if row.sequence != sequence + 1 or chain_hash(previous, row.record) != row.hash:
                raise OperatorError(f"the chain is damaged at record {row.sequence}", VERIFY)
            sequence, previous, at = row.sequence, row.hash, said.at
            if is_kept(said):
                kept.add(row.sequence, row.record, row.hash)
        if at is None:
            return None
        return Checkpoint(
            node=self._subject.node,
            sequence=sequence,
            hash=previous,
            at=at,
            kept=kept.count,
            kept_digest=kept.value,
        )

    async def _kept_before(self, before: Stated | None) -> KeptDigest:
        kept = KeptDigest()
        if before is None:
            return kept
        async for row, said in self._records(0, before.checkpoint.sequence):
            if is_kept(said):
                kept.add(row.sequence, row.record, row.hash)
        if kept.value != before.checkpoint.kept_digest:
            raise OperatorError("records below the last checkpoint were changed", VERIFY)
        return kept

    async def _state(self, made: Checkpoint, before: Stated | None, order: Order) -> None:
        """Commit the checkpoint, unless another prune was first."""
        signed = self._subject.signer.sign(AUDIT_CHECKPOINT_TYPE, made.model_dump_json().encode())
        details: dict[str, str | None] = {
            "operator": order.operator,
            "reason": order.reason,
            "checkpoint": str(made.sequence),
            "checkpoint_hash": made.hash.hex(),
            "statement": to_base64(signed.payload),
            "statement_signature": to_base64(signed.signature),
            "statement_key": signed.signing_key_id,
        }

        async def work(connection: Connection) -> list[AuditRecord]:
            found, _ = await last_checkpoint(
                connection.rows, self._subject.node, self._subject.signer
            )
            if found != before:
                raise OperatorError(
                    "another command has pruned this chain meanwhile", "Run the command again."
                )
            return [record_without_job(KIND, details)]

        await AuditedChanges(self._pool, self._subject.node).change(work)

    async def _delete(self, until: int, progress: Progress) -> int:
        deleted, batch = 0, []
        async for row, said in self._records(0, until):
            if not is_kept(said):
                batch.append(row.sequence)
            if len(batch) == PAGE:
                deleted += await self._delete_batch(batch)
                batch = []
                progress(row.sequence, until)
        return deleted + await self._delete_batch(batch)

    async def _delete_batch(self, sequences: list[int]) -> int:
        if not sequences:
            return 0
        values = {"node": self._subject.node, "sequences": sequences}
        return len(await self._pool.rows(_DELETE, values))

    async def _records(self, last: int, until: int) -> AsyncIterator[tuple[Row, Said]]:
        """Yield the records after ``last`` up to ``until``, in pages. Raise OperatorError."""
        place = {"node": self._subject.node, "until": until, "limit": PAGE}
        while page := await self._pool.rows(_PAGE, {**place, "last": last}):
            for row in page:
                try:
                    yield row, parse_record(row.record)
                except BadRecord as bad:
                    raise OperatorError(
                        f"record {row.sequence} is malformed: {bad}", VERIFY
                    ) from None
            last = page[-1].sequence
