"""Jobs of kind ArchiveKey and UnarchiveKey, in both modes.

Stopping a key asks no gate: it must also succeed while the gate is away, and it moves nothing.
Letting a key sign again asks the gate.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import ClassVar

from custody.node.archivals import (
    Archivals,
    ChangedBy,
    KeyPlace,
    audit_details,
    last_change,
    row_of_request,
)
from custody.node.errors import Denied
from custody.node.handlers import Handled, Handler, Work
from custody.node.signed_requests import read_request
from custody.wire.jobs import Endpoint, Job, JobKind
from custody.wire.outcomes import NothingMade
from custody.wire.requests import ArchiveKey as ArchiveRequest
from custody.wire.requests import UnarchiveKey as UnarchiveRequest

RequireKey = Callable[[Job], Awaitable[None]]
"""Raises Failed or Denied unless the job's key is a key that this node has stored."""


@dataclass(frozen=True)
class ArchiveKey:
    """Archives a key: from its commit on, this node signs nothing with it."""

    carries_request: ClassVar[bool] = True
    asks_gate: ClassVar[bool] = False
    archivals: Archivals
    require_key: RequireKey

    async def handle(self, work: Work) -> Handled:
        _require_request(work.job, Endpoint.ARCHIVALS, ArchiveRequest)
        await self.require_key(work.job)
        return await _changed(self.archivals, work.job, is_archived=True)


@dataclass(frozen=True)
class UnarchiveKey:
    """Lets a key that a request has archived sign again."""

    carries_request: ClassVar[bool] = True
    asks_gate: ClassVar[bool] = True
    archivals: Archivals
    require_key: RequireKey

    async def handle(self, work: Work) -> Handled:
        _require_request(work.job, Endpoint.UNARCHIVALS, UnarchiveRequest)
        await self.require_key(work.job)
        return await _changed(self.archivals, work.job, is_archived=False)


def archiving_handlers(archivals: Archivals, require_key: RequireKey) -> dict[str, Handler]:
    """Return both handlers by job kind."""
    return {
        JobKind.ARCHIVE_KEY.value: ArchiveKey(archivals, require_key),
        JobKind.UNARCHIVE_KEY.value: UnarchiveKey(archivals, require_key),
    }


def _require_request(
    job: Job, endpoint: Endpoint, model: type[ArchiveRequest] | type[UnarchiveRequest]
) -> None:
    if job.endpoint is not endpoint:
        raise Denied("malformed_job", f"a {job.kind} job has no request to {job.endpoint.value}")
    read_request(job, model.model_validate_json)


async def _changed(archivals: Archivals, job: Job, *, is_archived: bool) -> Handled:
    place = KeyPlace.of(job.key)
    changes = await archivals.of(place)
    last = last_change(changes, ChangedBy.REQUEST)
    done = next((each for each in changes if each.request_id == job.request_id), None)
    if done is not None:
        if done != last or done.is_archived is not is_archived:
            raise Denied("superseded", "a later request has archived or un-archived the key")
        return Handled(NothingMade(), audit_details(place, ChangedBy.REQUEST, done.number))
    by_operator = last_change(changes, ChangedBy.OPERATOR)
    if not is_archived and by_operator is not None and by_operator.is_archived:
        raise Denied(
            "archived_by_operator",
            "an operator of the key's owner has archived the key on the host, and must un-archive "
            "it there first",
        )
    number = 1 if last is None else last.number + 1
    return Handled(
        NothingMade(),
        audit_details(place, ChangedBy.REQUEST, number),
        rows=[row_of_request(place, number, job.request_id, is_archived=is_archived)],
    )
