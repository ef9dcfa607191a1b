"""The next step of a request that makes a set of shares: a new key, a refresh, a repair. Pure.

Two-step commit: all n make and confirm shares; quorums sign a message of the signers' own
(proving.py); all n take the set into use. A set that not all have confirmed is abandoned by one
that has not, which it states for good, and then discarded by the others.
"""

from control_plane.mpc.decisions import Begin, Complete, Decision, End, Pause, Reason
from control_plane.mpc.facts import Request
from control_plane.mpc.history import (
    ShareSet,
    banned_pairs,
    blame,
    dissenters,
    refusals,
    repaired,
    share_sets,
)
from control_plane.mpc.obstacles import BLOCKED, hopeless, waiting
from control_plane.mpc.proving import next_proof
from control_plane.mpc.quorum import choose, prefer
from control_plane.mpc.signing import free_to_take_part
from wire.jobs import JobKind
from wire.outcomes import OutcomeStatus

DISAGREE = "signers_disagree"


def next_change_step(request: Request) -> Decision:
    """The next step of GenerateKey, RefreshKey or RepairShare."""
    sets = share_sets(request)
    current = sets[-1] if sets else None
    if current is not None and is_confirmed(request, current):
        return _take_into_use(request, current)
    if current is not None and not current.abandoned:
        return ask_to_abandon(request, current)
    for made in sets:
        discarding = ask_to_discard(request, made, again=False)
        if discarding is not None:
            return discarding
    if request.is_blocked:
        text = "another request is changing the shares of this key; this one follows"
        return Pause(Reason(BLOCKED, text))
    if request.kind is JobKind.REPAIR_SHARE and not repaired(request):
        return _repair(request)
    return _make(request)


def new_generation(request: Request) -> int:
    """Of the set that Generate or Refresh makes."""
    in_use = request.in_use
    return 0 if in_use.shares is None else in_use.generation + 1


def is_confirmed(request: Request, made: ShareSet) -> bool:
    return set(made.confirmed) >= set(request.group.signers)


def ask_to_abandon(request: Request, made: ShareSet) -> Decision:
    """Those who have not confirmed say for good that they will not; or that they have."""
    missing = [each for each in request.group.signers if each not in made.confirmed]
    there = request.there(missing)
    if not there:
        return waiting(request, len(missing), missing, ())
    return Begin(JobKind.ABANDON, tuple(there), made.step.id, new_generation(request))


def ask_to_discard(request: Request, made: ShareSet, again: bool) -> Begin | None:
    """The others erase their shares of an abandoned set. ``again``: those too that were asked."""
    if not made.abandoned:
        return None
    asked = made.discarded if again else made.asked_to_discard
    there = request.there(
        [each for each in request.group.signers if each not in asked and each not in made.abandoned]
    )
    if not there:
        return None
    evidence = (next(iter(made.abandoned.values())),)
    return Begin(
        JobKind.DISCARD, tuple(there), made.step.id, new_generation(request), evidence=evidence
    )


def _take_into_use(request: Request, made: ShareSet) -> Decision:
    confirmations = made.confirmations()
    wrong = dissenters(confirmations)
    if wrong is not None:
        who = f": {', '.join(wrong)} says another" if wrong else ""
        reason = Reason(DISAGREE, f"the signers have confirmed different keys{who}", culprits=wrong)
        return End(OutcomeStatus.FAILED, reason)
    signers = request.group.signers
    agreed, generation = confirmations[signers[0]], new_generation(request)
    proof = next_proof(request, made, generation, agreed.protocol, agreed.public_key)
    if proof is not None:
        return proof
    missing = [signer for signer in signers if signer not in made.attestations]
    if not missing:
        return Complete(made)
    there = request.there(missing)
    if not there:
        return waiting(request, len(missing), missing, ())
    evidence = tuple(made.confirmed[signer] for signer in signers)
    return Begin(
        JobKind.ACTIVATE_KEY,
        tuple(there),
        made.step.id,
        generation,
        evidence,
        agreed.public_key,
    )


def _make(request: Request) -> Decision:
    """All n make new shares together; for a refresh, with every owner's approval."""
    signers = request.group.signers
    banned = banned_pairs(request)
    end = hopeless(request, len(signers), signers, banned)
    if end is not None:
        return end
    kind = JobKind.GENERATE_KEY
    if request.kind is not JobKind.GENERATE_KEY:
        kind = JobKind.REFRESH_KEY
        unasked = _unasked(request, signers)
        if unasked:
            return _ask(request, unasked)
    if any(request.member(signer).free < 1 or not request.there([signer]) for signer in signers):
        return waiting(request, len(signers), signers, banned)
    return Begin(kind, signers, request.in_use.shares, new_generation(request))


def _repair(request: Request) -> Decision:
    """t helpers make the target's share again: whom their owners let, the least blamed first."""
    threshold, signers, target = request.group.threshold, request.group.signers, request.target
    assert target is not None  # the API sees to it
    banned = banned_pairs(request)
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
        if signer not in out and request.member(signer).free > 0
    ]
    quorum = choose(threshold, helpers, banned)
    target_is_able = request.member(target).is_there and request.member(target).free > 0
    if quorum is None or not target_is_able:
        return waiting(request, threshold + 1, [*compatible, target], banned)
    return Begin(
        JobKind.REPAIR_SHARE, (*quorum, target), request.in_use.shares, request.in_use.generation
    )


def _unasked(request: Request, signers: tuple[str, ...]) -> list[str]:
    """The signers whose gate is still to be asked, of those that are there."""
    free_to = free_to_take_part(request)
    return [signer for signer in request.there(signers) if signer not in free_to]


def _ask(request: Request, unasked: list[str]) -> Begin:
    in_use = request.in_use
    return Begin(JobKind.APPROVE, tuple(unasked), in_use.shares, in_use.generation)
