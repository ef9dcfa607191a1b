"""Refreshes and repairs of keys' shares as applications read them: jobs, shown."""

from uuid import UUID

from sqlalchemy import select

from control_plane.database import Database
from control_plane.pages import PageRequest
from control_plane.problems import Code, ProblemError
from control_plane.resources import change_of
from control_plane.tables import jobs
from wire.jobs import JobKind
from wire.resources import KeyChange, Page

_CHANGES = select(
    jobs.c.id,
    jobs.c.created_at,
    jobs.c.external_id,
    jobs.c.payload,
    jobs.c.state,
    jobs.c.outcome,
    jobs.c.last_failure,
)


class Changes:
    """Reads refreshes and repairs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(
        self, application_id: UUID, key_id: UUID, kind: JobKind, change_id: UUID
    ) -> KeyChange:
        """Raises ProblemError not_found."""
        row = await self._database.row(
            _CHANGES.where(
                jobs.c.id == change_id,
                jobs.c.kind == kind.value,
                jobs.c.key_id == key_id,
                jobs.c.application_id == application_id,
            )
        )
        if row is None:
            raise ProblemError(Code.NOT_FOUND, f"Key {key_id} has no such request.")
        return change_of(row)

    async def page(
        self, application_id: UUID, key_id: UUID, kind: JobKind, request: PageRequest
    ) -> Page[KeyChange]:
        """A key's refreshes, or its repairs, newest first."""
        statement = _CHANGES.where(
            jobs.c.kind == kind.value,
            jobs.c.key_id == key_id,
            jobs.c.application_id == application_id,
        )
        return await request.fetch(self._database, statement, jobs, change_of)
