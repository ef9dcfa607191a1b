"""The next step of a request for import keys. Pure."""

from collections.abc import Iterable

from custody.control_plane.conductor.planning.decisions import (
    Begin,
    Decision,
    End,
    Prepared,
    Reason,
)
from custody.control_plane.conductor.planning.facts import Request, Step
from custody.control_plane.conductor.planning.obstacles import hopeless, waiting
from custody.control_plane.jobs.transitions import EXPIRED, NOT_DONE
from custody.wire.jobs import JobKind
from custody.wire.outcomes import OutcomeStatus, PreparedImport
from custody.wire.signed_bytes import SignedBytes


def next_preparation_step(request: Request) -> Decision:
    """Have each of the n signers make an import key; Prepared once all have stated theirs."""
    signers = request.group.signers
    stated = stated_import_keys(request.steps)
    missing = [signer for signer in signers if signer not in stated]
    if not missing:
        return Prepared(tuple(stated[signer] for signer in signers))
    end = hopeless(request, len(signers), signers, ())
    if end is not None:
        return end
    if request.is_late:
        return End(OutcomeStatus.FAILED, Reason(EXPIRED, NOT_DONE, NOT_DONE))
    there = request.there(missing)
    if not there:
        return waiting(request, len(missing), missing, ())
    return Begin(JobKind.PREPARE_IMPORT, tuple(there), None, 0)


def stated_import_keys(steps: Iterable[Step]) -> dict[str, SignedBytes]:
    """Return the last statement of each signer that has made an import key."""
    return {
        signer: outcome.result.statements[0]
        for step in steps
        if step.kind is JobKind.PREPARE_IMPORT
        for signer, outcome in step.outcomes.items()
        if outcome.status is OutcomeStatus.DONE and isinstance(outcome.result, PreparedImport)
    }
