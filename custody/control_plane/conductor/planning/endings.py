"""The ends of steps, and the signers to blame. Pure."""

from custody.control_plane.conductor.planning.decisions import Ended, Reason
from custody.control_plane.conductor.planning.facts import CEREMONY_OF, Ending, Request, Step
from custody.control_plane.conductor.planning.history import PEER_ABORTED, culprits_of
from custody.control_plane.jobs.reasons import summary_of
from custody.wire.jobs import JobKind
from custody.wire.outcomes import OutcomeStatus

SILENT = "signers_silent"


def ending_of(request: Request, step: Step) -> Ended | None:
    """Return how an open step has ended; None while it continues.

    A ceremony needs all of its signers, so the first that fails ends it. An order is each signer's
    by itself, so it continues until each has answered or its time is over.
    """
    if request.is_final and step.kind is JobKind.SIGN:
        return Ended(step, Ending.OVERTAKEN, ())
    late = tuple(task.signer for task in step.tasks if task.is_late and task.outcome is None)
    waiting = [task for task in step.tasks if task.outcome is None and not task.is_late]
    blamed = [
        culprit
        for signer, outcome in step.outcomes.items()
        for culprit in culprits_of(signer, outcome)
    ]
    culprits = tuple(sorted({*blamed, *late}))
    has_failed = any(each.status is not OutcomeStatus.DONE for each in step.outcomes.values())
    is_over = not waiting if step.kind not in CEREMONY_OF else has_failed or late or not waiting
    if not is_over:
        return None
    if has_failed:
        return Ended(step, Ending.FAILED, culprits, late)
    return Ended(step, Ending.SILENT if late else Ending.DONE, culprits, late)


def failure_of(ended: Ended) -> Reason:
    """Return why a step was not done, in words for its application."""
    said = {
        signer: outcome
        for signer, outcome in ended.step.outcomes.items()
        if outcome.status is not OutcomeStatus.DONE
    }
    naming = {signer: each for signer, each in said.items() if culprits_of(signer, each)}
    # else who ended it, rather than who was told that it had ended
    ending = {signer: each for signer, each in said.items() if each.code != PEER_ABORTED}
    naming = naming or ending or said
    texts = [f"{signer}: {outcome.reason or outcome.code}" for signer, outcome in naming.items()]
    if ended.silent:
        texts.append(f"{', '.join(ended.silent)} did not answer in time")
    codes = [outcome.code for outcome in naming.values() if outcome.code is not None]
    return Reason(
        code=codes[0] if codes else SILENT,
        text="; ".join(texts),
        summary=None if ended.silent else summary_of(list(naming.values())),
        node=next(iter(naming)) if len(naming) == 1 and not ended.silent else None,
        culprits=ended.culprits,
    )
