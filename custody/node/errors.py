"""The endings of a job that has no result."""

from custody.wire.outcomes import OutcomeStatus, SetOfShares


class NotDone(Exception):
    """Base of the errors that end a job without a result.

    ``code`` is stable; ``reason`` is a text for people, and has no secret. ``culprits``: the
    signers whose fault ended a ceremony. ``shares``: the share set that this signer holds instead
    of the requested one, or the share set that blocks the job.
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
    """The node does not believe the job, or the job is not for this node.

    The node does not journal a refusal: another node, or another attempt, may do the job.
    """

    status = OutcomeStatus.REFUSED


class Denied(NotDone):
    """The node decided not to do the job. The decision is final."""

    status = OutcomeStatus.DENIED


class Failed(NotDone):
    """The node could not do the job. If ``transient``, another attempt may succeed."""

    status = OutcomeStatus.FAILED
