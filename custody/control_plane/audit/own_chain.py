"""The control plane's own audit: a hash chain of what its operators did, each head signed.

The chain has the form of a node's (custody/wire/audit.py). The job-signing key signs the head of
each record when it is written, so a person who has the database alone cannot write a record.
Records are few. `audit prune` deletes only exported ones.
"""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError

from custody.control_plane.audit.access_rows import AccessCheck
from custody.control_plane.database import AnyRow
from custody.database.connection import Connection
from custody.database.retention import Rows
from custody.wire.audit import GENESIS, AuditHead, chain_hash
from custody.wire.signed_bytes import (
    AUDIT_HEAD_TYPE,
    BadSignedBytes,
    PinnedKeys,
    SignedBytes,
    SigningKey,
)

NAME = "control-plane"
"""The node of its heads. No node has this name: its heads are under another key."""
PRUNE = "PruneAudit"
"""The kind of the record of `audit prune`: where the chain begins since then."""
PAGE = 500
MAX_FINDINGS = 1_000
UNKNOWN = "a job-signing key that this host does not know"

_LOCK = "SELECT pg_advisory_xact_lock(hashtext('custody control plane audit'))"
_HEAD = "SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1"
_ADD = """
    INSERT INTO audit (sequence, record, hash, payload, signature, signing_key_id)
    VALUES (:sequence, :record, :hash, :payload, :signature, :signing_key_id)
"""
_LAST_PRUNE = """
    SELECT record FROM audit WHERE position(:kind::bytea IN record) > 0
    ORDER BY sequence DESC LIMIT 1
"""
_PAGE = """
    SELECT sequence, record, hash, payload, signature, signing_key_id FROM audit
    WHERE sequence > :last ORDER BY sequence LIMIT :limit
"""


@dataclass(frozen=True)
class Auditor:
    """Who acts, and the job-signing key, which signs the records."""

    operator: str
    signer: SigningKey

    async def record(
        self, connection: Connection, kind: str, details: Mapping[str, str | None]
    ) -> None:
        """Append a record in the caller's transaction. ``details`` never contain a secret."""
        await lock_chain(connection)
        last = await connection.row(_HEAD)
        sequence, previous = (0, GENESIS) if last is None else (last.sequence, last.hash)
        said = {
            "node": NAME,
            "sequence": sequence + 1,
            "at": datetime.now(UTC).isoformat(),
            "kind": kind,
            "operator": self.operator,
            "details": dict(details),
        }
        record = json.dumps(said, separators=(",", ":")).encode()
        head = AuditHead(node=NAME, sequence=sequence + 1, hash=chain_hash(previous, record))
        signed = self.signer.sign(AUDIT_HEAD_TYPE, head.model_dump_json().encode())
        values = {"sequence": head.sequence, "record": record, "hash": head.hash}
        await connection.rows(_ADD, {**values, **dict(signed)})


async def lock_chain(connection: Connection) -> None:
    """Let no other transaction append or prune until the caller's transaction has ended."""
    await connection.rows(_LOCK)


@dataclass
class OwnChain:
    """What a check of the chain has found.

    ``earlier``: records at its begin whose heads are under a key that this host does not know.
    ``pruned``: the number of records that were deleted before them. A finding about a token or a
    node has no record's number. ``notes``: what could not be compared.
    """

    records: int = 0
    earlier: int = 0
    findings: list[tuple[int | None, str]] = field(default_factory=list)
    pruned: int = 0
    notes: list[str] = field(default_factory=list)


async def verify_own_chain(
    rows: Rows, public_keys: list[bytes], access: AccessCheck | None = None
) -> OwnChain:
    """Check every record's hash and its signed head, and compare tokens and nodes with the records.

    ``rows`` must read as of one moment: a snapshot, or after ``lock_chain``. ``access`` does the
    comparison, if the caller needs what it found out.
    ``public_keys``: the job-signing keys that this host knows. Of a head under an earlier key only
    the hash is checked. It must come before all heads under known keys, and the last head must be
    under a known key: its signature covers all records before it.
    """
    found, keys, access = OwnChain(), PinnedKeys(public_keys), access or AccessCheck()
    last, previous = await begin_of_chain(rows)
    found.pruned = last
    row: AnyRow = None
    async for row in read_pages(rows, 0):
        for what in _faults(row, last, previous, keys, found):
            if len(found.findings) < MAX_FINDINGS:
                found.findings.append((row.sequence, what))
        access.note(row.sequence, row.record)
        last, previous = row.sequence, row.hash
        found.records += 1
    if row is not None and row.signing_key_id not in keys.ids:
        found.findings.append((row.sequence, f"its head is under {UNKNOWN}"))
    await access.compare(rows)
    found.findings += [(None, what) for what in access.findings[:MAX_FINDINGS]]
    found.notes = access.notes
    return found


async def read_pages(rows: Rows, after: int) -> AsyncIterator[AnyRow]:
    """Yield the records after a number, in pages."""
    while page := await rows(_PAGE, {"last": after, "limit": PAGE}):
        for row in page:
            yield row
        after = page[-1].sequence


class _Pruned(BaseModel):
    checkpoint: Annotated[int, Field(ge=2)]
    previous_hash: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _PruneRecord(BaseModel):
    kind: Literal["PruneAudit"]
    details: _Pruned


async def begin_of_chain(rows: Rows) -> tuple[int, bytes]:
    """Return number and hash of the record before the first one that is not pruned.

    The record that says so is later in the chain, which signs it.
    """
    for row in await rows(_LAST_PRUNE, {"kind": f'"kind":"{PRUNE}"'.encode()}):
        try:
            said = _PruneRecord.model_validate_json(row.record).details
        except ValidationError:
            continue  # somebody has changed the record, and its hash shows it
        return said.checkpoint - 1, bytes.fromhex(said.previous_hash)
    return 0, GENESIS


def _faults(
    row: AnyRow, last: int, previous: bytes, keys: PinnedKeys, found: OwnChain
) -> list[str]:
    faults = []
    if row.sequence != last + 1:
        faults.append(f"missing: record {last + 1}")
    if chain_hash(previous, row.record) != row.hash:
        faults.append("the hash does not follow from the record before it")
    signed = signed_head(row)
    if signed.signing_key_id not in keys.ids:
        if found.records > found.earlier:
            faults.append(f"its head is under {UNKNOWN}, after heads under a known one")
        found.earlier += 1
        return faults
    try:
        head = AuditHead.model_validate_json(keys.open(AUDIT_HEAD_TYPE, signed))
    except BadSignedBytes as bad:
        return [*faults, f"its head is not signed by the job-signing key: {bad}"]
    except ValidationError:
        return [*faults, "what the job-signing key signed is not an audit head"]
    if (head.node, head.sequence, head.hash) != (NAME, row.sequence, row.hash):
        faults.append("the signed head is of another record")
    return faults


def signed_head(row: Any) -> SignedBytes:
    """Return the signed head of a row."""
    return SignedBytes(
        payload=row.payload, signature=row.signature, signing_key_id=row.signing_key_id
    )
