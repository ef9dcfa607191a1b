"""The next step of a request to sign, for every mix of what three signers can be."""

from dataclasses import replace
from itertools import product

import pytest

from custody.control_plane.conductor.planning.decisions import Signed
from custody.control_plane.conductor.planning.facts import AWAY, Ending, Member, SharesInUse
from custody.control_plane.conductor.planning.signing import next_signing_step
from custody.wire.jobs import JobKind
from custody.wire.outcomes import NothingMade, Outcome, OutcomeStatus
from tests.unit.control_plane.conductor.stories import (
    SHARES,
    THREE,
    approved,
    begun,
    cannot,
    denied,
    done,
    ended,
    failed,
    paused,
    refused,
    sign,
    step,
    without,
)

STATES = ("there", "away", "busy", "gated", "approved", "denied", "cannot")


@pytest.mark.parametrize("states", list(product(STATES, repeat=3)))
def test_every_mix_of_three_signers(states: tuple[str, ...]):
    of = dict(zip(THREE, states, strict=True))
    members = {"away": AWAY, "busy": Member(free=0)}
    gated = Member(has_gate=True)
    said: dict[str, Outcome] = {
        signer: {"approved": approved(), "denied": denied(), "cannot": cannot()}[state]
        for signer, state in of.items()
        if state in ("approved", "denied", "cannot")
    }
    request = sign(
        (step(JobKind.APPROVE, said),) if said else (),
        members={
            signer: gated if state in ("gated", "approved") else members.get(state, Member())
            for signer, state in of.items()
        },
    )
    able = [each for each, state in of.items() if state in ("there", "approved")]
    out = [each for each, state in of.items() if state in ("denied", "cannot")]
    gates = [each for each, state in of.items() if state == "gated"]
    there = [each for each, state in of.items() if state in ("there", "approved", "busy")]
    decision = next_signing_step(request)
    if len(out) > 1:
        expected = OutcomeStatus.DENIED if states.count("denied") > 1 else OutcomeStatus.FAILED
        ended(decision, expected)
    elif len(able) >= 2:
        decision = begun(decision)
        assert decision.kind is JobKind.SIGN
        assert set(decision.signers) <= set(able)
        assert len(decision.signers) == 2
    elif gates and len(there) < 2:
        decision = begun(decision)
        assert (decision.kind, set(decision.signers)) == (JobKind.APPROVE, set(gates))
        assert (decision.share_set_id, decision.generation) == (SHARES, 0)
    else:
        is_busy = len(there) >= 2
        assert paused(decision).code == ("signers_busy" if is_busy else "waiting_for_signers")


def test_who_was_to_blame_is_chosen_last():
    first = step(JobKind.SIGN, {"a": failed(), "b": failed()}, culprits=("a",))
    decision = begun(next_signing_step(sign((first,))))
    assert set(decision.signers) == {"b", "c"}


def test_a_liar_that_blames_others_is_outvoted():
    """With a and b each naming c, and c naming both, the two honest ones come together."""
    history = (
        step(JobKind.SIGN, {"a": failed("x", "c"), "c": failed("x", "a")}, culprits=("a", "c")),
        step(JobKind.SIGN, {"b": failed("x", "c"), "c": failed("x", "b")}, culprits=("b", "c")),
    )
    decision = begun(next_signing_step(sign(history)))
    assert set(decision.signers) == {"a", "b"}


def test_waiting_says_how_many_of_how_many_are_there():
    reason = paused(next_signing_step(without(sign(), "a", "c")))
    assert reason.text == "1 of the 2 signers needed are there (away: a, c)"


def test_waiting_says_what_a_signer_that_is_kept_out_says_of_itself():
    frozen = Member(is_there=False, problem="freeze: frozen by ada: lost laptop")
    request = without(sign(), "a", "c")
    reason = paused(next_signing_step(replace(request, members={**request.members, "c": frozen})))
    assert reason.text == (
        "1 of the 2 signers needed are there (away: a, c); c: freeze: frozen by ada: lost laptop"
    )


def test_bans_that_leave_no_quorum_end_it_even_while_signers_are_away():
    banned = frozenset(frozenset(pair) for pair in ("ab", "bc", "ac"))
    reason = ended(next_signing_step(without(sign(bans=banned), "a", "b")))
    assert reason.code == "no_quorum_left"
    assert "a new key" in reason.text


def test_a_banned_pair_is_never_chosen():
    decision = begun(next_signing_step(sign(bans=frozenset([frozenset("ab"), frozenset("ac")]))))
    assert set(decision.signers) == {"b", "c"}


def test_no_quorum_is_left_when_the_only_one_has_a_signer_that_said_no():
    history = (step(JobKind.SIGN, {"b": denied()}),)
    request = sign(history, bans=frozenset([frozenset("ac")]))
    ended(next_signing_step(request), OutcomeStatus.DENIED)


def test_one_that_refuses_is_not_asked_again_unless_its_ticket_was_used():
    out = step(JobKind.SIGN, {"a": refused(), "b": refused()})
    ended(next_signing_step(sign((out,))))
    used = step(JobKind.SIGN, {"a": refused("ticket_used"), "b": refused("ticket_used")})
    assert begun(next_signing_step(sign((used,)))).kind is JobKind.SIGN


def test_while_a_refresh_comes_into_use_a_quorum_has_one_set_in_common():
    """For every part of the signers that uses the new set already."""
    new = SHARES
    old = sign().id
    for users in ((), ("a",), ("a", "b"), ("b", "c"), THREE):
        in_use = SharesInUse(4, old, new, frozenset(users))
        decision = begun(next_signing_step(sign(in_use=in_use)))
        if len(users) >= 2:
            assert (decision.share_set_id, decision.generation) == (new, 5)
            assert set(decision.signers) <= set(users)
        else:
            assert (decision.share_set_id, decision.generation) == (old, 4)
            assert not set(decision.signers) & set(users)


@pytest.mark.parametrize("ending", [Ending.DONE, Ending.SILENT])
def test_a_signature_that_is_there_is_not_made_again(ending: Ending):
    signature = done(NothingMade())
    asked = step(JobKind.APPROVE, {"a": approved(), "b": approved()}, Ending.OVERTAKEN)
    made = step(JobKind.SIGN, {"a": signature, "b": None}, ending)
    again = step(JobKind.SIGN, {"b": failed(), "c": None}, Ending.FAILED)
    assert next_signing_step(sign((asked, made, again))) == Signed(signature)
