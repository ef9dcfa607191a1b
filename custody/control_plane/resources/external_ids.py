"""External ids: an application's own name for a request makes repeating it safe.

The database decides, by a unique constraint on (application, endpoint, external id): the
first insert wins, also between replicas. Every later request is compared with the stored one.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from custody.control_plane.database import AnyRow, Database
from custody.control_plane.jobs.queue import NewJob
from custody.control_plane.problems import Code, ProblemError
from custody.control_plane.resources.archivals import key_archived
from custody.wire.encoding import Model
from custody.wire.framing import Domain, tagged_hash
from custody.wire.jobs import JobKind
from custody.wire.metadata import METADATA
from custody.wire.requests import GROUPS_OF_A_COPY, CopyKey


@dataclass(frozen=True, slots=True)
class Settled:
    """The job that stands for a request: its own, or the first with the same external id."""

    job_id: UUID
    is_new: bool


class Named(Protocol):
    """What identifies a request when an application repeats it."""

    @property
    def id(self) -> UUID: ...
    @property
    def application_id(self) -> UUID: ...
    @property
    def endpoint(self) -> str: ...
    @property
    def external_id(self) -> str | None: ...
    @property
    def body_digest(self) -> bytes: ...


def body_digest(body: Model, key_id: UUID | None = None, imported: bytes | None = None) -> bytes:
    """Hash of what a repeated request must bring again: the parsed body, canonical.

    Spaces, the order of fields, null for a field left out, and until when it is asked for make no
    difference, nor does saying again which key the path names. Name and tags make none either: they
    may have changed since, and a control plane that lost its database does not know them. Of an
    imported key only the public key counts: the key is encrypted to another import key each time,
    and with other random bytes. ``imported``: that public key, where the body is not known. Of a
    copy the name of the new group counts, and not who is in the two groups: these never change.
    """
    left_out = {"expires_at"} if key_id is None else {"expires_at", "key_id", "store"}
    if isinstance(body, CopyKey):
        left_out |= GROUPS_OF_A_COPY
    content: dict[str, Any] = {
        "body": body.model_dump(mode="json", exclude_none=True, exclude=left_out | METADATA)
    }
    if imported is not None:
        content["body"]["imported"] = "0x" + imported.hex()
    elif "imported" in content["body"]:
        content["body"]["imported"] = content["body"]["imported"]["public_key"]
    if key_id is not None:
        content["key_id"] = str(key_id)
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return tagged_hash(Domain.BODY, canonical.encode())


_FIRSTS = """
    WITH wanted AS (
        SELECT * FROM unnest(CAST(:applications AS uuid[]), CAST(:endpoints AS varchar[]),
            CAST(:external_ids AS varchar[])) AS wanted(application_id, endpoint, external_id)
    )
    SELECT id, application_id, endpoint, external_id, body_digest,
        CAST(NULL AS timestamptz) AS pruned FROM jobs
    WHERE id = ANY(CAST(:ids AS uuid[]))
    UNION
    SELECT id, application_id, endpoint, external_id, body_digest, NULL FROM jobs
    JOIN wanted USING (application_id, endpoint, external_id)
    UNION
    SELECT request_id, application_id, endpoint, external_id, NULL, finished_at
    FROM spent_external_ids JOIN wanted USING (application_id, endpoint, external_id)
    ORDER BY pruned DESC NULLS LAST
"""
"""The spent ids come first: a signature that is there yet has its own row after it."""


def _wanted(new: Sequence[Named]) -> dict[str, Any]:
    named = [job for job in new if job.external_id is not None]
    return {
        "ids": [job.id for job in new],
        "applications": [job.application_id for job in named],
        "endpoints": [job.endpoint for job in named],
        "external_ids": [job.external_id for job in named],
    }


async def find_first(database: Database, new: Named) -> Settled | None:
    """An earlier request with the same external id. Raises ProblemError external_id_conflict."""
    if new.external_id is None:
        return None
    rows = await database.rows(_FIRSTS, _wanted([new]))
    for first in reversed(rows):
        if first.external_id == new.external_id:
            return compare(new, first)
    # there under its own id: a child that was derived before, under another name or none
    return Settled(new.id, is_new=True) if rows else None


Read = Callable[[str, dict[str, Any]], Awaitable[Sequence[AnyRow]]]


async def settle(read: Read, new: Sequence[NewJob], added: set[UUID]) -> list[Settled | Exception]:
    """For each job that was to be added, the one that stands for it now, or a ProblemError.

    A job that was not added, and is there all the same under its own id, was added by an earlier
    try whose answer got lost on the way.
    """
    left_out = [job for job in new if job.id not in added]
    if not left_out:
        return [Settled(job.id, is_new=True) for job in new]
    firsts = await read(_FIRSTS, _wanted(left_out))
    ours = added | {row.id for row in firsts if row.pruned is None}
    by_name = {(row.application_id, row.endpoint, row.external_id): row for row in firsts}
    return [
        Settled(job.id, is_new=True)
        if job.id in ours
        else _compared(job, by_name.get((job.application_id, job.endpoint, job.external_id)))
        for job in new
    ]


def _compared(job: NewJob, first: Any) -> Settled | Exception:
    if first is None and job.kind == JobKind.SIGN and job.key_id is not None:
        return key_archived(job.key_id)
    if first is None:
        return RuntimeError(f"job {job.id} was left out, but no other has its external id")
    try:
        return compare(job, first)
    except ProblemError as problem:
        return problem


def compare(job: Named, first: Any) -> Settled:
    """The first request with this external id stands for the new one, if it asked for the same.

    Raises ProblemError external_id_conflict when it did not, and external_id_spent when it was
    pruned.
    """
    if first.pruned is not None:
        raise ProblemError(
            Code.EXTERNAL_ID_SPENT,
            f"external_id {job.external_id} was used for request {first.id}, which was finished at "
            f"{first.pruned.isoformat(timespec='seconds')}. The result is not kept any more. For a "
            "new request choose another external_id.",
        )
    if first.body_digest != job.body_digest:
        raise ProblemError(
            Code.EXTERNAL_ID_CONFLICT,
            f"external_id {job.external_id} was used before with another body. "
            "Repeat that body to get its result, or choose another external_id.",
        )
    return Settled(first.id, is_new=False)
