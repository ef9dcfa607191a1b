"""A pair that is left in flight is not banned: others sign, or the request waits."""

from dataclasses import replace
from itertools import combinations
from uuid import uuid4

from custody.control_plane.conductor.planning.endings import ending_of, failure_of
from custody.control_plane.conductor.planning.facts import Ending, Left, Request
from custody.control_plane.conductor.planning.proving import next_proof
from custody.control_plane.conductor.planning.set_making import next_change_step
from custody.control_plane.conductor.planning.share_sets import ShareSet
from custody.control_plane.conductor.planning.signing import next_signing_step
from custody.wire.jobs import JobKind
from custody.wire.tickets import Protocol
from tests.unit.control_plane.conductor.stories import (
    THREE,
    begun,
    ended,
    failed,
    paused,
    refresh,
    sign,
    step,
    without,
)

KEY = uuid4()
A_WITH_B = Left(KEY, "a", "b")
COMMAND = f"on a's host: mpc-signer bans resolve {KEY} b --clear --reason"


def waits_for_the_operator_of_a(decision: object) -> None:
    reason = paused(decision)
    assert (reason.code, reason.node, reason.culprits) == ("left_in_flight", "a", ())
    assert COMMAND in reason.text


def test_another_quorum_signs_without_the_pair():
    for _ in range(20):
        decision = begun(next_signing_step(sign(left_in_flight=(A_WITH_B,))))
        assert "c" in decision.signers


def test_without_another_quorum_the_request_waits_and_says_who_has_to_do_what():
    request = without(sign(left_in_flight=(A_WITH_B,)), "c")
    waits_for_the_operator_of_a(next_signing_step(request))
    cleared = begun(next_signing_step(replace(request, left_in_flight=())))
    assert set(cleared.signers) == {"a", "b"}


def test_every_pair_left_in_flight_is_waited_for_and_does_not_end_the_request():
    left = tuple(Left(KEY, *pair) for pair in combinations(THREE, 2))
    reason = paused(next_signing_step(sign(left_in_flight=left)))
    assert reason.code == "left_in_flight"
    assert reason.text.count("mpc-signer bans resolve") == 3
    bans = frozenset(each.pair for each in left)
    assert ended(next_signing_step(sign(bans=bans))).code == "no_quorum_left"


def test_signers_that_are_away_as_well_are_named_first():
    request = without(sign(left_in_flight=(A_WITH_B,)), "b", "c")
    reason = paused(next_signing_step(request))
    assert reason.code == "waiting_for_signers"


def test_an_attempt_that_met_it_blames_nobody_and_bans_nobody():
    tried = step(JobKind.SIGN, {"a": failed("left_in_flight"), "b": failed("peer_aborted")}, None)
    request = sign((tried,))
    over = ending_of(request, tried)
    assert over is not None
    assert over.culprits == ()
    reason = failure_of(over)
    assert (reason.code, reason.node) == ("left_in_flight", "a")
    assert reason.text == "a: because of left_in_flight"
    request = request.with_step(replace(tried, ending=Ending.FAILED))
    # the next attempt tries others first, and the same two where nobody else is there
    decision = begun(next_signing_step(request))
    assert "c" in decision.signers
    assert begun(next_signing_step(without(request, "c"))).kind is JobKind.SIGN


def test_a_refresh_waits_since_it_needs_all():
    waits_for_the_operator_of_a(next_change_step(refresh(left_in_flight=(A_WITH_B,))))


def test_a_repair_goes_on_with_helpers_that_may_work_with_the_target():
    four = ("a", "b", "c", "d")
    members = refresh().members
    group = replace(refresh().group, signers=four)
    request = refresh(
        kind=JobKind.REPAIR_SHARE,
        group=group,
        target="b",
        members=dict.fromkeys(four, members["a"]),
        left_in_flight=(A_WITH_B,),
    )
    decision = begun(next_change_step(request))
    assert set(decision.signers) == {"b", "c", "d"}
    waits_for_the_operator_of_a(next_change_step(without(request, "d")))


def proof(request: Request, made: ShareSet) -> object:
    return next_proof(request, made, 0, Protocol.DKLS23_SECP256K1, b"key")


def test_a_new_key_is_proved_by_the_other_pairs_and_then_waits():
    made = ShareSet(uuid4())
    request = sign(kind=JobKind.GENERATE_KEY, left_in_flight=(A_WITH_B,))
    for _ in range(2):
        decision = begun(proof(request, made))
        one, other = decision.signers
        assert {one, other} != {"a", "b"}
        made.proved_with.setdefault(one, set()).add(other)
        made.proved_with.setdefault(other, set()).add(one)
    waits_for_the_operator_of_a(proof(request, made))
