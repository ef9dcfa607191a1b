"""The choice of the signers for a step. Pure."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from uuid import UUID

from custody.control_plane.conductor.planning.facts import Pair, Request
from custody.control_plane.conductor.planning.history import Blame
from custody.wire.framing import Domain, tagged_hash


def choose(
    count: int, ordered: Sequence[str], banned: Collection[Pair], start: Sequence[str] = ()
) -> tuple[str, ...] | None:
    """``count`` signers, no two of them a banned pair, the earlier in ``ordered`` the better.

    ``start``: who is in it already. None when there is no such choice. Of all choices it is the
    first in lexicographic order of places, found by backtracking: there are at most 16 signers.
    """
    chosen = list(start)
    if len(chosen) == count:
        return tuple(chosen)
    if len(chosen) + len(ordered) < count:
        return None
    for place, signer in enumerate(ordered):
        if any(frozenset((signer, other)) in banned for other in chosen):
            continue
        found = choose(count, ordered[place + 1 :], banned, [*chosen, signer])
        if found is not None:
            return found
    return None


def gather(
    count: int,
    ordered: Sequence[str],
    wanted: Collection[frozenset[str]],
    banned: Collection[Pair],
) -> tuple[str, ...] | None:
    """Return ``count`` signers that include at least one of the sets ``wanted``, or None.

    Further sets are included greedily: each time the signer that completes the most sets. Earlier
    signers of ``ordered`` are preferred. None means that no set of ``wanted`` fits into ``count``
    signers of ``ordered`` that may work together.
    """
    place = {signer: number for number, signer in enumerate(ordered)}
    possible = [sorted(each, key=place.__getitem__) for each in wanted if each <= place.keys()]
    for first in sorted(possible, key=lambda each: [place[signer] for signer in each]):
        chosen = tuple(first)
        if not leads_to_quorum(count, ordered, banned, chosen):
            continue
        while len(chosen) < count:
            chosen = max(_one_more(count, ordered, banned, chosen), key=_completes(wanted))
        return chosen
    return None


def leads_to_quorum(
    count: int, ordered: Sequence[str], banned: Collection[Pair], chosen: Collection[str]
) -> bool:
    """Return whether ``chosen`` can grow to ``count`` of ``ordered`` without a banned pair."""
    if any(pair <= set(chosen) for pair in banned):
        return False
    return choose(count, _left(ordered, chosen), banned, tuple(chosen)) is not None


def _one_more(
    count: int, ordered: Sequence[str], banned: Collection[Pair], chosen: tuple[str, ...]
) -> Iterator[tuple[str, ...]]:
    """Yield each way to add one signer that still leads to a whole quorum."""
    for signer in _left(ordered, chosen):
        more = (*chosen, signer)
        if leads_to_quorum(count, ordered, banned, more):
            yield more


def _completes(wanted: Collection[frozenset[str]]) -> Callable[[tuple[str, ...]], int]:
    return lambda chosen: sum(each <= set(chosen) for each in wanted)


def _left(ordered: Sequence[str], chosen: Collection[str]) -> list[str]:
    return [signer for signer in ordered if signer not in chosen]


def largest(ordered: Sequence[str], banned: Collection[Pair], at_most: int) -> int:
    """Return how many of these signers could work together, at most ``at_most``."""
    for count in range(min(at_most, len(ordered)), 0, -1):
        if choose(count, ordered, banned) is not None:
            return count
    return 0


def prefer(request: Request, signers: Sequence[str], blamed: Mapping[str, Blame]) -> list[str]:
    """Return the signers in order: fewest failures of this request, then least busy, then in turn.

    The turn is another for each request, so that all signers get their part of the work.
    """
    return sorted(
        signers,
        key=lambda signer: (
            blamed.get(signer, (0, 0)),
            request.member(signer).load,
            _turn(request.id, signer),
        ),
    )


def _turn(request_id: UUID, signer: str) -> bytes:
    return tagged_hash(Domain.TURN, request_id.bytes, signer.encode())
