"""The first signatures of a set of shares, over the proof message. Pure.

In FROST every share signs once. In DKLs23 every two signers sign together: they have a set-up of
their own, which no transcript covers, and one that is spoiled is found by signing alone.
"""

from collections.abc import Collection, Sequence
from itertools import combinations

from custody.control_plane.conductor.planning.decisions import Begin, Decision, End, Reason
from custody.control_plane.conductor.planning.facts import Request
from custody.control_plane.conductor.planning.history import banned_pairs, barred_pairs, blame
from custody.control_plane.conductor.planning.obstacles import NO_QUORUM, wait_for_operator, waiting
from custody.control_plane.conductor.planning.quorum import gather, leads_to_quorum, prefer
from custody.control_plane.conductor.planning.share_sets import ShareSet
from custody.wire.jobs import JobKind
from custody.wire.outcomes import OutcomeStatus
from custody.wire.tickets import Protocol


def next_proof(
    request: Request, made: ShareSet, generation: int, protocol: Protocol, public_key: bytes
) -> Decision | None:
    """Have a quorum sign that has not yet; None once the set has proved itself.

    ``generation``, ``protocol`` and ``public_key`` are the set's.
    """
    threshold, signers = request.group.threshold, request.group.signers
    unproved = _unproved(made, signers, protocol)
    if not unproved:
        return None
    banned = banned_pairs(request)
    for among in unproved:
        if not leads_to_quorum(threshold, signers, banned, among):
            return _hopeless(request, among)
    able = [each for each in request.there(signers) if request.member(each).free > 0]
    ordered = prefer(request, able, blame(request))
    quorum = gather(threshold, ordered, unproved, barred_pairs(request))
    if quorum is not None:
        return Begin(JobKind.PROVE_KEY, quorum, made.id, generation, public_key=public_key)
    if gather(threshold, ordered, unproved, banned) is not None:
        return wait_for_operator(request.left_in_flight)
    needed = [each for each in signers if any(each in among for among in unproved)]
    if len(request.there(needed)) < len(needed):
        return waiting(request, len(needed), needed, ())
    return waiting(request, threshold, signers, banned)


def _unproved(made: ShareSet, signers: Sequence[str], protocol: Protocol) -> list[frozenset[str]]:
    """Return the signers that must still sign: each pair together, or each one."""
    proved_with = made.proved_with
    if protocol is not Protocol.DKLS23_SECP256K1:
        return [frozenset((signer,)) for signer in signers if not proved_with.get(signer)]
    return [
        frozenset((one, other))
        for one, other in combinations(signers, 2)
        if other not in proved_with.get(one, ()) or one not in proved_with.get(other, ())
    ]


def _hopeless(request: Request, among: Collection[str]) -> End:
    who, threshold = " and ".join(sorted(among)), request.group.threshold
    text = f"banned pairs leave no {threshold} signers with {who} that may work together"
    summary = f"banned pairs leave no {threshold} signers that may work together"
    return End(
        OutcomeStatus.FAILED, Reason(NO_QUORUM, text, summary, culprits=tuple(sorted(among)))
    )
