"""Parsing of audit records and signed heads; each malformed record becomes a finding."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from custody.wire.audit import AuditHead, Restored
from custody.wire.node_api import AuditHeads, KnownRestore
from custody.wire.outcomes import OutcomeStatus
from custody.wire.signed_bytes import (
    AUDIT_HEAD_TYPE,
    RESTORED_TYPE,
    BadSignedBytes,
    PinnedKeys,
    SignedBytes,
    SigningKey,
)
from custody.wire.strict_json import NotJson, NotStrictJson, parse_json

MAX_RECORD = 256 * 1024
"""Largest record, in bytes; a node writes records of a few thousand bytes at most."""
RESTORED = "Restored"
"""The kind of a record that states a restore."""
MAX_FINDINGS = 1_000

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True)
class Finding:
    """A fault of the chain, with its sequence number; None if it belongs to no record."""

    sequence: int | None
    what: str


class Findings:
    """The first MAX_FINDINGS findings, and the number of all findings."""

    def __init__(self) -> None:
        self.kept: list[Finding] = []
        self.count = 0

    def add(self, found: Iterable[Finding]) -> None:
        for finding in found:
            self.count += 1
            if len(self.kept) < MAX_FINDINGS:
                self.kept.append(finding)


class BadRecord(ValueError):
    """Bytes that are not a record."""


class Said(BaseModel):
    """A record's contents. ``details`` differ by kind."""

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
    """Parse a record. Raise BadRecord."""
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
    """A restored database: the chain has lost the records after ``agreed``, up to ``kept``.

    ``own`` is the chain's head when the operator stated the restore, in record ``sequence``.
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
        """Return whether the gap contains the record of this number."""
        return self.agreed.sequence < sequence <= self.kept.sequence


@dataclass(frozen=True)
class KeptHead:
    """A head, with the bytes that were signed."""

    head: AuditHead
    signed: SignedBytes


@dataclass(frozen=True)
class Kept:
    """The heads and restores that the control plane keeps, as far as this node has signed them.

    ``restores``: by the payload of their statement.
    """

    heads: list[KeptHead] = field(default_factory=list)
    set_aside: list[KeptHead] = field(default_factory=list)
    restores: dict[bytes, Gap] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def read_kept(answer: AuditHeads, signer: SigningKey, node: str) -> Kept:
    """Open everything that the control plane keeps. An invalid signature becomes a finding."""
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
    """Return a restore after checking its signature and both heads'. Raise ValueError."""
    payload = PinnedKeys([signer.public_key]).open(RESTORED_TYPE, restore.restored)
    try:
        restored = Restored.model_validate_json(payload)
    except ValidationError:
        raise BadSignedBytes("what the node signed is not a restore") from None
    if {restored.node, restored.agreed.node} != {node}:
        raise BadSignedBytes(f"it is of node {restored.node}")
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
    """Return the signed statement in a record of kind RESTORED. Raise ValueError."""
    try:
        return SignedBytes(
            payload=said.details.get("statement"),
            signature=said.details.get("statement_signature"),
            signing_key_id=said.details.get("statement_key"),
        )
    except ValidationError:
        raise BadSignedBytes("the record has no signed statement") from None


def _open_head(signed: SignedBytes, signer: SigningKey, node: str) -> AuditHead:
    payload = PinnedKeys([signer.public_key]).open(AUDIT_HEAD_TYPE, signed)
    try:
        head = AuditHead.model_validate_json(payload)
    except ValidationError:
        raise BadSignedBytes("what the node signed is not an audit head") from None
    if head.node != node:
        raise BadSignedBytes(f"it is of node {head.node}")
    return head


def hashes_of(heads: Sequence[KeptHead]) -> dict[int, set[bytes]]:
    """Return the heads' hashes by sequence: two hashes if a node signed two heads."""
    hashes: dict[int, set[bytes]] = {}
    for kept in heads:
        hashes.setdefault(kept.head.sequence, set()).add(kept.head.hash)
    return hashes
