"""The next step of a request that makes a set of shares: a new key, a refresh, a repair. Pure.

First all n signers make shares and confirm them. Then quorums sign a proof message (proving.py),
and all n promise to keep the set. Then all n take it into use. If a set does not get all promises,
each signer that has not promised abandons it, and t abandonments let the others discard it.
"""

from custody.control_plane.conductor.planning.copying import next_step_before_shares
from custody.control_plane.conductor.planning.decisions import (
    Begin,
    Complete,
    Decision,
    End,
    Pause,
    Reason,
)
from custody.control_plane.conductor.planning.facts import MAKES_KEYS, Request
from custody.control_plane.conductor.planning.history import (
    banned_pairs,
    barred_pairs,
    blame,
    refusals,
    repaired,
)
from custody.control_plane.conductor.planning.obstacles import BLOCKED, hopeless, waiting
from custody.control_plane.conductor.planning.proving import next_proof
from custody.control_plane.conductor.planning.quorum import choose, prefer
from custody.control_plane.conductor.planning.share_sets import (
    NO_SHARE,
    ShareSet,
    dissenters,
    is_gone,
    is_kept,
    is_used,
    share_sets,
    unable,
)
from custody.control_plane.conductor.planning.signing import free_to_take_part
from custody.control_plane.jobs.transitions import EXPIRED, NOT_DONE
from custody.wire.jobs import JobKind
from custody.wire.outcomes import OutcomeStatus
from custody.wire.signed_bytes import SignedBytes

DISAGREE = "signers_disagree"


def next_change_step(request: Request) -> Decision:
    """Return the next step of GenerateKey, ImportKey, RefreshKey or RepairShare."""
    sets = share_sets(request)
    for made in sets:
        decision = _next_step_for(request, made, is_last=made is sets[-1])
        if decision is not None:
            return decision
    if request.is_late:
        return End(OutcomeStatus.FAILED, Reason(EXPIRED, NOT_DONE, NOT_DONE))
    if request.is_blocked:
        text = "this request waits until another request has changed the shares of this key"
        return Pause(Reason(BLOCKED, text, text))
    if request.kind is JobKind.REPAIR_SHARE and not repaired(request):
        return _repair(request)
    return _make(request)


def new_generation(request: Request) -> int:
    """Return the generation of the set that Generate, Import or Refresh makes."""
    in_use = request.in_use
    return 0 if in_use.share_set_id is None else in_use.generation + 1


def _next_step_for(request: Request, made: ShareSet, is_last: bool) -> Decision | None:
    """Return the next step for a set: to take it into use, or to remove it.

    Return None if nothing is left to do, or if no signer has abandoned another request's set.
    """
    if is_kept(request, made):
        is_done = made.is_foreign and is_used(request, made)
        return None if is_done else _take_into_use(request, made)
    if is_last and _is_usable(request, made):
        return _take_into_use(request, made)
    if is_gone(request, made):
        return None
    decision = remove_set(request, made)
    if decision is None and made.is_foreign and not made.abandoned:
        return None
    return decision or _split(made)


def remove_set(request: Request, made: ShareSet) -> Decision | None:
    """Have the signers that have not promised abandon the set, and the others then discard it.

    Return None if the others must keep it: fewer than min(t, n - 1) signers abandoned the set.
    """
    group, generation = request.group, new_generation(request)
    kind, evidence = JobKind.ABANDON, tuple[SignedBytes, ...]()
    left = [each for each in group.signers if each not in made.gone and each not in made.promised]
    if not left:
        needed = min(group.threshold, len(group.signers) - 1)
        if len(made.abandoned) < needed:
            return None
        kind, evidence = JobKind.DISCARD, tuple(made.abandoned.values())[:needed]
        left = [each for each in group.signers if each not in made.gone]
    there = request.there(left)
    if not there:
        return waiting(request, len(left), left, ())
    return Begin(kind, tuple(there), made.id, generation, evidence)


def _is_usable(request: Request, made: ShareSet) -> bool:
    """Return whether the set can still come into use.

    After the expiry of the request, at least one signer must have promised the set.
    """
    is_confirmed = set(made.confirmed) >= set(request.group.signers)
    has_begun = bool(made.promised) or not request.is_late
    return is_confirmed and has_begun and not made.abandoned and not unable(request, made)


def _split(made: ShareSet) -> End:
    keeping = ", ".join(sorted(set(made.promised) - made.gone))
    gone = ", ".join(sorted(made.gone))
    text = (
        f"These signers keep the share set {made.id}: {keeping}. These removed it: {gone}. If no "
        f"signer uses the set (mpc-signer shares list), stop {keeping} and run on each: "
        f"mpc-signer shares discard KEY {made.id} --reason TEXT"
    )
    return End(OutcomeStatus.FAILED, Reason(DISAGREE, text))


def _take_into_use(request: Request, made: ShareSet) -> Decision:
    said = made.said()
    wrong = dissenters(said)
    if wrong is not None:
        who = f": {', '.join(wrong)} differs from the others" if wrong else ""
        text = f"the signers have confirmed different facts of the set {made.id}{who}"
        reason = Reason(DISAGREE, text, culprits=wrong)
        return End(OutcomeStatus.FAILED, reason)
    signers = request.group.signers
    agreed, generation = next(iter(said.values())), new_generation(request)
    if made.id == request.in_use.share_set_id:  # some signers still have to activate it
        generation = request.in_use.generation
    if agreed.generation != generation:
        text = f"the set {made.id} is of generation {agreed.generation}, not of {generation}"
        return End(OutcomeStatus.FAILED, Reason(DISAGREE, text))
    if not is_kept(request, made):
        proof = next_proof(request, made, generation, agreed.protocol, agreed.public_key)
        if proof is not None:
            return proof
        kind, done, evidence = JobKind.PROMISE, set(made.promised), made.confirmed
    else:
        kind, done, evidence = JobKind.ACTIVATE_KEY, set(made.attestations), made.promised
    missing = [signer for signer in signers if signer not in done]
    if not missing:
        return Complete(made)
    if is_kept(request, made):
        decision = _complete_without(request, made, missing)
        if decision is not None:
            return decision
    there = request.there(missing)
    if not there:
        return waiting(request, len(missing), missing, ())
    return Begin(
        kind,
        tuple(there),
        made.id,
        generation,
        tuple(evidence[signer] for signer in signers),
        agreed.public_key,
    )


def _complete_without(
    request: Request, made: ShareSet, missing: list[str]
) -> Complete | End | None:
    """Return Complete or End if the missing signers cannot take part; None to wait for them.

    A changed key is complete once t signers use the promised set. A new key needs all n signers.
    """
    if not set(missing) <= unable(request, made):
        return None
    is_change = request.kind not in MAKES_KEYS
    if is_change and len(made.attestations) >= request.group.threshold:
        return Complete(made)
    who = ", ".join(missing)
    if set(missing) <= made.lost:
        text = f"these signers have lost their share of {made.id}: {who}. Create another key"
        summary = "a signer has lost its share: make another key"
        reason = Reason(NO_SHARE, text, summary, culprits=tuple(missing))
        return End(OutcomeStatus.FAILED, reason)
    if is_change:
        return None
    text = f"{NOT_DONE}: these signers have not activated the key: {who}"
    return End(OutcomeStatus.FAILED, Reason(EXPIRED, text, NOT_DONE, culprits=tuple(missing)))


def _make(request: Request) -> Decision:
    """Have all n make new shares together; for all but a new key, with every owner's approval."""
    if request.kind is JobKind.COPY_KEY:
        return next_step_before_shares(request)
    signers = request.group.signers
    banned = banned_pairs(request)
    end = hopeless(request, len(signers), signers, banned)
    if end is not None:
        return end
    kind = request.kind if request.kind in MAKES_KEYS else JobKind.REFRESH_KEY
    if kind is not JobKind.GENERATE_KEY:
        unasked = _unasked(request, signers)
        if unasked:
            return _ask(request, unasked)
    left = request.left_in_flight
    if left or any(
        request.member(signer).free < 1 or not request.there([signer]) for signer in signers
    ):
        return waiting(request, len(signers), signers, banned, left)
    return Begin(kind, signers, request.in_use.share_set_id, new_generation(request))


def _repair(request: Request) -> Decision:
    """Ask each available signer's gate, then let t helpers make the target's share again.

    The conductor prefers the helpers that were blamed least.
    """
    threshold, signers, target = request.group.threshold, request.group.signers, request.target
    assert target is not None  # the API requires a target
    banned, barred = banned_pairs(request), barred_pairs(request)
    compatible = [
        signer for signer in signers if signer != target and {signer, target} not in banned
    ]
    end = hopeless(request, threshold, compatible, banned) or hopeless(request, 1, [target], ())
    if end is not None:
        return end
    unasked = _unasked(request, signers)
    if unasked:
        return _ask(request, unasked)
    out = refusals(request)
    helpers = [
        signer
        for signer in prefer(request, request.there(compatible), blame(request))
        if signer not in out and request.member(signer).free > 0 and {signer, target} not in barred
    ]
    quorum = choose(threshold, helpers, barred)
    target_is_able = request.member(target).is_there and request.member(target).free > 0
    if quorum is None or not target_is_able:
        return waiting(
            request, threshold + 1, [*compatible, target], banned, request.left_in_flight
        )
    return Begin(
        JobKind.REPAIR_SHARE,
        (*quorum, target),
        request.in_use.share_set_id,
        request.in_use.generation,
    )


def _unasked(request: Request, signers: tuple[str, ...]) -> list[str]:
    """Return the available signers whose gate has not been asked yet."""
    free_to = free_to_take_part(request)
    return [signer for signer in request.there(signers) if signer not in free_to]


def _ask(request: Request, unasked: list[str]) -> Begin:
    in_use = request.in_use
    return Begin(JobKind.APPROVE, tuple(unasked), in_use.share_set_id, in_use.generation)
