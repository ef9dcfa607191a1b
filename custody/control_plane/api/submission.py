"""The one way for a route to hand in a request, and to answer what became of it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from fastapi import Response

from custody.control_plane.api.answers import answer
from custody.control_plane.api.services import Services
from custody.control_plane.api.waiting import Read, wait_for
from custody.control_plane.jobs.new_jobs import Draft
from custody.control_plane.jobs.queue import NewJob
from custody.control_plane.problems import Code, ProblemError
from custody.control_plane.resources.external_ids import Settled, find_first
from custody.wire.requests import Request
from custody.wire.resources import Import, Key, KeyChange, Wallet


async def _always() -> None:
    """Do nothing: every node can do it."""


@dataclass(frozen=True, slots=True)
class NewRequest:
    """A checked body, the draft of its job, and how the signed job is added to the database.

    ``require_possible`` raises ProblemError when no node can do the job. With ``looks_up_first`` an
    earlier request with the same external id is found before that check: its result is shown even
    when no node can do a new request. Without, ``add`` finds the earlier request, and saves a round
    trip.
    """

    body: Request
    draft: Draft
    add: Callable[[NewJob], Awaitable[Settled]]
    require_possible: Callable[[], Awaitable[None]] = _always
    looks_up_first: bool = False


async def submit(services: Services, request: NewRequest) -> Settled:
    """Add a request's job, or find the earlier request that it repeats.

    An expired request is never signed: only the result of an earlier request is shown for it.
    Raises ProblemError: request_expired, external_id_conflict, and what ``require_possible`` and
    ``add`` raise.
    """
    expires_at = request.body.expires_at
    is_expired = expires_at is not None and expires_at <= datetime.now(UTC)
    if is_expired or request.looks_up_first:
        first = await find_first(services.database, request.draft)
        if first is not None:
            return first
    if expires_at is not None and is_expired:
        raise ProblemError(
            Code.REQUEST_EXPIRED,
            f"expires_at was {expires_at.isoformat()}. Send a new request, or set the clock.",
        )
    await request.require_possible()
    return await request.add(services.job_maker.signed(request.draft))


Resource = TypeVar("Resource", Wallet, Key, KeyChange, Import)


async def created(
    services: Services,
    settled: Settled,
    read: Read[Resource],
    wait: float,
    path: str,
) -> Response:
    """Wait for a submitted request, and answer with what it has made so far.

    The status is 201 for a new request and 200 for an earlier one. ``path``: where the resource is
    found, under its id.
    """
    resource = await wait_for(services.notifications, settled.job_id, read, wait)
    return answer(resource, 201 if settled.is_new else 200, location=f"{path}/{resource.id}")
