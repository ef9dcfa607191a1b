"""Archived keys: they sign nothing until they are un-archived.

Requests of applications and operators on the host archive a key independently, and each of the two
un-archives only what it has archived itself. A key is archived with all keys derived from it. Rows
are only added, so that a repeated request cannot undo a later one.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from custody.database.pool import Pool
from custody.node.archived_sql import ROOT, STILL_ARCHIVED
from custody.node.database_away import database_needed
from custody.node.errors import Denied
from custody.node.handlers import RowChange
from custody.wire.derivation import format_path, parse_path
from custody.wire.inventory import ArchivedKey
from custody.wire.jobs import Endpoint, Job, JobKind, KeyReference

DONE_BY_ARCHIVED_KEYS = frozenset(
    {
        Endpoint.WALLETS,
        Endpoint.KEYS,
        Endpoint.IMPORTS,
        Endpoint.DERIVATIONS,
        Endpoint.REFRESHES,
        Endpoint.REPAIRS,
        Endpoint.ARCHIVALS,
        Endpoint.UNARCHIVALS,
    }
)
"""The endpoints of requests after which no existing key signs, neither as itself nor as a copy."""

_CHANGES = """
    SELECT changed_by, number, is_archived, request_id, changed_at FROM archivals
    WHERE root_id = :root_id AND path = :path ORDER BY changed_by, number
"""

_ARCHIVED = f"""
    SELECT root_id, path, changed_by, changed_at FROM archivals AS last
    WHERE (root_id, path, changed_by) > (:root_id::uuid, :path::varchar, :changed_by::varchar)
        AND {STILL_ARCHIVED}
    ORDER BY root_id, path, changed_by LIMIT :limit
"""  # noqa: S608 - of constants

_INSERT = """
    INSERT INTO archivals
        (root_id, path, changed_by, number, is_archived, request_id, operator, reason)
    SELECT * FROM unnest(:root_id::uuid[], :path::varchar[], :changed_by::varchar[],
        :number::integer[], :is_archived::boolean[], :request_id::uuid[], :operator::varchar[],
        :reason::varchar[])
    RETURNING root_id
"""
"""Raises UniqueViolationError if another change of the key was committed first."""


class ChangedBy(StrEnum):
    """Those who archive keys. Neither un-archives what the other has archived."""

    REQUEST = "request"
    OPERATOR = "operator"


@dataclass(frozen=True)
class KeyPlace:
    """A key's place: its root and its path from there, ``m`` for the root itself.

    Keys of different networks share a private key if their place is the same.
    """

    root_id: UUID
    path: str

    @classmethod
    def of(cls, key: KeyReference) -> "KeyPlace":
        return cls(key.root or key.id, format_path(key.path))


def read_path(path: str) -> tuple[int, ...]:
    """Return the child numbers of a place's path. Raise ValueError."""
    return () if path == ROOT else parse_path(path)


@dataclass(frozen=True)
class Change:
    """A change of a key: whether it is archived after it. ``number``: from 1 for each side."""

    changed_by: ChangedBy
    number: int
    is_archived: bool
    request_id: UUID | None
    changed_at: datetime


def needs_unarchived_key(job: Job) -> bool:
    """Return True for a job of a request that an archived key does not do.

    Requests of any further endpoint are such, because a copy of an archived key would sign under
    another id. Refresh and Repair are not: the signers' own message moves nothing, and old shares
    must lose their worth.
    """
    return job.kind == JobKind.SIGN or job.endpoint not in DONE_BY_ARCHIVED_KEYS


def require_unarchived(key: KeyReference, *, is_archived: bool) -> None:
    """Raise Denied for an archived key."""
    if is_archived:
        raise Denied(
            "key_archived", f"the key {key.id}, or one that it is derived from, is archived"
        )


def last_change(changes: Sequence[Change], changed_by: ChangedBy) -> Change | None:
    """Return the change of one side that counts; None if that side never made one."""
    return next((each for each in reversed(changes) if each.changed_by is changed_by), None)


Rows = Callable[[str, dict[str, Any]], Awaitable[list[Any]]]


async def changes_of(rows: Rows, place: KeyPlace) -> list[Change]:
    """Return the changes of exactly this key, each side's in their order."""
    return [
        Change(
            ChangedBy(row.changed_by), row.number, row.is_archived, row.request_id, row.changed_at
        )
        for row in await rows(_CHANGES, vars(place))
    ]


async def archived_pages(pool: Pool, limit: int) -> AsyncIterator[tuple[ArchivedKey, ...]]:
    """Yield all keys that are archived here, at most ``limit`` in a page."""
    place = {"root_id": UUID(int=0), "path": "", "changed_by": "", "limit": limit}
    while rows := await pool.rows(_ARCHIVED, place):
        yield tuple(
            ArchivedKey(
                root_id=row.root_id,
                path=read_path(row.path),
                by=ChangedBy(row.changed_by).value,
                archived_at=row.changed_at,
            )
            for row in rows
        )
        last = rows[-1]
        place |= {"root_id": last.root_id, "path": last.path, "changed_by": last.changed_by}


class Archivals:
    """Reads the changes of keys. Raises Failed while the database is away."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def of(self, place: KeyPlace) -> list[Change]:
        """Return the changes of exactly this key, each side's in their order."""
        with database_needed():
            return await changes_of(self._pool.rows, place)


def row_of_request(
    place: KeyPlace,
    number: int,
    request_id: UUID | None,
    *,
    is_archived: bool,
    operator: str | None = None,
    reason: str | None = None,
) -> RowChange:
    """Return the row of a request. ``number``: of the changes that requests have made.

    ``operator``: who has made the row again in a restored database, for this ``reason``.
    """
    values = {
        **vars(place),
        "changed_by": ChangedBy.REQUEST.value,
        "number": number,
        "is_archived": is_archived,
        "request_id": request_id,
        "operator": operator,
        "reason": reason,
    }
    return RowChange(_INSERT, values)


def row_of_operator(
    place: KeyPlace, number: int, operator: str, reason: str, *, is_archived: bool
) -> RowChange:
    """Return the row of an operator on the host. ``number``: of the changes by operators."""
    values = {
        **vars(place),
        "changed_by": ChangedBy.OPERATOR.value,
        "number": number,
        "is_archived": is_archived,
        "request_id": None,
        "operator": operator,
        "reason": reason,
    }
    return RowChange(_INSERT, values)


def audit_details(place: KeyPlace, changed_by: ChangedBy, number: int) -> dict[str, str | None]:
    """Return what an audit record names its row by."""
    return {"path": place.path, "archival": f"{place.root_id} {changed_by} {number}"}
