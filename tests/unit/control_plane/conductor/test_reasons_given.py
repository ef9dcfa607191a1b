"""Why a request waits or ends: the code, the signer and the culprits that the API then shows."""

from collections.abc import Collection

import pytest

from custody.control_plane.conductor.planning.decisions import End, Reason
from custody.control_plane.conductor.planning.facts import Ending, Left, Member, Pair, Request
from custody.control_plane.conductor.planning.history import banned_pairs, blame
from custody.control_plane.conductor.planning.obstacles import (
    BUSY,
    CANNOT,
    DENIED,
    NO_QUORUM,
    hopeless,
    wait_for_operator,
    waiting,
)
from custody.wire.jobs import JobKind
from custody.wire.outcomes import Outcome, OutcomeStatus
from tests.unit.control_plane.conductor.stories import (
    KEY_ID,
    THREE,
    approved,
    cannot,
    denied,
    ended,
    failed,
    not_done,
    nothing,
    paused,
    sign,
    step,
)


def end(
    request: Request, count: int = 2, banned: Collection[Pair] = ()
) -> tuple[OutcomeStatus, Reason]:
    decision = hopeless(request, count, THREE, banned)
    assert isinstance(decision, End), decision
    return decision.status, ended(decision, decision.status)


def asked(**said: Outcome) -> Request:
    return sign((step(JobKind.APPROVE, said),))


def test_signers_that_say_no_for_one_reason_give_their_code():
    status, reason = end(asked(a=denied(), b=denied(), c=approved()))
    assert (status, reason.code, reason.node) == (OutcomeStatus.DENIED, "gate_rejected", None)
    assert reason.text == (
        "a: because of gate_rejected; b: because of gate_rejected (2 of 3 signers are needed)"
    )
    assert reason.summary == "because of gate_rejected (2 of 3 signers are needed)"


def test_signers_that_say_no_for_several_reasons_give_a_code_of_their_own():
    status, reason = end(asked(a=denied("one"), b=denied("another")))
    assert (status, reason.code) == (OutcomeStatus.DENIED, DENIED)
    status, reason = end(asked(a=cannot("one"), b=cannot("another")))
    assert (status, reason.code) == (OutcomeStatus.FAILED, CANNOT)
    assert reason.summary == "2 signers said no, or cannot (2 of 3 signers are needed)"


def test_a_single_signer_that_ends_a_request_is_named():
    _, reason = end(asked(b=denied()), count=3)
    assert reason.node == "b"


def test_a_rejection_names_those_that_denied_and_not_those_that_could_not():
    status, reason = end(asked(a=denied(), b=cannot()), count=3)
    assert status is OutcomeStatus.DENIED
    assert reason.text == "a: because of gate_rejected (3 of 3 signers are needed)"


def test_a_failure_names_all_that_could_not():
    status, reason = end(asked(a=denied(), b=cannot()), count=2)
    assert status is OutcomeStatus.FAILED
    assert reason.text.startswith("a: because of gate_rejected; b: because of no_share ")


def test_the_culprits_of_all_signers_are_in_the_reason():
    by_a = not_done(OutcomeStatus.FAILED, "no_share", "c")
    _, reason = end(asked(a=by_a, b=cannot()))
    assert reason.culprits == ("c",)


def test_bans_that_leave_no_quorum_name_pairs_and_signers():
    pairs = [frozenset(pair) for pair in (("a", "b"), ("a", "c"), ("b", "c"), ("a", "x"))]
    status, reason = end(sign(), banned=pairs)
    assert (status, reason.code) == (OutcomeStatus.FAILED, NO_QUORUM)
    assert reason.culprits == THREE
    assert "a and b, a and c, b and c;" in reason.text
    assert "x" not in reason.culprits


def test_a_pair_that_is_all_of_the_signers_is_named():
    pair = frozenset(("a", "b"))
    reason = ended(hopeless(sign(), 2, ["a", "b"], [pair]))
    assert "a and b;" in reason.text


def test_busy_signers_say_so_in_both_texts():
    busy = sign(members={signer: Member(free=0) for signer in THREE})
    reason = waiting(busy, 2, THREE, ()).reason
    assert reason == Reason(BUSY, reason.text, reason.text)
    assert reason.text == "the 2 signers needed are there, and have no slot free"


def test_an_operator_is_named_only_if_all_waits_are_for_that_operator():
    by_a, by_b = Left(KEY_ID, "a", "c"), Left(KEY_ID, "b", "c")
    assert paused(wait_for_operator([by_a, by_a])).node == "a"
    assert paused(wait_for_operator([by_a, by_b])).node is None


def test_a_ban_that_an_outcome_tells_of_counts_at_once():
    told = step(JobKind.SIGN, {"a": failed("banned_counterparty", "b"), "b": failed("other", "c")})
    itself = step(JobKind.SIGN, {"a": failed("banned_counterparty", "a")})
    old = frozenset(("b", "c"))
    request = sign((told, itself), bans=frozenset({old}))
    assert banned_pairs(request) == {old, frozenset(("a", "b"))}


@pytest.mark.parametrize("ending", [Ending.FAILED, Ending.SILENT])
def test_who_did_not_do_its_part_of_a_failed_ceremony_has_failed(ending: Ending):
    over = step(JobKind.SIGN, {"a": nothing(), "b": failed(), "c": None}, ending, culprits=("c",))
    assert blame(sign((over,))) == {"b": (1, 0), "c": (1, 1)}


def test_nobody_has_failed_in_a_ceremony_that_is_done():
    assert blame(sign((step(JobKind.SIGN, {"a": nothing(), "b": failed()}),))) == {}
