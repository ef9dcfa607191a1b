"""Audit records and signed heads as they are read back: what does not parse is named."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from custody.wire.audit import AuditHead, Restored
from custody.wire.envelope import (
    AUDIT_HEAD_TYPE,
    RESTORED_TYPE,
    BadEnvelope,
    PinnedKeys,
    SignedBytes,
    SigningKey,
)
from custody.wire.node_api import AuditHeads, KnownRestore
from custody.wire.outcomes import OutcomeStatus
from custody.wire.strict_json import NotJson, NotStrictJson, parse_json

MAX_RECORD = 256 * 1024
"""Bytes; the largest that a node writes are a few thousand."""
RESTORED = "Restored"
"""The kind of a record that states a restore."""
MAX_FINDINGS = 1_000

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True)
class Finding:
    """Something wrong, at a sequence number of the chain; None where it is at none."""

    sequence: int | None
    what: str


class Findings:
    """The first MAX_FINDINGS of them, and how many there are."""

    def __init__(self) -> None:
        self.kept: list[Finding] = []
        self.count = 0

    def add(self, found: Iterable[Finding]) -> None:
        for finding in found:
            self.count += 1
            if len(self.kept) < MAX_FINDINGS:
                self.kept.append(finding)


class BadRecord(ValueError):
    """Bytes that no node writes as a record."""


class Said(BaseModel):
    """What a record says. Its details, which differ by kind, are in ``details``."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    node: str
    sequence: int
    at: AwareDatetime
    job_id: UUID
    kind: str
    key_id: UUID
    job_digest: Digest
    status: OutcomeStatus
    code: str | None
    outcome_digest: Digest

    @property
    def details(self) -> dict[str, Any]:
        return self.model_extra or {}

    def detail(self, name: str) -> str | None:
        value = self.details.get(name)
        return value if isinstance(value, str) else None


def parse_record(record: bytes) -> Said:
    """What a record says. Raises BadRecord."""
    try:
        parse_json(record)
        return Said.model_validate_json(record)
    except ValidationError as error:
        places = {".".join(map(str, fault["loc"])) for fault in error.errors()}
        raise BadRecord(f"missing or malformed: {', '.join(sorted(places))}") from None
    except NotJson as error:
        raise BadRecord(f"it is not JSON: {error}") from None
    except NotStrictJson as error:
        raise BadRecord(str(error)) from None


@dataclass(frozen=True)
class Gap:
    """A restored database: the records after ``agreed``, up to ``kept``, are in the chain no more.

    ``own`` is the chain's head when that was stated, in record ``sequence``.
    """

    sequence: int
    agreed: AuditHead
    kept: AuditHead
    own: AuditHead
    operator: str
    reason: str
    at: datetime
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    acknowledged_reason: str | None = None

    def covers(self, sequence: int) -> bool:
        """Whether the record of this number is one of those that it has cost."""
        return self.agreed.sequence < sequence <= self.kept.sequence


@dataclass(frozen=True)
class KeptHead:
    """A head, with the bytes that were signed."""

    head: AuditHead
    signed: SignedBytes


@dataclass(frozen=True)
class Kept:
    """What is kept elsewhere of a node's chain, as far as this node has signed it.

    ``restores`` are by the payload of their statement.
    """

    heads: list[KeptHead] = field(default_factory=list)
    set_aside: list[KeptHead] = field(default_factory=list)
    restores: dict[bytes, Gap] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def read_kept(answer: AuditHeads, signer: SigningKey, node: str) -> Kept:
    """Open all that the control plane keeps. What does not hold becomes a finding."""
    kept = Kept()
    for signed_heads, opened in ((answer.heads, kept.heads), (answer.set_aside, kept.set_aside)):
        for signed in signed_heads:
            try:
                opened.append(KeptHead(_open_head(signed, signer, node), signed))
            except ValueError as error:
                kept.findings.append(Finding(None, f"a kept head is not this node's: {error}"))
    for restore in answer.restores:
        try:
            gap = open_gap(restore, signer, node)
        except ValueError as error:
            kept.findings.append(Finding(None, f"a kept restore is not this node's: {error}"))
        else:
            kept.restores[restore.restored.payload] = gap
    return kept


def open_gap(restore: KnownRestore, signer: SigningKey, node: str) -> Gap:
    """A restore, once it and both heads are seen to be signed by this node. Raises ValueError."""
    payload = PinnedKeys([signer.public_key]).open(RESTORED_TYPE, restore.restored)
    try:
        restored = Restored.model_validate_json(payload)
    except ValidationError:
        raise BadEnvelope("what the node signed is not a restore") from None
    if {restored.node, restored.agreed.node} != {node}:
        raise BadEnvelope(f"it is of node {restored.node}")
    own = _open_head(restored.own, signer, node)
    return Gap(
        sequence=own.sequence + 1,
        agreed=restored.agreed,
        kept=_open_head(restored.kept, signer, node),
        own=own,
        operator=restored.operator,
        reason=restored.reason,
        at=restored.at,
        acknowledged_at=restore.acknowledged_at,
        acknowledged_by=restore.acknowledged_by,
        acknowledged_reason=restore.acknowledged_reason,
    )


def stated(said: Said) -> SignedBytes:
    """The signed statement in a record of kind RESTORED. Raises ValueError."""
    try:
        return SignedBytes(
            payload=said.details.get("statement"),
            signature=said.details.get("statement_signature"),
            signing_key_id=said.details.get("statement_key"),
        )
    except ValidationError:
        raise BadEnvelope("the record has no signed statement") from None


def _open_head(signed: SignedBytes, signer: SigningKey, node: str) -> AuditHead:
    payload = PinnedKeys([signer.public_key]).open(AUDIT_HEAD_TYPE, signed)
    try:
        head = AuditHead.model_validate_json(payload)
    except ValidationError:
        raise BadEnvelope("what the node signed is not an audit head") from None
    if head.node != node:
        raise BadEnvelope(f"it is of node {head.node}")
    return head


def hashes_of(heads: Sequence[KeptHead]) -> dict[int, set[bytes]]:
    """By sequence; two for one sequence are kept where a node has signed two."""
    hashes: dict[int, set[bytes]] = {}
    for kept in heads:
        hashes.setdefault(kept.head.sequence, set()).add(kept.head.hash)
    return hashes
