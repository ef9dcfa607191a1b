"""Archivals that a restored database lacks: an operator's command makes them again.

The control plane says which keys are archived. The row is that of the request, so that a request
un-archives the key as before.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from custody.database.connection import Connection
from custody.database.pool import Pool
from custody.node.archivals import (
    ChangedBy,
    KeyPlace,
    audit_details,
    changes_of,
    last_change,
    row_of_request,
)
from custody.node.audit import AuditRecord
from custody.node.audit_records import parse_record
from custody.node.audited_archivals import ARCHIVED_AGAIN
from custody.node.audited_changes import AuditedChanges, record_without_job
from custody.wire.derivation import format_path
from custody.wire.node_api import ArchivedSince

CLOCKS_DIFFER = timedelta(minutes=10)
REASON = "archived since the backup, as the control plane says"

_RECORD = "SELECT record FROM audit WHERE node = :node AND sequence = :sequence"


async def time_of_record(pool: Pool, node: str, sequence: int) -> datetime:
    """Return when a record of the chain was made; without such a record, the begin of 1970."""
    row = await pool.row(_RECORD, {"node": node, "sequence": sequence})
    return datetime.fromtimestamp(0, UTC) if row is None else parse_record(row.record).at


def archived_again(key: ArchivedSince) -> str:
    """Return what ``archive_again`` has done to a key, for people."""
    place = f"key {key.root_id}" + (f" at {format_path(key.path)}" if key.path else "")
    at = key.archived_at.isoformat(timespec="seconds")
    return f"{place}: archived at {at}, and archived again here just now"


async def archive_again(
    pool: Pool, node: str, told: Sequence[ArchivedSince], operator: str
) -> list[ArchivedSince]:
    """Archive the keys that a request has archived and this database has not. Return these keys.

    A key whose request is known here is left alone: what came after it is known here too. Raise
    OperatorError.
    """
    by_place = {KeyPlace(each.root_id, format_path(each.path)): each for each in told}
    made: list[ArchivedSince] = []

    async def work(connection: Connection) -> Sequence[AuditRecord]:
        made.clear()
        records = []
        for place, each in by_place.items():
            number = await _next_number(connection, place, each)
            if number is None:
                continue
            row = row_of_request(
                place,
                number,
                each.request_id,
                is_archived=True,
                operator=operator,
                reason=REASON,
            )
            await connection.rows(row.sql, row.alone)
            records.append(_record(place, number, operator))
            made.append(each)
        return records

    await AuditedChanges(pool, node).change(work)
    return made


async def _next_number(connection: Connection, place: KeyPlace, told: ArchivedSince) -> int | None:
    """Return the number of the row to add; None if this database has the archival."""
    changes = await changes_of(connection.rows, place)
    last = last_change(changes, ChangedBy.REQUEST)
    if last is None:
        return 1
    is_known = told.request_id in {each.request_id for each in changes}
    if last.is_archived or (told.request_id is not None and is_known):
        return None
    return last.number + 1


def _record(place: KeyPlace, number: int, operator: str) -> AuditRecord:
    details = {
        **audit_details(place, ChangedBy.REQUEST, number),
        "operator": operator,
        "reason": REASON,
    }
    return record_without_job(ARCHIVED_AGAIN, details, place.root_id)
