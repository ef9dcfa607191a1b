"""Checkpoints of an audit chain: the record from which a pruned chain continues.

A checkpoint is signed by the node and stays in the chain. Below its last checkpoint the chain keeps
only the records that `audit verify` still needs. The checkpoint signs a digest of these records.
"""

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from custody.node.audit_records import (
    MAX_RECORD,
    BadRecord,
    Finding,
    Said,
    parse_record,
    stated,
)
from custody.node.outcome_check import Rows
from custody.wire.audit import GENESIS, Checkpoint, chain_hash
from custody.wire.jobs import JobKind
from custody.wire.outcomes import OutcomeStatus
from custody.wire.signed_bytes import (
    AUDIT_CHECKPOINT_TYPE,
    BadSignedBytes,
    PinnedKeys,
    SignedBytes,
    SigningKey,
)

KIND = "Prune"
"""The kind of the record that states a checkpoint."""
PRUNED_KINDS = frozenset({JobKind.SIGN.value, JobKind.APPROVE.value})

_STATED = """
    SELECT sequence, record FROM audit
    WHERE node = :node AND octet_length(record) <= :size
        AND position(convert_to('"kind":"' || :kind || '"', 'UTF8') IN record) > 0
    ORDER BY sequence
"""


@dataclass(frozen=True)
class Stated:
    """A checkpoint, as the node signed it, and the number of the record that states it."""

    checkpoint: Checkpoint
    record: int
    signed: SignedBytes


class KeptDigest:
    """A running digest of the records that stay below a checkpoint, in order."""

    def __init__(self) -> None:
        self.count = 0
        self.value = GENESIS

    def add(self, sequence: int, record: bytes, hash_: bytes) -> None:
        self.value = chain_hash(self.value, sequence.to_bytes(8) + hash_ + record)
        self.count += 1


def is_kept(said: Said) -> bool:
    """Return whether a record stays when the chain is pruned. Never change this rule.

    Outcomes of signatures and of failed jobs go. Records of keys, shares and operators stay:
    `audit verify` compares the database with them.
    """
    return said.status is OutcomeStatus.DONE and said.kind not in PRUNED_KINDS


async def last_checkpoint(
    rows: Rows, node: str, signer: SigningKey
) -> tuple[Stated | None, list[Finding]]:
    """Return the highest checkpoint of a chain, and a finding for each invalid one."""
    findings: list[Finding] = []
    last: Stated | None = None
    place: dict[str, Any] = {"node": node, "size": MAX_RECORD, "kind": KIND}
    for row in await rows(_STATED, place):
        try:
            said = parse_record(row.record)
        except BadRecord:
            continue  # verification of the chain finds it
        if said.kind != KIND:
            continue
        try:
            signed = stated(said)
            found = _open(signed, signer)
            if found.node != node or found.sequence >= row.sequence:
                raise BadSignedBytes("it belongs to another chain or place")
        except ValueError as error:
            findings.append(Finding(row.sequence, f"the checkpoint is invalid: {error}"))
            continue
        if last is None or found.sequence > last.checkpoint.sequence:
            last = Stated(found, row.sequence, signed)
    return last, findings


def _open(signed: SignedBytes, signer: SigningKey) -> Checkpoint:
    payload = PinnedKeys([signer.public_key]).open(AUDIT_CHECKPOINT_TYPE, signed)
    try:
        return Checkpoint.model_validate_json(payload)
    except ValidationError:
        raise BadSignedBytes("what the node signed is not a checkpoint") from None
