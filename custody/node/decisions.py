"""Decides whether this node may do a job now: its expiry, the clocks and the freeze. Pure."""

from datetime import datetime, timedelta

from custody.node.clock import Clock
from custody.node.errors import Denied, Failed
from custody.node.freeze import Freeze
from custody.wire.jobs import Job


def require_thawed(freeze: Freeze) -> None:
    """Raise a transient Failed while this node is frozen."""
    problem = freeze.problem()
    if problem is not None:
        raise Failed("frozen", f"this node is {problem}", transient=True)


def require_in_time(job: Job, now: datetime, clock: Clock) -> None:
    """Raise Denied once the job has expired, by this host's clock or by the control plane's."""
    if clock.is_over(job.expires_at, now):
        raise Denied("expired", f"the request expired at {job.expires_at.isoformat()}")


def decide(job: Job, now: datetime, clock: Clock, longest_life: timedelta) -> None:
    """Raise Denied or Failed unless the job may be done at this time.

    ``longest_life`` is the journal's retention. A job that lives longer could be done twice.
    """
    require_in_time(job, now, clock)
    if job.expires_at - now > longest_life:
        raise Denied(
            "lives_too_long",
            f"the request expires at {job.expires_at.isoformat()}, but this node's journal would "
            "forget the request before",
        )
    problem = clock.problem(now)
    if problem is not None:
        raise Failed("clocks_disagree", f"this node's clock is {problem}", transient=True)
