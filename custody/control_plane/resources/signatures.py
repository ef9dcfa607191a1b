"""Signatures as applications read them: Sign jobs, shown."""

from functools import partial
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Uuid, bindparam, func, select

from custody.control_plane.access.tokens import Caller
from custody.control_plane.database import AnyRow, Database
from custody.control_plane.jobs.queue import Queue
from custody.control_plane.problems import Code, ProblemError
from custody.control_plane.resources.pages import PageRequest
from custody.control_plane.resources.presentation import (
    SIGNATURE_STATUS,
    Progress,
    SignatureRequest,
    signature_of,
)
from custody.control_plane.tables import jobs
from custody.runtime.batching import Batcher
from custody.wire.jobs import JobKind
from custody.wire.resources import Page, Signature, SignatureStatus

_PROGRESS = select(jobs.c.id, jobs.c.state, jobs.c.outcome, jobs.c.last_failure).where(
    jobs.c.id == func.any(bindparam("ids", type_=ARRAY(Uuid)))
)
_SIGNATURES = select(
    jobs.c.id,
    jobs.c.created_at,
    jobs.c.payload,
    jobs.c.state,
    jobs.c.outcome,
    jobs.c.last_failure,
).where(jobs.c.kind == JobKind.SIGN.value)


class Signatures:
    """Reads signatures."""

    def __init__(self, database: Database, queue: Queue) -> None:
        self._database = database
        self._queue = queue
        self._lookups = Batcher(self._look_up)

    async def get(self, caller: Caller, key_id: UUID, signature_id: UUID) -> Signature:
        """Raises ProblemError not_found."""
        row = await self._database.row(
            _SIGNATURES.where(
                jobs.c.id == signature_id,
                jobs.c.key_id == key_id,
                jobs.c.application_id == caller.application_id,
            )
        )
        if row is None:
            raise ProblemError(Code.NOT_FOUND, f"Key {key_id} has no signature {signature_id}.")
        return _signature_of_row(row, caller.sees_details)

    async def page(
        self,
        caller: Caller,
        key_id: UUID,
        filters: list[ColumnElement[bool]],
        request: PageRequest,
    ) -> Page[Signature]:
        """A key's signatures; none where the key is another application's."""
        statement = _SIGNATURES.where(
            jobs.c.key_id == key_id, jobs.c.application_id == caller.application_id, *filters
        )
        shown = partial(_signature_of_row, sees_details=caller.sees_details)
        return await request.fetch(self._database, statement, jobs, shown)

    async def progress(self, signature_id: UUID) -> Progress:
        """How far a signature is that is known to be there."""
        final = self._queue.final(signature_id)
        if final is not None:
            return Progress(final.state, final.outcome)
        return await self._lookups.submit(signature_id)

    async def _look_up(self, ids: list[UUID]) -> list[Progress | Exception]:
        rows = await self._database.rows(_PROGRESS, {"ids": ids})
        found = {row.id: Progress.of(row) for row in rows}
        return [found.get(id_) or RuntimeError(f"signature {id_} is gone") for id_ in ids]


def status_is(status: SignatureStatus) -> ColumnElement[bool]:
    """The Sign jobs in a state that shows as this status."""
    return jobs.c.state.in_([state for state, shown in SIGNATURE_STATUS.items() if shown is status])


def _signature_of_row(row: AnyRow, sees_details: bool) -> Signature:
    return signature_of(SignatureRequest.read(row.payload), Progress.of(row), sees_details)
