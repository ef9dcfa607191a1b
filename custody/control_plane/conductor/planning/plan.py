"""The plan for a request: its facts in, the plan out. Pure.

A request that is final may still have shares to clean up: planning continues until none is left.
"""

from dataclasses import replace
from uuid import UUID

from custody.control_plane.conductor.planning.archiving import next_archiving_step
from custody.control_plane.conductor.planning.decisions import (
    Begin,
    Complete,
    Decision,
    End,
    Ended,
    Obeyed,
    Pause,
    Plan,
    Prepared,
    Rest,
    Signed,
)
from custody.control_plane.conductor.planning.endings import ending_of, failure_of
from custody.control_plane.conductor.planning.facts import (
    CEREMONY_OF,
    MAKES_SHARES,
    Ending,
    Request,
)
from custody.control_plane.conductor.planning.history import DECIDING, is_no
from custody.control_plane.conductor.planning.preparing import next_preparation_step
from custody.control_plane.conductor.planning.servers import no_server
from custody.control_plane.conductor.planning.set_making import next_change_step, remove_set
from custody.control_plane.conductor.planning.share_sets import (
    ShareSet,
    is_gone,
    is_kept,
    share_sets,
)
from custody.control_plane.conductor.planning.signing import has_approvals_enough, next_signing_step
from custody.control_plane.jobs.transitions import backoff
from custody.wire.jobs import JobKind
from custody.wire.outcomes import OutcomeStatus

FIRST_PAUSE_SECONDS = 0.1
FIRST_APPROVAL_PAUSE_SECONDS = 1.0
"""Before owners who have not decided yet are asked again; by their gates, that are not ours."""
LONGEST_PAUSE_SECONDS = 15.0
LONGEST_PAUSE_AFTER_THE_END_SECONDS = 3600.0
"""Nobody waits any more, and who has not done it until then may never do it."""
CLEANING = (JobKind.ABANDON, JobKind.DISCARD)


def plan(request: Request, jitter: float) -> Plan:
    """``jitter`` is random, in [0, 1)."""
    step = request.open_step
    if step is None:
        if not request.is_due:
            return Plan(Rest())
        return Plan(_next(request), settled=settled(request))
    ended = ending_of(request, step)
    if ended is None and step.kind is JobKind.APPROVE and _may_overtake(request):
        ended = Ended(step, Ending.OVERTAKEN, ())
    if ended is None:
        return Plan(Rest())
    over = replace(step, ending=ended.ending, culprits=ended.culprits)
    after = request.with_step(over)
    decision = _next(after)
    kind = decision.kind if isinstance(decision, Begin) else over.kind
    is_made_again = over.kind in CLEANING and kind in MAKES_SHARES
    if ended.ending in (Ending.DONE, Ending.OVERTAKEN):
        # the pause after the failure, before which its shares were cleaned up
        delay = pause(after, kind, jitter) if is_made_again else 0.0
        return Plan(decision, ended, delay_seconds=delay, settled=settled(after))
    delay = 0.0
    if not _continues_at_once(over.kind, ended, decision):
        delay = pause(after, kind if is_made_again else over.kind, jitter)
    return Plan(decision, ended, failure_of(ended), delay, settled(after))


def _next(request: Request) -> Decision:
    if request.is_final:
        return _clean_up(request)
    decision = _next_step_by_kind(request)
    if isinstance(decision, Begin) and decision.kind in CEREMONY_OF:
        return no_server(request) or decision
    return decision


def _next_step_by_kind(request: Request) -> Decision:
    match request.kind:
        case JobKind.SIGN:
            return next_signing_step(request)
        case JobKind.PREPARE_IMPORT:
            return next_preparation_step(request)
        case JobKind.ARCHIVE_KEY | JobKind.UNARCHIVE_KEY:
            return next_archiving_step(request)
        case _:
            return next_change_step(request)


def _may_overtake(request: Request) -> bool:
    return request.kind is JobKind.SIGN and has_approvals_enough(request)


def _continues_at_once(kind: JobKind, ended: Ended, decision: Decision) -> bool:
    """Cleaning up, an end, and another signer in place of one that said No need no pause."""
    if isinstance(decision, End | Complete | Obeyed | Prepared | Signed | Pause):
        return True
    if isinstance(decision, Begin) and decision.kind in CLEANING:
        return kind not in CLEANING
    failures = [
        each for each in ended.step.outcomes.values() if each.status is not OutcomeStatus.DONE
    ]
    says_no = all(is_no(outcome) for outcome in failures)
    return kind in DECIDING and not ended.silent and says_no


def pause(request: Request, kind: JobKind, jitter: float) -> float:
    """Seconds until the next attempt: doubled with each of the kind that failed, up to a limit."""
    failed = sum(
        step.kind is kind and step.ending in (Ending.FAILED, Ending.SILENT)
        for step in request.steps
    )
    first = FIRST_APPROVAL_PAUSE_SECONDS if kind is JobKind.APPROVE else FIRST_PAUSE_SECONDS
    is_over = request.is_final or request.is_late
    longest = LONGEST_PAUSE_AFTER_THE_END_SECONDS if is_over else LONGEST_PAUSE_SECONDS
    return backoff(failed, jitter, first, longest)


def _clean_up(request: Request) -> Decision:
    for made in _unsettled(request):
        if _is_over(request, made):
            continue
        decision = remove_set(request, made)
        if isinstance(decision, Begin):
            return decision
    return Rest()


def settled(request: Request) -> tuple[UUID, ...]:
    """Return the settled sets: their shares are gone everywhere, or here to stay."""
    is_last = {made.id for made in share_sets(request)[-1:]}
    return tuple(
        made.id
        for made in _unsettled(request)
        if _is_over(request, made) and (request.is_final or made.id not in is_last)
    )


def _unsettled(request: Request) -> list[ShareSet]:
    return [made for made in share_sets(request) if made.is_unsettled]


def _is_over(request: Request, made: ShareSet) -> bool:
    return is_kept(request, made) or is_gone(request, made)
