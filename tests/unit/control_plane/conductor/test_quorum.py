"""Which signers are chosen: against every possibility of small groups."""

from collections.abc import Iterator
from itertools import combinations
from uuid import UUID, uuid4

import pytest

from custody.control_plane.conductor.groups import single_owner_quorum
from custody.control_plane.conductor.planning.facts import Member, Pair, Request, SignerGroup
from custody.control_plane.conductor.planning.quorum import choose, gather, largest, prefer
from custody.wire.jobs import JobKind

SIGNERS = ("a", "b", "c", "d", "e")


def every_way_to_ban(signers: tuple[str, ...]) -> Iterator[frozenset[Pair]]:
    pairs = [frozenset(pair) for pair in combinations(signers, 2)]
    for count in range(len(pairs) + 1):
        yield from (frozenset(banned) for banned in combinations(pairs, count))


def fits(chosen: tuple[str, ...], banned: frozenset[Pair]) -> bool:
    return not any(frozenset(pair) in banned for pair in combinations(chosen, 2))


@pytest.mark.parametrize("count", range(1, 6))
def test_the_first_choice_without_a_banned_pair_is_taken_whatever_is_banned(count: int):
    for banned in every_way_to_ban(SIGNERS):
        # combinations come in lexicographic order of places
        possible = (each for each in combinations(SIGNERS, count) if fits(each, banned))
        assert choose(count, SIGNERS, banned) == next(possible, None)


def test_how_many_could_work_together_whatever_is_banned():
    for banned in every_way_to_ban(SIGNERS[:4]):
        sizes = [
            size
            for size in range(5)
            if any(fits(each, banned) for each in combinations(SIGNERS[:4], size))
        ]
        assert largest(SIGNERS[:4], banned, at_most=4) == max(sizes)
        assert largest(SIGNERS[:4], banned, at_most=2) == min(max(sizes), 2)


def test_more_than_there_are_cannot_be_chosen():
    assert choose(3, ("a", "b"), ()) is None
    assert choose(1, (), ()) is None


def test_who_is_in_it_already_stays_in_it():
    assert choose(2, ("a", "b"), {frozenset("ac")}, start=["c"]) == ("c", "b")
    assert choose(1, ("a", "b"), (), start=["c"]) == ("c",)


@pytest.mark.parametrize(
    ("count", "ordered", "wanted", "banned", "chosen"),
    [
        (2, "cab", ("ab", "ac"), (), "ca"),  # the first in order, and its signers in order
        (2, "cba", ("a", "c"), (), "ca"),  # then the signer that completes another one
        (2, "abc", ("a", "ac"), (), "ac"),  # which may be the whole choice
        (3, "abcde", ("ab", "cd"), ("ac", "ad", "ae"), "cdb"),  # not one that leads nowhere
        (2, "abc", ("ab",), ("ab",), None),
        (2, "abc", ("ad",), (), None),
    ],
)
def test_the_wanted_signers_are_gathered_in_the_order_of_preference(
    count: int, ordered: str, wanted: tuple[str, ...], banned: tuple[str, ...], chosen: str | None
):
    gathered = gather(
        count, ordered, [frozenset(each) for each in wanted], {frozenset(each) for each in banned}
    )
    assert gathered == (chosen and tuple(chosen))


def test_sixteen_signers_in_two_hostile_camps_are_chosen_from_in_no_time():
    signers = tuple(f"signer-{number}" for number in range(16))
    hostile = {frozenset((one, other)) for one in signers[:8] for other in signers[8:]}
    assert choose(8, signers, hostile) == signers[:8]
    assert choose(9, signers, hostile) is None


def request(members: dict[str, Member], id_: UUID | None = None) -> Request:
    return Request(
        id=id_ or uuid4(),
        kind=JobKind.SIGN,
        group=SignerGroup("treasury", 2, SIGNERS),
        members=members,
    )


def test_blame_counts_more_than_load():
    members = {"a": Member(load=0.0), "b": Member(load=0.9), "c": Member(load=0.5)}
    for _ in range(20):  # the turn of equals is another with each request
        assert prefer(request(members), ["a", "b", "c"], {"a": (0, 1)}) == ["c", "b", "a"]


def test_equals_take_turns():
    first = [prefer(request({}), SIGNERS, {})[0] for _ in range(400)]
    assert all(first.count(signer) > 40 for signer in SIGNERS)


def test_one_request_always_prefers_the_same():
    one = request({}, uuid4())
    assert prefer(one, SIGNERS, {}) == prefer(one, tuple(reversed(SIGNERS)), {})


@pytest.mark.parametrize(
    ("owners", "threshold", "owner"),
    [
        (["x", "x", "y"], 2, "x"),
        (["x", "y", "z"], 2, None),
        (["x", "x", "y", "y", "z"], 3, None),
        ([None, None, None], 2, None),
        (["x", None, None], 2, None),
        (["y", "y", "y", "x", "x"], 3, "y"),
    ],
)
def test_an_owner_that_reaches_the_threshold_alone_is_named(
    owners: list[str | None], threshold: int, owner: str | None
):
    assert single_owner_quorum(owners, threshold) == owner
