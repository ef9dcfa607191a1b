"""Whether to do a job: what ends it other than its result."""

import asyncio
from datetime import datetime, timedelta
from typing import TypeVar

from pydantic import ValidationError

from custody.node.freeze import Freeze
from custody.node.handlers import Work
from custody.wire.clocks import nearest_offset, said
from custody.wire.delivery import DeliveryTicket
from custody.wire.encoding import Model
from custody.wire.envelope import (
    DELIVERY_TICKET_TYPE,
    JOB_TYPE,
    TICKET_TYPE,
    BadEnvelope,
    PinnedKeys,
    SignedBytes,
)
from custody.wire.jobs import CHILD_KINDS, Job, job_digest
from custody.wire.node_api import ClaimedJob
from custody.wire.outcomes import OutcomeStatus, SetOfShares
from custody.wire.tickets import Ticket

READING_LASTS = timedelta(minutes=2)
"""A comparison of clocks is made with each heartbeat, every 10 s."""


SomeTicket = TypeVar("SomeTicket", bound=Model)


class NotDone(Exception):
    """Base of what ends a job without a result: a stable code and a reason for people.

    ``culprits``: the signers to blame, where a ceremony ended by their fault. ``shares``: what is
    here instead of the set of shares that the job is about, or waits for an end.
    """

    status: OutcomeStatus

    def __init__(
        self,
        code: str,
        reason: str,
        *,
        transient: bool = False,
        culprits: tuple[str, ...] = (),
        shares: SetOfShares | None = None,
    ) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason
        self.transient = transient
        self.culprits = culprits
        self.shares = shares


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

    def open(self, claimed: ClaimedJob) -> Work:
        """The job inside, and its tickets. Raises Refused."""
        job = self._open_job(claimed)
        return Work(
            job,
            job_digest(claimed.job.payload),
            self._open_ticket(TICKET_TYPE, Ticket, claimed.ticket),
            claimed.ticket,
            self._open_ticket(DELIVERY_TICKET_TYPE, DeliveryTicket, claimed.delivery_ticket),
            claimed.delivery_ticket,
        )

    def _open_job(self, claimed: ClaimedJob) -> Job:
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
        if job.key.path and job.kind not in CHILD_KINDS:
            raise Refused("malformed_job", f"a {job.kind} job is about a root key, not a child")
        return job

    def _open_ticket(
        self, payload_type: str, model: type[SomeTicket], signed: SignedBytes | None
    ) -> SomeTicket | None:
        if signed is None:
            return None
        try:
            return model.model_validate_json(self._keys.open(payload_type, signed))
        except BadEnvelope as error:
            raise Refused(
                "bad_ticket_signature", f"this node does not believe the ticket: {error}"
            ) from None
        except ValidationError as error:
            raise Refused(
                "malformed_ticket", f"the signed ticket has {error.error_count()} faults"
            ) from None


class Clock:
    """How far the control plane's clock is from ours; unknown until compared, and after a while.

    ``offset``: theirs less ours, so positive where ours is behind.
    """

    def __init__(self, max_offset: timedelta) -> None:
        self._max_offset = max_offset
        self._told_offset = max_offset
        self._compared_at: datetime | None = None
        self.offset = timedelta()
        self.compared = asyncio.Event()

    def compare(self, theirs: datetime, sent: datetime, received: datetime) -> None:
        """Take a reading: their time, somewhere between our sending and receiving."""
        self.offset = nearest_offset(theirs - received, theirs - sent)
        self._compared_at = received
        self.compared.set()

    def deadline(self, expires_at: datetime) -> datetime:
        """The moment of our clock from which on something is over by ours or by theirs.

        Of clocks that are out of step only so much counts as may be between them: no job is denied
        for good by a clock that is wrong.
        """
        return expires_at - self._ahead()

    def is_over(self, expires_at: datetime, now: datetime) -> bool:
        """True from ``deadline`` on, also for a time that ``deadline`` would overflow at."""
        return expires_at - now <= self._ahead()

    def _ahead(self) -> timedelta:
        """How much of the control plane's lead counts."""
        return min(max(self.offset, timedelta()), self.allowed)

    def allow(self, told_seconds: float | None) -> None:
        """Take what the control plane says that its tickets allow; never more than we do."""
        if told_seconds is not None:
            ours = self._max_offset.total_seconds()
            # what is not a number compares as false, and allows nothing
            self._told_offset = timedelta(
                seconds=min(told_seconds, ours) if told_seconds > 0 else 0
            )

    @property
    def allowed(self) -> timedelta:
        """How far the clocks may be apart."""
        return min(self._max_offset, self._told_offset)

    def problem(self, now: datetime) -> str | None:
        """Why times cannot be judged by our clock; None while it is in step."""
        if self._compared_at is None or abs(now - self._compared_at) > READING_LASTS:
            return "not compared with the control plane's of late"
        if abs(self.offset) > self.allowed:
            return (
                f"{said(-self.offset)} the control plane's: {self.allowed.total_seconds():g} s "
                "are allowed"
            )
        return None


def require_thawed(freeze: Freeze) -> None:
    """Raise Failed, worth another attempt, while this node is frozen."""
    problem = freeze.problem()
    if problem is not None:
        raise Failed("frozen", f"this node is {problem}", transient=True)


def require_in_time(job: Job, now: datetime, clock: Clock) -> None:
    """Raise Denied once the job has expired, by this host's clock or by the control plane's."""
    if clock.is_over(job.expires_at, now):
        raise Denied("expired", f"the request expired at {job.expires_at.isoformat()}")


def decide(job: Job, now: datetime, clock: Clock, longest_life: timedelta) -> None:
    """Raise Denied or Failed unless the job may be done at this time.

    ``longest_life`` is how long the journal remembers: a job that outlives that could be done
    twice.
    """
    require_in_time(job, now, clock)
    if job.expires_at - now > longest_life:
        raise Denied(
            "lives_too_long",
            f"the request lives until {job.expires_at.isoformat()}, longer than this node's "
            "journal remembers it",
        )
    problem = clock.problem(now)
    if problem is not None:
        raise Failed("clock_out_of_step", f"this node's clock is {problem}", transient=True)
