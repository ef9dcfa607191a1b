"""Signatures as applications read them: Sign jobs, shown."""

from collections.abc import Mapping
from functools import partial
from uuid import UUID

from custody.control_plane.access.tokens import Caller
from custody.control_plane.database import AnyRow, Database
from custody.control_plane.jobs.queue import Queue
from custody.control_plane.problems import Code, ProblemError
from custody.control_plane.resources.pages import Listing, PageRequest, in_states
from custody.control_plane.resources.presentation import (
    SIGNATURE_STATUS,
    Progress,
    SignatureRequest,
    signature_of,
)
from custody.runtime.batching import Batcher
from custody.wire.jobs import Endpoint
from custody.wire.resources import Page, Signature, SignatureStatus

_PROGRESS = """
    SELECT id, state, outcome, last_failure FROM jobs WHERE id = ANY(CAST(:ids AS uuid[]))
"""

_SIGNATURES = """
    SELECT id, created_at, payload, state, outcome, last_failure FROM jobs
    WHERE kind = 'Sign' AND key_id = :key AND application_id = :application
"""

_SIGNATURE = _SIGNATURES + "AND id = :id"

_LISTING = Listing(
    _SIGNATURES,
    "jobs",
    {
        "states": in_states,
        "external_id": f"external_id = :external_id AND endpoint = '{Endpoint.SIGNATURES}'",
    },
)


class Signatures:
    """Reads signatures."""

    def __init__(self, database: Database, queue: Queue) -> None:
        self._database = database
        self._queue = queue
        self._lookups = Batcher(self._look_up)

    async def get(self, caller: Caller, key_id: UUID, signature_id: UUID) -> Signature:
        """Raises ProblemError not_found."""
        which = {"id": signature_id, "key": key_id, "application": caller.application_id}
        row = await self._database.row(_SIGNATURE, which)
        if row is None:
            raise ProblemError(Code.NOT_FOUND, f"Key {key_id} has no signature {signature_id}.")
        return _signature_of_row(row, caller.sees_details)

    async def page(
        self,
        caller: Caller,
        key_id: UUID,
        filters: Mapping[str, object],
        request: PageRequest,
    ) -> Page[Signature]:
        """Return a page of a key's signatures; none where the key is another application's."""
        shown = partial(_signature_of_row, sees_details=caller.sees_details)
        values = {"key": key_id, "application": caller.application_id}
        return await _LISTING.page(self._database, request, values, shown, filters)

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


def states_of(status: SignatureStatus | None) -> list[str] | None:
    """Return the states of a Sign job that show as this status; None for None."""
    if status is None:
        return None
    return [state.value for state, shown in SIGNATURE_STATUS.items() if shown is status]


def _signature_of_row(row: AnyRow, sees_details: bool) -> Signature:
    return signature_of(SignatureRequest.read(row.payload), Progress.of(row), sees_details)
