"""The lessons of a request's steps so far. Pure: each follows from the outcomes alone."""

from collections import Counter

from custody.control_plane.conductor.planning.facts import CEREMONY_OF, Ending, Pair, Request, Task
from custody.control_plane.conductor.planning.share_sets import NOT_PROVED, SET_PENDING
from custody.wire.jobs import JobKind
from custody.wire.outcomes import APPROVAL_PENDING, Outcome, OutcomeStatus

BANNED = "banned_counterparty"
LEFT_IN_FLIGHT = "left_in_flight"
NOT_PINNED = "not_pinned"
NOT_APPROVED = "repair_not_approved"
PEER_ABORTED = "peer_aborted"
USED_TICKET = "ticket_used"
BLAMELESS = frozenset(
    {
        APPROVAL_PENDING,
        "bad_dealing",
        "bad_message",
        "bad_signature",
        "ceremony_aborted",
        "delivery_unavailable",
        "echo_mismatch",
        "in_flight_elsewhere",
        LEFT_IN_FLIGHT,
        "no_import_key",
        NOT_APPROVED,
        NOT_PROVED,
        PEER_ABORTED,
        "peer_silent",
        SET_PENDING,
        USED_TICKET,
    }
)
"""Codes with which a signer that names nobody is not to blame itself: what it tells of is another's
doing, or the delivery server's, or ours; or its operator has yet to decide."""

Blame = tuple[int, int]
"""Ceremonies that failed with a signer in them, and those whose failure was blamed on it."""

DECIDING = (
    JobKind.SIGN,
    JobKind.APPROVE,
    JobKind.GENERATE_KEY,
    JobKind.IMPORT_KEY,
    JobKind.REFRESH_KEY,
    JobKind.REPAIR_SHARE,
    JobKind.PREPARE_IMPORT,
    JobKind.ARCHIVE_KEY,
    JobKind.UNARCHIVE_KEY,
    JobKind.DEAL_SHARES,
    JobKind.COPY_KEY,
)
"""The kinds whose No is a signer's No to the request."""


def refusals(request: Request) -> dict[str, Outcome]:
    """Return the signers that will not or cannot do this request, each with the reason."""
    found: dict[str, Outcome] = {}
    for step in request.steps:
        if step.kind in DECIDING:
            found.update(
                (signer, outcome) for signer, outcome in step.outcomes.items() if is_no(outcome)
            )
    return found


def is_no(outcome: Outcome) -> bool:
    """Return whether the same signer would give the same answer again."""
    match outcome.status:
        case OutcomeStatus.DONE:
            return False
        case OutcomeStatus.DENIED:
            return True
        case OutcomeStatus.FAILED:
            return not outcome.transient
        case OutcomeStatus.REFUSED:
            return outcome.code != USED_TICKET


def approvals(request: Request) -> frozenset[str]:
    """Return the signers whose owners have approved."""
    return frozenset(
        signer
        for step in request.steps
        if step.kind is JobKind.APPROVE
        for signer, outcome in step.outcomes.items()
        if outcome.status is OutcomeStatus.DONE
    )


def blame(request: Request) -> dict[str, Blame]:
    """Return a penalty for each signer, from the failures of this request's ceremonies.

    How many failed steps a signer was in counts first. Blame counts less: it is the word of others
    alone, and a signer that wants to disturb names another signer each time, or none.
    """
    failed: Counter[str] = Counter()
    named: Counter[str] = Counter()
    for step in request.steps:
        named.update(step.culprits)
        # no fault of theirs, but others may have their operator's approval already
        named.update(task.signer for task in step.tasks if _lacks_approval(task))
        if step.kind in CEREMONY_OF and step.ending in (Ending.FAILED, Ending.SILENT):
            failed.update(task.signer for task in step.tasks if not _is_done(task))
    return {signer: (failed[signer], named[signer]) for signer in failed | named}


def _lacks_approval(task: Task) -> bool:
    return task.outcome is not None and task.outcome.code == NOT_APPROVED


def _is_done(task: Task) -> bool:
    return task.outcome is not None and task.outcome.status is OutcomeStatus.DONE


def culprits_of(signer: str, outcome: Outcome) -> tuple[str, ...]:
    """Return the signers that an outcome blames: those it names, or else its own signer.

    One that lacks the pin of another works with nobody of the group: it is itself to be avoided.
    """
    if outcome.status in (OutcomeStatus.DONE, OutcomeStatus.DENIED):
        return ()
    if outcome.code == NOT_PINNED:
        return (signer,)
    if outcome.culprits:
        return outcome.culprits
    return () if outcome.code in BLAMELESS else (signer,)


def banned_pairs(request: Request) -> frozenset[Pair]:
    """Return the key's bans, and those that outcomes report before their statements arrive."""
    told = (
        frozenset((signer, culprit))
        for step in request.steps
        for signer, outcome in step.outcomes.items()
        if outcome.code == BANNED
        for culprit in outcome.culprits
    )
    return request.bans | {pair for pair in told if len(pair) == 2}


def barred_pairs(request: Request) -> frozenset[Pair]:
    """Return the pairs that do not work together now: banned, or waiting for an operator."""
    return banned_pairs(request) | {left.pair for left in request.left_in_flight}


def repaired(request: Request) -> bool:
    """Return whether the share of a repair's target has been made again."""
    return any(
        step.kind is JobKind.REPAIR_SHARE
        and request.target in step.outcomes
        and step.outcomes[request.target].status is OutcomeStatus.DONE
        for step in request.steps
    )
