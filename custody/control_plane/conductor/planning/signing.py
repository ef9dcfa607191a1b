"""The next step of a request to sign. Pure."""

from collections.abc import Iterator
from uuid import UUID

from custody.control_plane.conductor.planning.decisions import Begin, Decision, Signed
from custody.control_plane.conductor.planning.facts import Request
from custody.control_plane.conductor.planning.history import (
    approvals,
    banned_pairs,
    barred_pairs,
    blame,
    refusals,
)
from custody.control_plane.conductor.planning.obstacles import hopeless, waiting
from custody.control_plane.conductor.planning.quorum import choose, prefer
from custody.wire.jobs import JobKind
from custody.wire.outcomes import Outcome, OutcomeStatus


def next_signing_step(request: Request) -> Decision:
    """Let t signers with shares of the same set sign, or ask gates while fewer than t are free.

    A signer with a gate takes part once its owner has approved. A report ends its step and its
    request in two transactions, in any order: a signature that a plan sees is not made again.
    """
    made = signed_outcome(request)
    if made is not None:
        return Signed(made)
    threshold = request.group.threshold
    banned = banned_pairs(request)
    end = hopeless(request, threshold, request.group.signers, banned)
    if end is not None:
        return end
    barred = barred_pairs(request)
    out = refusals(request)
    willing = [signer for signer in request.group.signers if signer not in out]
    there = prefer(request, request.there(willing), blame(request))
    free_to = free_to_take_part(request)
    for share_set_id, generation, holders in sets_in_use(request):
        able = [
            signer
            for signer in there
            if signer in holders and signer in free_to and request.member(signer).free > 0
        ]
        quorum = choose(threshold, able, barred)
        if quorum is not None:
            return Begin(JobKind.SIGN, quorum, share_set_id, generation)
    unasked = tuple(signer for signer in there if signer not in free_to)
    busy_are_enough = choose(threshold, [each for each in there if each in free_to], barred)
    if unasked and busy_are_enough is None:
        return Begin(
            JobKind.APPROVE, unasked, request.in_use.share_set_id, request.in_use.generation
        )
    return waiting(request, threshold, willing, banned, request.left_in_flight)


def signed_outcome(request: Request) -> Outcome | None:
    """Return a signer's outcome with the signature, if there is one."""
    for step in request.steps:
        if step.kind is JobKind.SIGN:
            for outcome in step.outcomes.values():
                if outcome.status is OutcomeStatus.DONE:
                    return outcome
    return None


def free_to_take_part(request: Request) -> frozenset[str]:
    """Return the signers without a gate, and those whose gate has approved."""
    approved = approvals(request)
    return frozenset(
        signer
        for signer in request.group.signers
        if signer in approved or not request.member(signer).has_gate
    )


def has_approvals_enough(request: Request) -> bool:
    """Return whether t signers have approved or need no approval: the others need not answer."""
    free_to = free_to_take_part(request)
    out = refusals(request)
    there = [signer for signer in request.there(request.group.signers) if signer not in out]
    able = [signer for signer in there if signer in free_to]
    return choose(request.group.threshold, able, barred_pairs(request)) is not None


def sets_in_use(request: Request) -> Iterator[tuple[UUID | None, int, frozenset[str]]]:
    """Yield each set with its generation and users; two while a refresh comes into use."""
    in_use = request.in_use
    signers = frozenset(request.group.signers)
    if in_use.next_share_set_id is not None:
        yield in_use.next_share_set_id, in_use.generation + 1, in_use.next_users
        signers -= in_use.next_users
    yield in_use.share_set_id, in_use.generation, signers
