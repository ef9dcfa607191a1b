"""The audit records of archived keys, compared with their rows in both directions.

Somebody who writes to the database could delete a row, so that an archived key signs again, or add
one.
"""

from collections.abc import Sequence

from custody.node.adoptions import AdoptedRows
from custody.node.archivals import ChangedBy, KeyPlace, audit_details
from custody.node.audit import AuditRecord
from custody.node.audit_records import Finding, Said
from custody.node.audited_changes import record_without_job
from custody.node.outcome_check import Rows
from custody.wire.jobs import JobKind
from custody.wire.outcomes import OutcomeStatus

ARCHIVED_BY_HAND = "ArchiveByHand"
UNARCHIVED_BY_HAND = "UnarchiveByHand"
"""The kinds of the audit records of operators."""
ARCHIVED_AGAIN = "ArchiveAgain"
"""A request's row that an operator's command has made again in a restored database."""

KINDS = {
    (ChangedBy.REQUEST, True): JobKind.ARCHIVE_KEY.value,
    (ChangedBy.REQUEST, False): JobKind.UNARCHIVE_KEY.value,
    (ChangedBy.OPERATOR, True): ARCHIVED_BY_HAND,
    (ChangedBy.OPERATOR, False): UNARCHIVED_BY_HAND,
}

_NAME = "concat_ws(' ', root_id, changed_by, number)"

_ROWS = f"""
    SELECT path AS name, {_NAME} AS value FROM archivals
    WHERE changed_by = '{{changed_by}}' AND is_archived = {{is_archived}}
        AND (changed_by = 'operator' OR operator IS NULL)
"""  # noqa: S608 - of constants

_ROWS_MADE_AGAIN = f"""
    SELECT path AS name, {_NAME} AS value FROM archivals
    WHERE changed_by = 'request' AND operator IS NOT NULL
"""  # noqa: S608 - of constants

_QUERIES = {
    ARCHIVED_AGAIN: ("key archived again", _ROWS_MADE_AGAIN),
    **{
        kind: (
            "archived key" if is_archived else "un-archived key",
            _ROWS.format(changed_by=changed_by.value, is_archived=is_archived),
        )
        for (changed_by, is_archived), kind in KINDS.items()
    },
}

ARCHIVAL_ROWS = [
    AdoptedRows(
        what,
        kind,
        query,
        details=("path", "archival"),
        said="root, who changed it, and number",
    )
    for kind, (what, query) in _QUERIES.items()
]

_FIND = f"""
    SELECT path, {_NAME} AS value FROM archivals
    WHERE root_id = ANY(:root_ids::uuid[])
"""  # noqa: S608 - of constants


def record_by_operator(
    place: KeyPlace, number: int, operator: str, reason: str, *, is_archived: bool
) -> AuditRecord:
    """Return the record of a change that an operator made on the host."""
    details = {
        **audit_details(place, ChangedBy.OPERATOR, number),
        "operator": operator,
        "reason": reason,
    }
    return record_without_job(KINDS[ChangedBy.OPERATOR, is_archived], details, place.root_id)


async def missing_archivals(rows: Rows, page: Sequence[Said]) -> list[Finding]:
    """Return a finding for each record of a page whose row is gone."""
    told = [
        (said, said.detail("path"), name)
        for said in page
        if said.kind in _QUERIES and said.status is OutcomeStatus.DONE
        if (name := said.detail("archival")) is not None
    ]
    if not told:
        return []
    root_ids = list({name.split(" ")[0] for _, _, name in told})
    found = {(row.path, row.value) for row in await rows(_FIND, {"root_ids": root_ids})}
    return [
        Finding(said.sequence, f"key {said.key_id}: the row of this record ({said.kind}) is gone")
        for said, path, name in told
        if (path, name) not in found
    ]
