"""What a step of a change is told: which set, which generation, which key, which signers."""

import pytest

from custody.control_plane.conductor.planning.decisions import Begin
from custody.control_plane.conductor.planning.facts import Member
from custody.control_plane.conductor.planning.obstacles import BUSY, WAITING
from custody.control_plane.conductor.planning.set_making import next_change_step
from custody.wire.jobs import JobKind
from custody.wire.tickets import Protocol
from tests.made_up_keys import made_up_key
from tests.unit.control_plane.conductor.stories import (
    PUBLIC_KEY,
    SHARES,
    THREE,
    abandoned,
    activated,
    approved,
    begun,
    completed,
    confirmed,
    failed,
    generate,
    made,
    nothing,
    paused,
    promised,
    sign,
    step,
    without,
)

CONFIRMING = made({signer: confirmed(signer) for signer in THREE})
SET = CONFIRMING.share_set_id
PROVING = step(JobKind.PROVE_KEY, dict.fromkeys(THREE, nothing()), share_set_id=SET)
PROMISING = step(JobKind.PROMISE, {signer: promised(signer) for signer in THREE}, share_set_id=SET)
USING = step(
    JobKind.ACTIVATE_KEY, {signer: activated(signer) for signer in THREE}, share_set_id=SET
)


def next_of(*steps) -> Begin:
    return begun(next_change_step(generate(steps)))


@pytest.mark.parametrize(
    ("steps", "kind"),
    [
        ((CONFIRMING,), JobKind.PROVE_KEY),
        ((CONFIRMING, PROVING), JobKind.PROMISE),
        ((CONFIRMING, PROVING, PROMISING), JobKind.ACTIVATE_KEY),
    ],
)
def test_a_step_that_takes_a_set_into_use_names_set_generation_and_key(steps, kind):
    decision = next_of(*steps)
    assert decision.kind is kind
    assert (decision.share_set_id, decision.generation) == (SET, 0)
    assert decision.public_key == PUBLIC_KEY


def test_all_confirmations_go_along_with_the_order_to_promise():
    assert next_of(CONFIRMING, PROVING).evidence == tuple(
        CONFIRMING.outcomes[signer].result.confirmation  # type: ignore[union-attr]
        for signer in THREE
    )


def test_a_set_that_all_use_is_the_one_that_completes_the_request():
    steps = (CONFIRMING, PROVING, PROMISING, USING)
    assert completed(next_change_step(generate(steps))).id == SET


def test_a_signer_that_is_away_is_waited_for_before_it_takes_a_set_into_use():
    some = step(JobKind.ACTIVATE_KEY, {s: activated(s) for s in "ab"}, share_set_id=SET)
    request = without(generate((CONFIRMING, PROVING, PROMISING, some)), "c")
    reason = paused(next_change_step(request))
    assert reason.text == "0 of the 1 signers needed are there (away: c)"


def test_an_order_to_abandon_names_the_set_and_its_generation():
    ceremony = made({"a": confirmed("a"), "b": failed(), "c": abandoned("c")})
    decision = next_of(ceremony)
    assert decision.kind is JobKind.ABANDON
    assert (decision.share_set_id, decision.generation) == (ceremony.share_set_id, 0)


def repair(steps=(), **members: Member):
    return sign(
        steps,
        kind=JobKind.REPAIR_SHARE,
        target="c",
        members={signer: members.get(signer, Member()) for signer in THREE},
    )


def test_a_share_is_repaired_by_a_threshold_of_helpers_and_its_signer():
    decision = begun(next_change_step(repair()))
    assert decision.kind is JobKind.REPAIR_SHARE
    assert sorted(decision.signers[:2]) == ["a", "b"]
    assert decision.signers[2:] == ("c",)
    assert (decision.share_set_id, decision.generation) == (SHARES, 0)


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"a": Member(free=0)}, BUSY),
        ({"c": Member(free=0)}, BUSY),
        ({"c": Member(is_there=False)}, WAITING),
    ],
)
def test_a_repair_and_a_new_key_wait_for_a_slot_of_each_signer(members, code):
    assert paused(next_change_step(repair(**members))).code == code
    members = {signer: members.get(signer, Member()) for signer in THREE}
    assert paused(next_change_step(generate(members=members))).code == code


def test_the_protocol_of_a_set_decides_which_signers_still_prove_it():
    """Every pair in DKLs23; in FROST every signer, which the two proofs here are enough for."""
    kinds = []
    for protocol, key in (
        (Protocol.DKLS23_SECP256K1, made_up_key()),
        (Protocol.FROST_ED25519, PUBLIC_KEY),
    ):
        ceremony = made({signer: confirmed(signer, key, protocol) for signer in THREE})
        proofs = [
            step(JobKind.PROVE_KEY, dict.fromkeys(pair, nothing()), share_set_id=ceremony.id)
            for pair in ("ab", "bc")
        ]
        kinds.append(next_of(ceremony, *proofs).kind)
    assert kinds == [JobKind.PROVE_KEY, JobKind.PROMISE]


def test_a_repair_asks_each_gate_first():
    decision = begun(next_change_step(repair(b=Member(has_gate=True))))
    assert (decision.kind, decision.signers) == (JobKind.APPROVE, ("b",))
    assert (decision.share_set_id, decision.generation) == (SHARES, 0)
    asked = step(JobKind.APPROVE, {"b": approved()})
    decision = begun(next_change_step(repair((asked,), b=Member(has_gate=True))))
    assert decision.kind is JobKind.REPAIR_SHARE
