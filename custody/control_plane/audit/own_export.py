"""Export and pruning of the control plane's own audit: the record at the checkpoint stays."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from custody.control_plane.audit.access_rows import AccessCheck
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
from custody.runtime.audit_file import ExportFile, FileVerification, Line
from custody.runtime.audit_lines import Place, head_line, record_line
from custody.runtime.errors import OperatorError
from custody.runtime.exported_chain import (
    next_place,
    place_in_chain,
    require_continued,
    require_exported,
    require_same_record,
)
from custody.wire.audit import GENESIS, AuditHead

VERIFY = "Nothing was deleted. Run: control-plane audit verify."

_FIRST = "SELECT sequence, hash FROM audit ORDER BY sequence LIMIT 1"
_AT = "SELECT sequence, hash FROM audit WHERE sequence = :sequence"
_DELETE = "DELETE FROM audit WHERE sequence < :sequence RETURNING sequence"


async def append_to(connection: Connection, path: Path) -> tuple[int, int]:
    """Append the records to a file, after its last one. Return the last record before and after.

    Raise OperatorError if the file does not continue with the records of this database.
    """
    with ExportFile(path) as file:
        end = file.place()
        begin = place = await place_at(connection, 0 if end is None else end.sequence)
        require_continued(
            path,
            end,
            begin,
            "Run: control-plane audit verify. For another database name a new file.",
        )
        async for line in lines_after(connection.rows, begin, needs_head=file.needs_head):
            file.write(line)
            place = line.place
    return begin.sequence, place.sequence


async def place_at(connection: Connection, sequence: int) -> Place:
    """Return the place of a record. 0: before the first record, or at the checkpoint.

    Raise OperatorError if the database does not have the record.
    """
    row = await connection.row(_AT, {"sequence": sequence})
    return place_in_chain(
        sequence,
        await _begin(connection),
        None if row is None else row.hash,
        chain="the audit of this control plane",
        hint="Name a new file: this one has other records than the database.",
    )


async def _begin(connection: Connection) -> Place:
    first = await connection.row(_FIRST)
    if first is None or first.sequence == 1:
        return Place(0, GENESIS)
    return Place(first.sequence, first.hash)


async def lines_after(rows: Rows, place: Place, *, needs_head: bool) -> AsyncIterator[Line]:
    """Yield the records after a place, and then the head that was signed with the last one.

    Raise OperatorError at a record that does not follow from the record before it.
    """
    last: AnyRow = None
    begin = max(0, place.sequence - 1) if needs_head else place.sequence
    async for row in read_pages(rows, begin):
        last = row
        if row.sequence > place.sequence:
            text = record_line(row.sequence, row.record, place.hash, row.hash)
            place = next_place(
                place, row.sequence, row.record, row.hash, "Run: control-plane audit verify."
            )
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

    The last of them stays, and its signed head. New records state again the tokens and nodes whose
    records are deleted. ``keys``: the job-signing keys of this host. The chain is locked before it
    is read: another prune may move the checkpoint.
    """
    await lock_chain(connection)
    access = AccessCheck()
    found = await verify_own_chain(connection.rows, keys, access)
    if found.findings:
        raise OperatorError(f"the audit has {len(found.findings)} findings", VERIFY)
    begin = await _begin(connection)
    exported = require_exported(
        file, begin.sequence, "Run: control-plane audit verify --file FILE."
    )
    row = await connection.row(_AT, {"sequence": exported})
    require_same_record(
        file, None if row is None else row.hash, "Name the file of the last export."
    )
    checkpoint = previous = None
    last = GENESIS
    before = datetime.now(UTC) - keep
    async for row in read_pages(connection.rows, 0):
        if row.sequence > exported or _time(row) >= before:
            break
        checkpoint, previous, last = row.sequence, last, row.hash
    if checkpoint is None or previous is None or checkpoint <= max(1, begin.sequence):
        return 0  # no record is before it
    said = {"checkpoint": str(checkpoint), "previous_hash": previous.hex(), "reason": reason}
    await auditor.record(connection, PRUNE, said)
    for kind, details in access.stated_before(checkpoint):
        await auditor.record(connection, kind, details)
    return len(await connection.rows(_DELETE, {"sequence": checkpoint}))


def _time(row: AnyRow) -> datetime:
    return datetime.fromisoformat(json.loads(row.record)["at"])
