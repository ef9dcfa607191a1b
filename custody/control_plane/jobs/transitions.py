"""The effect of a report on a job. Pure: rows and outcomes in, the change to make out."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from custody.control_plane.jobs.reasons import RecordedOutcome
from custody.control_plane.jobs.results import (
    BadResult,
    KeyFacts,
    MadeKey,
    check_result,
    read_outcome,
)
from custody.control_plane.tables import TRANSITIONS, JobState
from custody.wire.outcomes import APPROVAL_PENDING, Outcome, OutcomeStatus

FIRST_BACKOFF_SECONDS = 1.0
MAX_BACKOFF_SECONDS = 60.0
MAX_PENDING_SECONDS = 15.0
"""An owner who has not decided yet is asked again that soon."""
MAX_DOUBLINGS = 30
"""More than any limit of a pause needs, and few enough for a float."""
JITTER = 0.25
"""A pause is longer or shorter by up to this part of it, so that retries do not come in waves."""

EXPIRED = "expired"
BAD_RESULT = "bad_result"
LEASE_LAPSED = "lease_lapsed"
NO_NODE_WORKS = "no_node_works"
NOT_DONE = "it was not done before it expired"


class Note(StrEnum):
    """The answer to a node about its report."""

    RECORDED = "recorded"
    DUPLICATE = "duplicate"
    LATE = "late"
    RETRIED = "retried"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class JobFacts:
    """A job's row, and its key's, when a report on it comes. One for signers is never leased."""

    id: UUID
    kind: str
    payload: bytes
    state: JobState
    key: KeyFacts
    attempt: int = 0
    lease: UUID | None = None
    lease_node: str | None = None
    refused_by: frozenset[str] = frozenset()
    outcome: bytes | None = None


@dataclass(frozen=True)
class Change:
    """The change to write. ``state`` None leaves the job's state unchanged.

    ``fault`` says what was wrong with the report, for the log.
    """

    job: JobFacts
    note: Note
    state: JobState | None = None
    outcome: bytes | None = None
    last_failure: bytes | None = None
    late_outcome: bytes | None = None
    delay_seconds: float = 0.0
    refused_by: str | None = None
    new_key: MadeKey | None = None
    fault: str | None = None
    is_expiry: bool = False
    """Not written where the job must be finished by now, whatever its time."""

    def __post_init__(self) -> None:
        if self.state is not None and self.state not in TRANSITIONS[self.job.state]:
            raise RuntimeError(f"a job cannot go from {self.job.state} to {self.state}")


def decide(
    job: JobFacts,
    node: str,
    lease: UUID | None,
    raw: bytes,
    willing: frozenset[str],
    jitter: float,
) -> Change:
    """Return the change that a node's report ``raw`` makes.

    The first final outcome wins, with or without the lease. What only asks for another attempt
    counts while the node holds the lease; after that the job has continued without it.
    ``willing`` are the nodes of the group seen of late; ``jitter`` is random, in [0, 1).
    """
    try:
        outcome = read_outcome(raw, job.id, node)
        if not TRANSITIONS[job.state]:
            return _after_the_end(job, raw, outcome)
        if outcome.status is OutcomeStatus.DONE:
            new_key = check_result(outcome, job.kind, job.payload, job.key)
            return Change(job, Note.RECORDED, JobState.DONE, raw, new_key=new_key)
    except BadResult as bad:
        return _bad_result(job, node, lease, str(bad), jitter)
    if outcome.status is OutcomeStatus.DENIED:
        return Change(job, Note.RECORDED, JobState.DENIED, raw)
    if not _holds_lease(job, node, lease):
        return Change(job, Note.RETRIED)
    if outcome.status is OutcomeStatus.REFUSED:
        return _refused(job, node, raw, willing)
    if outcome.transient:
        longest = MAX_PENDING_SECONDS if outcome.code == APPROVAL_PENDING else MAX_BACKOFF_SECONDS
        return _try_again(job, raw, jitter, longest=longest)
    return Change(job, Note.RECORDED, JobState.FAILED, raw)


def expire(job: JobFacts, last_failure: bytes | None) -> Change:
    """Return the end of a job that expired before anybody did it."""
    reason = summary = NOT_DONE
    if last_failure is not None:
        last = RecordedOutcome.model_validate_json(last_failure)
        summary += f"; the last attempt ended with {last.code}"
        reason = f"{summary}: {last.reason}"
    outcome = RecordedOutcome(
        job_id=job.id,
        node=None,
        status=OutcomeStatus.FAILED,
        code=EXPIRED,
        reason=reason,
        summary=summary,
    )
    raw = outcome.model_dump_json().encode()
    return Change(job, Note.RECORDED, JobState.FAILED, raw, is_expiry=True)


def fail_unreported(job: JobFacts, lapses: int) -> Change:
    """Return the end of a job that nodes take and never report: it may have ended each of them."""
    summary = f"{lapses} times in a row a node took it and did not report"
    outcome = RecordedOutcome(
        job_id=job.id,
        node=None,
        status=OutcomeStatus.FAILED,
        code=LEASE_LAPSED,
        reason=f"{summary}, {job.lease_node} last: it may be what ends them; see that node's log",
        summary=summary,
    )
    return Change(job, Note.RECORDED, JobState.FAILED, outcome.model_dump_json().encode())


def stranded(job_id: UUID, nodes: str | None) -> bytes:
    """Return why a job waits if no node of its group works. ``nodes``: the words of each."""
    summary = "no node that could do it works at present"
    outcome = RecordedOutcome(
        job_id=job_id,
        node=None,
        status=OutcomeStatus.FAILED,
        code=NO_NODE_WORKS,
        reason=f"{summary} ({nodes or 'none is registered'})",
        summary=summary,
        transient=True,
    )
    return outcome.model_dump_json().encode()


def backoff(
    attempt: int,
    jitter: float,
    first: float = FIRST_BACKOFF_SECONDS,
    longest: float = MAX_BACKOFF_SECONDS,
) -> float:
    """Seconds until the attempt after the ``attempt``-th: doubled each time, up to a limit."""
    pause = min(first * 2.0 ** min(attempt - 1, MAX_DOUBLINGS), longest)
    return pause * (1 + JITTER * (2 * jitter - 1))


def _holds_lease(job: JobFacts, node: str, lease: UUID | None) -> bool:
    return job.state is JobState.LEASED and job.lease_node == node and job.lease == lease


def _after_the_end(job: JobFacts, raw: bytes, outcome: Outcome) -> Change:
    if raw == job.outcome:
        return Change(job, Note.DUPLICATE)
    is_final = outcome.status in (OutcomeStatus.DONE, OutcomeStatus.DENIED)
    return Change(job, Note.LATE, late_outcome=raw if is_final else None)


def _bad_result(job: JobFacts, node: str, lease: UUID | None, fault: str, jitter: float) -> Change:
    if not TRANSITIONS[job.state]:
        return Change(job, Note.LATE, fault=fault)
    if not _holds_lease(job, node, lease):
        return Change(job, Note.RETRIED, fault=fault)
    failure = Outcome(
        job_id=job.id,
        node=node,
        status=OutcomeStatus.FAILED,
        code=BAD_RESULT,
        reason=f"the control plane could not accept the node's result: {fault}",
        transient=True,
    )
    return _try_again(job, failure.model_dump_json().encode(), jitter, fault)


def _try_again(
    job: JobFacts,
    failure: bytes,
    jitter: float,
    fault: str | None = None,
    longest: float = MAX_BACKOFF_SECONDS,
) -> Change:
    return Change(
        job,
        Note.RETRIED,
        JobState.QUEUED,
        last_failure=failure,
        delay_seconds=backoff(job.attempt, jitter, longest=longest),
        fault=fault,
    )


def _refused(job: JobFacts, node: str, raw: bytes, willing: frozenset[str]) -> Change:
    """Another node of the group may have it; when all have refused it, it has failed."""
    if willing - job.refused_by - {node}:
        return Change(job, Note.RETRIED, JobState.QUEUED, last_failure=raw, refused_by=node)
    return Change(job, Note.RECORDED, JobState.FAILED, raw, refused_by=node)
