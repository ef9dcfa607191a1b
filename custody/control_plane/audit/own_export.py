"""Export and pruning of the control plane's own audit: the record at the checkpoint stays."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from custody.control_plane.audit.own_chain import (
    NAME,
    PRUNE,
    Auditor,
    lock_chain,
    read_pages,
    signed_head,
    verify_own_chain,
)
from custody.control_plane.database import AnyRow
from custody.database.connection import Connection
from custody.database.retention import Rows
from custody.runtime.audit_file import FileVerification, Line
from custody.runtime.audit_lines import Place, head_line, record_line
from custody.runtime.errors import OperatorError
from custody.wire.audit import GENESIS, AuditHead

VERIFY = "Nothing was deleted. Run: control-plane audit verify."

_FIRST = "SELECT sequence, hash FROM audit ORDER BY sequence LIMIT 1"
_AT = "SELECT sequence, hash FROM audit WHERE sequence = :sequence"
_DELETE = "DELETE FROM audit WHERE sequence < :sequence RETURNING sequence"


async def place_at(connection: Connection, sequence: int) -> Place:
    """Return the place of a record. 0: before the first record, or at the checkpoint.

    Raise OperatorError if the database does not have the record.
    """
    if sequence == 0:
        first = await connection.row(_FIRST)
        if first is None or first.sequence == 1:
            return Place(0, GENESIS)
        return Place(first.sequence, first.hash)
    row = await connection.row(_AT, {"sequence": sequence})
    if row is None:
        raise OperatorError(
            f"the audit of this control plane has no record {sequence}",
            "Name a new file: the records of this one were pruned, or are of another database.",
        )
    return Place(row.sequence, row.hash)


async def lines_after(rows: Rows, place: Place, *, needs_head: bool) -> AsyncIterator[Line]:
    """Yield the records after a place, and then the head that was signed with the last one."""
    last: AnyRow = None
    begin = max(0, place.sequence - 1) if needs_head else place.sequence
    async for row in read_pages(rows, begin):
        last = row
        if row.sequence > place.sequence:
            text = record_line(row.sequence, row.record, place.hash, row.hash)
            place = Place(row.sequence, row.hash)
            yield Line(place, text)
    if last is not None:
        head = AuditHead(node=NAME, sequence=last.sequence, hash=last.hash)
        at = datetime.now(UTC).isoformat()
        yield Line(place, head_line(head, signed_head(last), at), is_head=True)


async def prune(
    connection: Connection,
    auditor: Auditor,
    keys: list[bytes],
    file: FileVerification,
    keep: timedelta,
    reason: str,
) -> int:
    """Delete exported records that are older than ``keep``. Return how many. Raise OperatorError.

    The last of them stays, and its signed head. ``keys``: the job-signing keys of this host. The
    chain is locked before it is read: another prune may move the checkpoint.
    """
    await lock_chain(connection)
    found = await verify_own_chain(connection.rows, keys)
    if found.findings:
        raise OperatorError(f"the audit has {len(found.findings)} findings", VERIFY)
    first = await connection.row(_FIRST)
    begin = 1 if first is None or first.sequence == 1 else first.sequence + 1
    await _require_exported(connection, file, begin)
    checkpoint = previous = None
    last = GENESIS
    before = datetime.now(UTC) - keep
    async for row in read_pages(connection.rows, 0):
        if row.sequence > (file.last or 0) or _time(row) >= before:
            break
        checkpoint, previous, last = row.sequence, last, row.hash
    if checkpoint is None or previous is None or first is None or checkpoint == first.sequence:
        return 0
    said = {"checkpoint": str(checkpoint), "previous_hash": previous.hex(), "reason": reason}
    await auditor.record(connection, PRUNE, said)
    return len(await connection.rows(_DELETE, {"sequence": checkpoint}))


async def _require_exported(connection: Connection, file: FileVerification, begin: int) -> None:
    if file.findings or file.first is None or file.last is None:
        raise OperatorError(
            "the exported file has findings, or no record",
            "Run: control-plane audit verify --file FILE.",
        )
    if file.first > begin:
        raise OperatorError(
            f"the exported file lacks the records {begin} to {file.first - 1}",
            "Name the file that has them first.",
        )
    row = await connection.row(_AT, {"sequence": file.last})
    if row is None or row.hash.hex() != file.last_hash:
        raise OperatorError(
            f"record {file.last} of the exported file is not the record of this database",
            "Name the file of the last export.",
        )


def _time(row: AnyRow) -> datetime:
    return datetime.fromisoformat(json.loads(row.record)["at"])
