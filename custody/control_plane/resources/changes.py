"""Refreshes and repairs of keys' shares as applications read them, and which may be asked for."""

from functools import partial
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from custody.control_plane.access.tokens import Caller
from custody.control_plane.database import Database
from custody.control_plane.jobs.queue import NewJob
from custody.control_plane.problems import Code, ProblemError
from custody.control_plane.resources.pages import PageRequest
from custody.control_plane.resources.presentation import change_of
from custody.control_plane.tables import jobs
from custody.wire.jobs import JobKind
from custody.wire.resources import KeyChange, Page

_CHANGES = select(
    jobs.c.id,
    jobs.c.created_at,
    jobs.c.external_id,
    jobs.c.payload,
    jobs.c.state,
    jobs.c.outcome,
    jobs.c.last_failure,
)


_IN_THE_WAY = {
    JobKind.REFRESH_KEY: (JobKind.REFRESH_KEY, JobKind.REPAIR_SHARE),
    JobKind.REPAIR_SHARE: (JobKind.REPAIR_SHARE,),
}
"""A repair ends with a refresh; and it may follow a refresh that cannot continue without it."""

_OPEN = text(
    """
    SELECT id, kind FROM jobs
    WHERE key_id = :key_id AND id <> :id AND kind = ANY(CAST(:kinds AS varchar[]))
        AND finished_at IS NULL AND (expires_at > now() OR must_finish)
    ORDER BY created_at, id LIMIT 1
    """
)


async def require_no_other_change(connection: AsyncConnection, new: NewJob) -> None:
    """Raise ProblemError change_under_way while the key's shares are being changed already.

    Else a key would have as many changes to come as anybody asks for.
    """
    kinds = [kind.value for kind in _IN_THE_WAY[JobKind(new.kind)]]
    values = {"key_id": new.key_id, "id": new.id, "kinds": kinds}
    row = (await connection.execute(_OPEN, values)).first()
    if row is None:
        return
    is_refresh = row.kind == JobKind.REFRESH_KEY
    what, path = ("Refresh", "refreshes") if is_refresh else ("Repair", "repairs")
    raise ProblemError(
        Code.CHANGE_UNDER_WAY,
        f"{what} {row.id} of this key is under way. Wait until its status is final "
        f"(GET /v1/keys/{new.key_id}/{path}/{row.id}), then ask again.",
    )


class Changes:
    """Reads refreshes and repairs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, caller: Caller, key_id: UUID, kind: JobKind, change_id: UUID) -> KeyChange:
        """Raises ProblemError not_found."""
        row = await self._database.row(
            _CHANGES.where(
                jobs.c.id == change_id,
                jobs.c.kind == kind.value,
                jobs.c.key_id == key_id,
                jobs.c.application_id == caller.application_id,
            )
        )
        if row is None:
            raise ProblemError(Code.NOT_FOUND, f"Key {key_id} has no such request.")
        return change_of(row, caller.sees_details)

    async def page(
        self, caller: Caller, key_id: UUID, kind: JobKind, request: PageRequest
    ) -> Page[KeyChange]:
        """A key's refreshes, or its repairs, newest first."""
        statement = _CHANGES.where(
            jobs.c.kind == kind.value,
            jobs.c.key_id == key_id,
            jobs.c.application_id == caller.application_id,
        )
        shown = partial(change_of, sees_details=caller.sees_details)
        return await request.fetch(self._database, statement, jobs, shown)
