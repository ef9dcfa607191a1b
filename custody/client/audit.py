"""Verify that listed audit records are those that the owner of the chain has signed.

The service lists the records, so it could leave some out or change them. It cannot sign the heads
of a node's chain.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from custody.client.errors import AuditNotVerified
from custody.wire.audit import AuditHead, chain_hash
from custody.wire.resources import AuditRecord
from custody.wire.signed_bytes import AUDIT_HEAD_TYPE, BadSignedBytes, PinnedKeys
from custody.wire.strict_json import NotJson, NotStrictJson, parse_json

OWN = "control-plane"
"""The node of the control plane's own records."""


@dataclass(frozen=True)
class VerifiedAudit:
    """What was verified: ``count`` records, from number ``first`` to ``last``; None without any.

    ``gaps``: first and last number of records that are not listed, newest gap first. A node that
    pruned its chain before it sent these records has stated that in a record of kind Prune.
    """

    count: int
    first: int | None
    last: int | None
    gaps: tuple[tuple[int, int], ...]


def verify_audit_records(
    records: Iterable[AuditRecord], node: str, public_keys: Iterable[bytes]
) -> VerifiedAudit:
    """Verify the records of one chain as ``list_audit_records`` lists them without other filters.

    ``public_keys``: 32-byte Ed25519 keys from the chain's owner, and not from this service. For a
    node, its identity key; for ``control-plane``, its job-signing keys. Each record must be the one
    before the record that was listed before it, or its own head must be signed. Raise
    AuditNotVerified.

    This does not notice a service that leaves out the newest records: compare ``last`` with a head
    that was noted elsewhere. A record that is not strict JSON is shown without fields, and only its
    bytes are verified.
    """
    keys, gaps = PinnedKeys(list(public_keys)), list[tuple[int, int]]()
    count, newer, last = 0, None, None
    for record in records:
        _require_content(record, node)
        if newer is None:
            last = record.sequence
        elif record.sequence >= newer.sequence:
            raise AuditNotVerified(
                f"record {record.sequence} is listed after record {newer.sequence}"
            )
        elif record.sequence < newer.sequence - 1:
            gaps.append((record.sequence + 1, newer.sequence - 1))
        elif record.hash != newer.previous_hash:
            raise AuditNotVerified(
                f"record {newer.sequence} does not follow record {record.sequence}"
            )
        is_linked = newer is not None and record.sequence == newer.sequence - 1
        _require_head(record, node, keys, is_needed=not is_linked)
        count, newer = count + 1, record
    return VerifiedAudit(count, newer.sequence if newer else None, last, tuple(gaps))


def _require_content(record: AuditRecord, node: str) -> None:
    """Raise AuditNotVerified unless hash and fields are those of the record's bytes."""
    if record.node != node:
        raise AuditNotVerified(f"record {record.sequence} is of node {record.node}, not {node}")
    if record.previous_hash is None or (
        chain_hash(record.previous_hash, record.record) != record.hash
    ):
        raise AuditNotVerified(f"the hash of record {record.sequence} is not that of its bytes")
    said = _said(record)
    if said is None:
        if (record.kind, record.operator, record.at, record.details) != (None, None, None, {}):
            raise AuditNotVerified(f"record {record.sequence} is shown with fields that it lacks")
        return
    named = {name: said.pop(name, None) for name in ("node", "sequence", "kind", "operator")}
    at = said.pop("at", None)
    details = said.get("details") if node == OWN else said
    shown = {
        "node": node,
        "sequence": record.sequence,
        "kind": record.kind,
        "operator": record.operator,
    }
    if named != shown or details != record.details or _time(at) != record.at:
        raise AuditNotVerified(f"record {record.sequence} is shown otherwise than its bytes say")


def _said(record: AuditRecord) -> dict[str, Any] | None:
    """Return what a record says; None if parsers would read it differently."""
    try:
        return dict[str, Any](parse_json(record.record))
    except (NotJson, TypeError):
        raise AuditNotVerified(f"record {record.sequence} is not a JSON object") from None
    except NotStrictJson:
        return None


def _time(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None


def _require_head(record: AuditRecord, node: str, keys: PinnedKeys, *, is_needed: bool) -> None:
    """Raise AuditNotVerified for a wrong head, and for a missing head that is needed."""
    if record.head is None or record.head.signing_key_id not in keys.ids:
        if is_needed:
            raise AuditNotVerified(f"no given key has signed the head of record {record.sequence}")
        return
    try:
        head = AuditHead.model_validate_json(keys.open(AUDIT_HEAD_TYPE, record.head))
    except (BadSignedBytes, ValidationError) as error:
        raise AuditNotVerified(f"the head of record {record.sequence}: {error}") from None
    if (head.node, head.sequence, head.hash) != (node, record.sequence, record.hash):
        raise AuditNotVerified(f"the head of record {record.sequence} is of another record")
