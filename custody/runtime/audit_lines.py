"""Audit records as JSON lines with the field names of the Elastic Common Schema (ECS 8), and back.

Each line has the record's exact bytes (``event.original``), its hash, and the hash before it. A
last line has the signed head. So a file can be verified without the database.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from custody.wire.audit import AuditHead, chain_hash
from custody.wire.encoding import to_base64
from custody.wire.signed_bytes import AUDIT_HEAD_TYPE, BadSignedBytes, PinnedKeys, SignedBytes
from custody.wire.strict_json import NotStrictJson, check_depth, parse_json

ECS_VERSION = "8.11.0"
HEAD = "AuditHead"
"""``event.action`` of a line that has a signed head and no record."""
MAX_LINE = 2 * 1024 * 1024
"""Bytes. A record has 256 KiB at most; JSON escapes it twice."""
OWN = ("node", "sequence", "at", "kind", "status", "code", "operator")
"""Fields of a record that have a name in ECS."""


def record_line(sequence: int, record: bytes, previous: bytes, hash_: bytes) -> str:
    """Return the line of a record. A record that is not a JSON object is kept unchanged.

    ``previous``: the hash before it (32 bytes). The line has no line feed in it.
    """
    said = _object(record)
    line: dict[str, Any] = {
        "@timestamp": said.get("at"),
        "ecs.version": ECS_VERSION,
        "event.kind": "event",
        "event.action": said.get("kind"),
        "event.outcome": _outcome(said.get("status")),
        "event.code": said.get("code"),
        "event.sequence": sequence,
        "service.node.name": said.get("node"),
        "user.name": said.get("operator"),
    }
    line |= {f"custody.{name}": value for name, value in said.items() if name not in OWN}
    line |= {
        "event.original": record.decode("utf-8", "surrogateescape"),
        "event.hash": hash_.hex(),
        "custody.previous_hash": previous.hex(),
    }
    return _dumped(line)


def head_line(head: AuditHead, signed: SignedBytes, at: str) -> str:
    """Return the line that ends an export. ``at``: the time, as RFC 3339 has it."""
    return _dumped(
        {
            "@timestamp": at,
            "ecs.version": ECS_VERSION,
            "event.kind": "state",
            "event.action": HEAD,
            "event.sequence": head.sequence,
            "service.node.name": head.node,
            "event.hash": head.hash.hex(),
            "custody.head": to_base64(signed.payload),
            "custody.head_signature": to_base64(signed.signature),
            "custody.head_key": signed.signing_key_id,
        }
    )


@dataclass(frozen=True)
class Place:
    """The last record of a chain that a reader has seen."""

    sequence: int
    hash: bytes


class BadLine(ValueError):
    """A line that is not of an export."""


class LinesCheck:
    """Checks the lines of one or several exports, in order, and remembers only the last one.

    ``signed``: the last record that a signed head covers. ``first``: the first record's number.
    """

    def __init__(self, keys: PinnedKeys, node: str) -> None:
        self._keys = keys
        self._node = node
        self.first: int | None = None
        self.last: Place | None = None
        self.signed = 0
        self.records = 0

    def line(self, line: bytes) -> list[str]:
        """Check the next line; return what is wrong with it. Raise BadLine."""
        said = _fields(line)
        if _has_head(said):
            return self._head(said)
        try:
            sequence = int(said["event.sequence"])
            original = said["event.original"].encode("utf-8", "surrogateescape")
            previous = bytes.fromhex(said["custody.previous_hash"])
            hash_ = bytes.fromhex(said["event.hash"])
        except (KeyError, ValueError, AttributeError, TypeError):
            raise BadLine("the line has no record") from None
        faults = []
        if self.last is not None and sequence != self.last.sequence + 1:
            faults.append(f"record {sequence} follows record {self.last.sequence}")
        if self.last is not None and previous != self.last.hash:
            faults.append(f"record {sequence} does not follow from the record before it")
        if chain_hash(previous, original) != hash_:
            faults.append(f"record {sequence} has another hash than it says")
        if self.first is None:
            self.first = sequence
        if record_line(sequence, original, previous, hash_) != line.decode("utf-8").rstrip("\n"):
            faults.append(f"the fields of record {sequence} differ from the record itself")
        self.last, self.records = Place(sequence, hash_), self.records + 1
        return faults

    def _head(self, said: Mapping[str, Any]) -> list[str]:
        try:
            signed = SignedBytes(
                payload=said.get("custody.head"),
                signature=said.get("custody.head_signature"),
                signing_key_id=said.get("custody.head_key"),
            )
            head = AuditHead.model_validate_json(self._keys.open(AUDIT_HEAD_TYPE, signed))
        except ValidationError:
            return ["a head is malformed"]
        except BadSignedBytes as bad:
            return [f"a head is not signed by this node: {bad}"]
        if head.node != self._node:
            return [f"a head is of node {head.node}"]
        if self.last is None and head.sequence == 0:
            return []
        if self.last is None or (head.sequence, head.hash) != (self.last.sequence, self.last.hash):
            return [
                f"the signed head of record {head.sequence} is not that of the record before it"
            ]
        self.signed = head.sequence
        return []


def last_place(line: bytes) -> Place:
    """Return the place that a line of an export ends at. Raise BadLine."""
    said = _fields(line)
    try:
        return Place(int(said["event.sequence"]), bytes.fromhex(said["event.hash"]))
    except (KeyError, ValueError, TypeError):
        raise BadLine("the line has no record and no head") from None


def is_head(line: bytes) -> bool:
    """Return whether a line has a signed head and no record. Raise BadLine."""
    return _has_head(_fields(line))


def _has_head(said: Mapping[str, Any]) -> bool:
    return said.get("event.action") == HEAD and "event.original" not in said


def _fields(line: bytes) -> dict[str, Any]:
    if len(line) > MAX_LINE:
        raise BadLine(f"the line is longer than {MAX_LINE} bytes")
    try:
        said = parse_json(line)
    except NotStrictJson as error:
        raise BadLine(f"the line is not JSON: {error}") from None
    if not isinstance(said, dict):
        raise BadLine("the line is not a JSON object")
    return said


def _object(record: bytes) -> dict[str, Any]:
    try:
        check_depth(text := record.decode())
        said = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _outcome(status: object) -> str:
    if status is None or status == "DONE":
        return "success"
    return "failure"


def _dumped(line: Mapping[str, Any]) -> str:
    return json.dumps({name: value for name, value in line.items() if value is not None})
