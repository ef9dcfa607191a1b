"""The next step of a request to archive or un-archive a key: an order to all n signers. Pure.

An archived key must not sign: at least n - t + 1 signers archive it, so that fewer than t are left.
A key signs again once t signers have un-archived it. Until the end of its time the request waits
for the signers that are away.
"""

from custody.control_plane.conductor.planning.decisions import (
    Begin,
    Decision,
    End,
    Obeyed,
    Pause,
    Reason,
)
from custody.control_plane.conductor.planning.facts import Request
from custody.control_plane.conductor.planning.history import refusals
from custody.control_plane.conductor.planning.obstacles import BLOCKED, hopeless, waiting
from custody.control_plane.jobs.transitions import EXPIRED, NOT_DONE
from custody.wire.jobs import JobKind
from custody.wire.outcomes import OutcomeStatus

ARCHIVING = (JobKind.ARCHIVE_KEY, JobKind.UNARCHIVE_KEY)


def next_archiving_step(request: Request) -> Decision:
    """Return the next step of ArchiveKey or UnarchiveKey."""
    signers, needed = request.group.signers, _needed(request)
    end = hopeless(request, needed, signers, ())
    if end is not None:
        return end
    done, out = _done(request), refusals(request)
    missing = [signer for signer in signers if signer not in done and signer not in out]
    if not missing or (request.is_late and len(done) >= needed):
        return Obeyed()
    if request.is_late:
        text = f"{NOT_DONE}: these signers have not done it: {', '.join(missing)}"
        return End(OutcomeStatus.FAILED, Reason(EXPIRED, text, NOT_DONE))
    if request.is_blocked:
        text = "this request waits until another one has archived or un-archived the key"
        return Pause(Reason(BLOCKED, text, text))
    there = request.there(missing)
    if not there:
        return waiting(request, len(missing), missing, ())
    return Begin(request.kind, tuple(there), None, request.in_use.generation)


def _needed(request: Request) -> int:
    """Return how many signers must do it, so that the key signs no more, or signs again."""
    group = request.group
    if request.kind is JobKind.ARCHIVE_KEY:
        return len(group.signers) - group.threshold + 1
    return group.threshold


def _done(request: Request) -> frozenset[str]:
    return frozenset(
        signer
        for step in request.steps
        if step.kind is request.kind
        for signer, outcome in step.outcomes.items()
        if outcome.status is OutcomeStatus.DONE
    )
