"""The obstacles of a request: for now, or permanent. Pure."""

from collections.abc import Collection, Sequence

from custody.control_plane.conductor.planning.decisions import End, Pause, Reason
from custody.control_plane.conductor.planning.facts import Left, Pair, Request
from custody.control_plane.conductor.planning.history import LEFT_IN_FLIGHT, refusals
from custody.control_plane.conductor.planning.quorum import choose, largest
from custody.control_plane.jobs.reasons import summary_of
from custody.wire.left_in_flight import how_to_resolve
from custody.wire.outcomes import Outcome, OutcomeStatus

NO_QUORUM = "no_quorum_left"
WAITING = "waiting_for_signers"
BUSY = "signers_busy"
BLOCKED = "another_change_under_way"
DENIED = "denied_by_signers"
CANNOT = "signers_cannot"


def hopeless(
    request: Request, count: int, among: Sequence[str], banned: Collection[Pair]
) -> End | None:
    """Return the end of a request that can never have ``count`` of ``among``; None if it may.

    Rejected when the signers that said No would be enough to end it, whatever the others do.
    """
    if choose(count, among, banned) is None:
        pairs = sorted(" and ".join(sorted(pair)) for pair in banned if pair <= set(among))
        text = (
            f"banned pairs of signers leave no {count} that may work together: {', '.join(pairs)}; "
            "the way out is a new key"
        )
        culprits = tuple(sorted({signer for pair in banned for signer in pair if signer in among}))
        summary = (
            f"banned pairs of signers leave no {count} that may work together; the way out is a "
            "new key"
        )
        return End(OutcomeStatus.FAILED, Reason(NO_QUORUM, text, summary, culprits=culprits))
    out = {signer: why for signer, why in refusals(request).items() if signer in among}
    if choose(count, [signer for signer in among if signer not in out], banned) is not None:
        return None
    denied = {signer for signer, why in out.items() if why.status is OutcomeStatus.DENIED}
    is_denied = choose(count, [each for each in among if each not in denied], banned) is None
    status = OutcomeStatus.DENIED if is_denied else OutcomeStatus.FAILED
    telling = {each: out[each] for each in sorted(out) if each in denied or not is_denied}
    return End(status, _because(telling, count, len(among), DENIED if is_denied else CANNOT))


def _because(out: dict[str, Outcome], count: int, of: int, fallback: str) -> Reason:
    codes = {outcome.code for outcome in out.values() if outcome.code is not None}
    said = "; ".join(
        f"{signer}: {outcome.reason or outcome.code}" for signer, outcome in out.items()
    )
    culprits = sorted({culprit for outcome in out.values() for culprit in outcome.culprits})
    needed = f"({count} of {of} signers are needed)"
    summary = summary_of(list(out.values())) or f"{len(out)} signers said no, or cannot"
    return Reason(
        code=codes.pop() if len(codes) == 1 else fallback,
        text=f"{said} {needed}",
        summary=f"{summary} {needed}",
        node=next(iter(out)) if len(out) == 1 else None,
        culprits=tuple(culprits),
    )


def waiting(
    request: Request,
    count: int,
    among: Sequence[str],
    banned: Collection[Pair],
    left: Collection[Left] = (),
) -> Pause:
    """Signers are away, or wait for an operator, or have all their slots taken.

    ``left``: what keeps two of ``among`` apart until an operator has looked.
    """
    there = request.there(among)
    able = largest(there, {*banned, *(each.pair for each in left)}, count)
    if able >= count:
        text = f"the {count} signers needed are there, and have no slot free"
        return Pause(Reason(BUSY, text, text))
    if largest(there, banned, count) >= count:
        return wait_for_operator([each for each in left if each.pair <= set(there)])
    away = [signer for signer in among if signer not in there]
    text = summary = f"{able} of the {count} signers needed are there"
    if away:
        text += f" (away: {', '.join(away)})"
    problems = {signer: request.member(signer).problem for signer in away}
    text += "".join(f"; {signer}: {problem}" for signer, problem in problems.items() if problem)
    return Pause(Reason(WAITING, text, summary))


def wait_for_operator(left: Sequence[Left]) -> Pause:
    """Signers are there, and two of them do not work together until an operator has looked."""
    text = "; ".join(how_to_resolve(each.signer, each.counterparty, each.key_id) for each in left)
    summary = "signers wait for an operator, since one stopped in the middle of signing"
    signers = {each.signer for each in left}
    node = signers.pop() if len(signers) == 1 else None
    return Pause(Reason(LEFT_IN_FLIGHT, text, summary, node))
