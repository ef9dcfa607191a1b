"""A page of audit records, checked against its own signed head. Pure."""

import json
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from custody.control_plane.audit.heads import BadHead, open_head
from custody.control_plane.audit.space import ROW_BYTES
from custody.wire.audit import BEGIN, AuditPlace, Checkpoint, chain_hash
from custody.wire.node_api import AuditRecordsRequest
from custody.wire.signed_bytes import (
    AUDIT_CHECKPOINT_TYPE,
    BadSignedBytes,
    PinnedKeys,
    SignedBytes,
)
from custody.wire.strict_json import check_depth


class BadPage(ValueError):
    """A page that is not as this node's signed head says."""


class _Said(BaseModel):
    node: str
    sequence: int
    kind: Annotated[str, Field(pattern=r"^[A-Za-z]{1,64}$")]


@dataclass(frozen=True)
class SentRecord:
    """A record whose hash was computed from ``previous_hash`` and ``record``."""

    sequence: int
    hash: bytes
    previous_hash: bytes
    kind: str
    record: bytes


@dataclass(frozen=True)
class SentPage:
    """Records that follow each other, and the head of the last one, which the node signed.

    ``is_after_checkpoint``: the node has signed that the records before the page were pruned.
    """

    after: AuditPlace
    records: list[SentRecord]
    head: SignedBytes
    is_after_checkpoint: bool

    @property
    def end(self) -> AuditPlace:
        """Return the place after the last record."""
        return AuditPlace(sequence=self.records[-1].sequence, hash=self.records[-1].hash)

    @property
    def size(self) -> int:
        """Return the bytes that the records take up in the database, as they are counted."""
        return sum(len(each.record) + ROW_BYTES for each in self.records)

    @property
    def hashes(self) -> dict[int, bytes]:
        """Return the hash of each record, and of the record before the page, by number."""
        first = {self.after.sequence: self.after.hash}
        return first | {each.sequence: each.hash for each in self.records}


def open_page(node: str, identity: bytes, page: AuditRecordsRequest) -> SentPage:
    """Compute the hashes of a page with records, and compare the last one with the signed head.

    ``identity``: the node's 32-byte Ed25519 public key. Raise BadHead for a head that the node has
    not signed as its own, and BadPage for all other faults.
    """
    if page.head is None:
        raise BadPage("the page has no signed head")
    if page.after.sequence == 0 and page.after != BEGIN:
        raise BadPage("the hash before the first record is not 32 zero bytes")
    records = _records(node, page)
    head = open_head(node, identity, page.head)
    if (head.sequence, head.hash) != (records[-1].sequence, records[-1].hash):
        raise BadPage(
            f"the records lead to record {records[-1].sequence} with hash "
            f"{records[-1].hash.hex()}, and the signed head is record {head.sequence} with hash "
            f"{head.hash.hex()}"
        )
    if page.checkpoint is not None:
        _require_checkpoint_at(page.after, node, identity, page.checkpoint)
    return SentPage(page.after, records, page.head, page.checkpoint is not None)


def _records(node: str, page: AuditRecordsRequest) -> list[SentRecord]:
    records, previous = list[SentRecord](), page.after.hash
    for sequence, record in enumerate(page.records, page.after.sequence + 1):
        try:
            check_depth(text := record.decode())
            # not more strictly: the record is in the node's chain, and must be sent unchanged
            said = _Said.model_validate(json.loads(text))
        except (ValidationError, ValueError, RecursionError):
            raise BadPage(f"record {sequence} is not an audit record") from None
        if (said.node, said.sequence) != (node, sequence):
            raise BadPage(
                f"record {sequence} of the page is record {said.sequence} of node {said.node}"
            )
        hash_ = chain_hash(previous, record)
        records.append(SentRecord(sequence, hash_, previous, said.kind, record))
        previous = hash_
    return records


def _require_checkpoint_at(
    place: AuditPlace, node: str, identity: bytes, signed: SignedBytes
) -> None:
    try:
        payload = PinnedKeys([identity]).open(AUDIT_CHECKPOINT_TYPE, signed)
        checkpoint = Checkpoint.model_validate_json(payload)
    except BadSignedBytes as bad:
        raise BadHead(f"a checkpoint is not signed by the node's identity key: {bad}") from None
    except ValidationError:
        raise BadPage("what the node signed as its checkpoint is not a checkpoint") from None
    if (checkpoint.node, checkpoint.place) != (node, place):
        raise BadPage("the checkpoint is of another node or place")
