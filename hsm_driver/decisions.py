"""Whether to do a job: what ends it other than its result."""

from datetime import datetime, timedelta

from pydantic import ValidationError

from wire.envelope import JOB_TYPE, BadEnvelope, PinnedKeys
from wire.jobs import Job
from wire.node_api import ClaimedJob
from wire.outcomes import OutcomeStatus


class NotDone(Exception):
    """Base of what ends a job without a result: a stable code and a reason for people."""

    status: OutcomeStatus

    def __init__(self, code: str, reason: str, *, transient: bool = False) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason
        self.transient = transient


class Refused(NotDone):
    """Not a job that this node believes or is meant to do."""

    status = OutcomeStatus.REFUSED


class Denied(NotDone):
    """Decided against, for good."""

    status = OutcomeStatus.DENIED


class Failed(NotDone):
    """Could not be done; worth another attempt when ``transient``."""

    status = OutcomeStatus.FAILED


class Authenticator:
    """Opens claimed jobs: signature first, then what they say."""

    def __init__(self, keys: PinnedKeys, group: str, kinds: frozenset[str]) -> None:
        self._keys = keys
        self._group = group
        self._kinds = kinds

    def open(self, claimed: ClaimedJob) -> Job:
        """The job inside. Raises Refused."""
        try:
            payload = self._keys.open(JOB_TYPE, claimed.job)
        except BadEnvelope as error:
            raise Refused(
                "bad_job_signature", f"this node does not believe the job: {error}"
            ) from None
        try:
            job = Job.model_validate_json(payload)
        except ValidationError as error:
            raise Refused(
                "malformed_job", f"the signed job has {error.error_count()} malformed fields"
            ) from None
        if job.id != claimed.job_id:
            raise Refused("wrong_job", f"claimed as {claimed.job_id}, but signed as {job.id}")
        if job.group != self._group:
            raise Refused(
                "wrong_group",
                f"the job is for group {job.group!r}, this node is of {self._group!r}",
            )
        if job.kind not in self._kinds:
            raise Refused("unknown_kind", f"this node does no jobs of kind {job.kind!r}")
        return job


class Clock:
    """How far the control plane's clock is from ours."""

    def __init__(self, max_offset: timedelta) -> None:
        self._max_offset = max_offset
        self.offset = timedelta()

    def compare(self, theirs: datetime, sent: datetime, received: datetime) -> None:
        """Take a reading: their time, somewhere between our sending and receiving."""
        if theirs > received:
            self.offset = theirs - received
        elif theirs < sent:
            self.offset = theirs - sent
        else:
            self.offset = timedelta()

    @property
    def in_step(self) -> bool:
        return abs(self.offset) <= self._max_offset

    def problem(self) -> str | None:
        return None if self.in_step else f"{self.offset} apart from the control plane's"


def decide(job: Job, now: datetime, clock: Clock) -> None:
    """Raise Denied or Failed unless the job may be done at this time."""
    if job.expires_at <= now:
        raise Denied("expired", f"the request expired at {job.expires_at.isoformat()}")
    if not clock.in_step:
        raise Failed(
            "clock_out_of_step",
            f"this node's clock and the control plane's are {clock.offset} apart",
            transient=True,
        )
