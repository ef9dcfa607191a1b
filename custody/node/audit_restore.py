"""`audit restored`: the node states in its own chain that its database was restored."""

from datetime import UTC, datetime

from custody.database.pool import Pool
from custody.node.audit import AuditRecord, sign_head
from custody.node.audit_checkpoint import last_checkpoint
from custody.node.audit_records import (
    MAX_RECORD,
    RESTORED,
    Gap,
    Kept,
    KeptHead,
    open_gap,
    parse_record,
    stated,
)
from custody.node.audited_changes import AuditedChanges, record_without_job
from custody.runtime.errors import OperatorError
from custody.wire.audit import GENESIS, AuditHead, Restored
from custody.wire.encoding import to_base64
from custody.wire.node_api import KnownRestore
from custody.wire.signed_bytes import RESTORED_TYPE, SignedBytes, SigningKey

_HASHES = """
    SELECT sequence, hash FROM audit
    WHERE node = :node AND sequence = ANY(:sequences::bigint[])
"""

_LAST_STATED = """
    SELECT record FROM audit
    WHERE node = :node AND octet_length(record) <= :size
        AND position(convert_to('"kind":"' || :kind || '"', 'UTF8') IN record) > 0
    ORDER BY sequence DESC LIMIT 1
"""


async def lost_heads(pool: Pool, node: str, signer: SigningKey, kept: Kept) -> list[KeptHead]:
    """Return the kept heads that the chain does not contain, in order."""
    own = await _hashes(pool, node, signer, kept)
    lost = [each for each in kept.heads if own.get(each.head.sequence) != each.head.hash]
    return sorted(lost, key=lambda each: each.head.sequence)


async def state_restore(
    pool: Pool, node: str, signer: SigningKey, kept: Kept, operator: str, reason: str
) -> tuple[SignedBytes, Gap]:
    """Append the statement to the chain and commit it, unless the chain contains it already.

    Raise OperatorError if the chain contains every reported record.
    """
    lost = await lost_heads(pool, node, signer, kept)
    if not lost:
        raise OperatorError(
            f"the chain agrees with all {len(kept.heads)} heads that the control plane keeps",
            "There is no restore to state. For other faults run: audit verify.",
        )
    agreed = await _agreed(pool, node, signer, kept, lost[0].head.sequence)
    before = await _last_stated(pool, node, signer)
    if before is not None and before[1].kept == lost[-1].head:
        return before
    made: list[tuple[SignedBytes, Gap]] = []

    def statement(head: AuditHead) -> AuditRecord:
        restored = Restored(
            node=node,
            agreed=agreed,
            kept=lost[-1].signed,
            own=sign_head(head, signer),
            operator=operator,
            reason=reason,
            at=datetime.now(UTC),
        )
        signed = signer.sign(RESTORED_TYPE, restored.model_dump_json().encode())
        gap = open_gap(KnownRestore(restored=signed), signer, node)
        made.append((signed, gap))
        return _record(signed, gap)

    await AuditedChanges(pool, node).append(statement)
    return made[-1]


def _record(signed: SignedBytes, gap: Gap) -> AuditRecord:
    details: dict[str, str | None] = {
        "operator": gap.operator,
        "reason": gap.reason,
        "agreed_sequence": str(gap.agreed.sequence),
        "kept_sequence": str(gap.kept.sequence),
        "kept_hash": gap.kept.hash.hex(),
        "own_sequence": str(gap.own.sequence),
        "own_hash": gap.own.hash.hex(),
        "statement": to_base64(signed.payload),
        "statement_signature": to_base64(signed.signature),
        "statement_key": signed.signing_key_id,
    }
    return record_without_job(RESTORED, details)


async def _agreed(pool: Pool, node: str, signer: SigningKey, kept: Kept, below: int) -> AuditHead:
    """Return the chain's last head below a sequence number, including heads set aside."""
    own = await _hashes(pool, node, signer, kept)
    heads = [each.head for each in (*kept.heads, *kept.set_aside)]
    held = [head for head in heads if head.sequence < below and own.get(head.sequence) == head.hash]
    nothing = AuditHead(node=node, sequence=0, hash=GENESIS)
    return max(held, key=lambda head: head.sequence, default=nothing)


async def _hashes(pool: Pool, node: str, signer: SigningKey, kept: Kept) -> dict[int, bytes]:
    """Return the chain's hashes at the kept heads. A checkpoint covers the heads before it."""
    sequences = {each.head.sequence for each in (*kept.heads, *kept.set_aside)}
    rows = await pool.rows(_HASHES, {"node": node, "sequences": sorted(sequences)})
    own = {0: GENESIS} | {row.sequence: row.hash for row in rows}
    if sequences <= own.keys():
        return own
    last, _ = await last_checkpoint(pool.rows, node, signer)
    if last is None:
        return own
    checkpoint = last.checkpoint
    before = {
        each.head.sequence: each.head.hash
        for each in kept.heads
        if each.head.sequence < checkpoint.sequence
    }
    return {**before, checkpoint.sequence: checkpoint.hash, **own}


async def _last_stated(pool: Pool, node: str, signer: SigningKey) -> tuple[SignedBytes, Gap] | None:
    """Return the statement of an earlier run, which may not have reached the control plane."""
    values = {"node": node, "kind": RESTORED, "size": MAX_RECORD}
    rows = await pool.rows(_LAST_STATED, values)
    try:
        signed = stated(parse_record(rows[0].record))
        return signed, open_gap(KnownRestore(restored=signed), signer, node)
    except (IndexError, ValueError):
        return None
