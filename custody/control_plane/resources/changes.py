"""Changes of keys as applications read them, and which may be asked for."""

from functools import partial
from uuid import UUID

from custody.control_plane.access.tokens import Caller
from custody.control_plane.database import Database
from custody.control_plane.jobs.queue import NewJob
from custody.control_plane.problems import Code, ProblemError
from custody.control_plane.resources.pages import Listing, PageRequest
from custody.control_plane.resources.presentation import change_of
from custody.database.connection import Connection
from custody.wire.jobs import JobKind
from custody.wire.resources import KeyChange, Page

_CHANGES = """
    SELECT id, created_at, external_id, payload, state, outcome, last_failure FROM jobs
    WHERE kind = :kind AND key_id = :key AND application_id = :application
"""

_CHANGE = _CHANGES + "AND id = :id"

_LISTING = Listing(_CHANGES, "jobs")

_ARCHIVING = (JobKind.ARCHIVE_KEY, JobKind.UNARCHIVE_KEY)

_IN_THE_WAY = {
    JobKind.REFRESH_KEY: (JobKind.REFRESH_KEY, JobKind.REPAIR_SHARE),
    JobKind.REPAIR_SHARE: (JobKind.REPAIR_SHARE,),
    JobKind.ARCHIVE_KEY: _ARCHIVING,
    JobKind.UNARCHIVE_KEY: _ARCHIVING,
}
"""A repair ends with a refresh; and it may follow a refresh that cannot continue without it."""

SHOWN_AS = {
    JobKind.REFRESH_KEY: ("Refresh", "refreshes"),
    JobKind.REPAIR_SHARE: ("Repair", "repairs"),
    JobKind.ARCHIVE_KEY: ("Archival", "archivals"),
    JobKind.UNARCHIVE_KEY: ("Unarchival", "unarchivals"),
}
"""What people call a change, and the path of its list."""

_OPEN = """
    SELECT id, kind FROM jobs
    WHERE key_id = :key_id AND id <> :id AND kind = ANY(CAST(:kinds AS varchar[]))
        AND finished_at IS NULL AND (expires_at > now() OR must_finish)
    ORDER BY created_at, id LIMIT 1
    """


async def require_no_other_change(connection: Connection, new: NewJob) -> None:
    """Raise ProblemError change_under_way while the key is being changed already.

    Else a key would have as many changes to come as anybody asks for.
    """
    kinds = [kind.value for kind in _IN_THE_WAY[JobKind(new.kind)]]
    values = {"key_id": new.key_id, "id": new.id, "kinds": kinds}
    row = await connection.row(_OPEN, values)
    if row is None:
        return
    what, path = SHOWN_AS[JobKind(row.kind)]
    raise ProblemError(
        Code.CHANGE_UNDER_WAY,
        f"{what} {row.id} of this key is under way. Wait until its status is final "
        f"(GET /v1/keys/{new.key_id}/{path}/{row.id}), then ask again.",
    )


class Changes:
    """Reads the changes of keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, caller: Caller, key_id: UUID, kind: JobKind, change_id: UUID) -> KeyChange:
        """Return a change. Raise ProblemError not_found."""
        which = {"id": change_id, **_values(caller, key_id, kind)}
        row = await self._database.row(_CHANGE, which)
        if row is None:
            raise ProblemError(Code.NOT_FOUND, f"Key {key_id} has no such request.")
        return change_of(row, caller.sees_details)

    async def page(
        self, caller: Caller, key_id: UUID, kind: JobKind, request: PageRequest
    ) -> Page[KeyChange]:
        """Return a page of a key's changes of one kind, newest first."""
        shown = partial(change_of, sees_details=caller.sees_details)
        values = _values(caller, key_id, kind)
        return await _LISTING.page(self._database, request, values, shown)


def _values(caller: Caller, key_id: UUID, kind: JobKind) -> dict[str, object]:
    return {"kind": kind.value, "key": key_id, "application": caller.application_id}
