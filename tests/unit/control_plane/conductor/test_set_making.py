"""The three phases of a set, decided from what signers have said: every step in its turn."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import pytest

from custody.control_plane.conductor.planning.decisions import Begin, Complete, Pause, Rest
from custody.control_plane.conductor.planning.facts import (
    Ending,
    Member,
    Request,
    SharesInUse,
    SignerGroup,
    Step,
)
from custody.control_plane.conductor.planning.plan import pause, plan
from custody.control_plane.conductor.planning.set_making import next_change_step
from custody.control_plane.conductor.planning.share_sets import set_in_use
from custody.wire.algorithms import EDDSA_ED25519
from custody.wire.jobs import JobKind
from custody.wire.outcomes import Outcome, OutcomeStatus, PreparedShare, PromisedShare
from custody.wire.signed_bytes import SignedBytes
from tests.made_up_keys import made_up_key
from tests.unit.control_plane.conductor.stories import (
    SHARES,
    THREE,
    abandoned,
    activated,
    approved,
    begun,
    cannot,
    completed,
    confirmed,
    denied,
    ended,
    failed,
    further,
    generate,
    import_key,
    in_the_way,
    made,
    nothing,
    paused,
    promised,
    refresh,
    sign,
    step,
    without,
)

ALL_CONFIRMED = {signer: confirmed(signer) for signer in THREE}
SAID: dict[str, Callable[[str], Outcome | None]] = {
    "confirmed": confirmed,
    "failed": lambda _: failed(),
    "abandoned": abandoned,
    "silent": lambda _: None,
}


def test_all_n_make_a_key():
    decision = begun(next_change_step(generate()))
    assert (decision.kind, decision.signers) == (JobKind.GENERATE_KEY, THREE)
    assert (decision.share_set_id, decision.generation) == (None, 0)


@pytest.mark.parametrize("away", THREE)
def test_a_key_waits_for_all_n(away: str):
    reason = paused(next_change_step(without(generate(), away)))
    assert reason.text == f"2 of the 3 signers needed are there (away: {away})"


@pytest.mark.parametrize("states", list(product(SAID, repeat=3)))
def test_what_follows_a_ceremony_whatever_each_signer_has_said(states: tuple[str, ...]):
    """Proof when all n have confirmed; else all give it up that have not yet."""
    said: dict[str, Outcome | None] = {
        signer: SAID[state](signer) for signer, state in zip(THREE, states, strict=True)
    }
    the_set = made(said, ending=Ending.FAILED)
    decision = begun(next_change_step(generate((the_set,))))
    gone = {signer for signer in THREE if said[signer] == abandoned(signer)}
    if states == ("confirmed",) * 3:
        assert (decision.kind, len(decision.signers)) == (JobKind.PROVE_KEY, 2)
    elif gone == set(THREE):
        assert decision.kind is JobKind.GENERATE_KEY
    else:
        assert (decision.kind, set(decision.signers)) == (JobKind.ABANDON, set(THREE) - gone)
    if decision.kind is not JobKind.GENERATE_KEY:
        assert decision.share_set_id == the_set.id


@pytest.mark.parametrize("missing", THREE)
def test_a_set_waits_for_who_is_away_to_give_it_up(missing: str):
    the_set = made({**ALL_CONFIRMED, missing: failed()})
    request = without(generate((the_set,)), missing)
    others = set(THREE) - {missing}
    first = begun(next_change_step(request))
    assert (first.kind, set(first.signers)) == (JobKind.ABANDON, others)
    gave_up = step(
        JobKind.ABANDON, {each: abandoned(each) for each in others}, share_set_id=the_set.id
    )
    assert isinstance(next_change_step(without(generate((the_set, gave_up)), missing)), Pause)
    last = begun(next_change_step(generate((the_set, gave_up))))
    assert (last.kind, last.signers) == (JobKind.ABANDON, (missing,))


def test_who_has_promised_discards_for_the_abandonments_of_t_others():
    the_set = made(dict(ALL_CONFIRMED))
    told = {"a": promised("a"), "b": abandoned("b"), "c": failed()}
    asked = step(JobKind.ABANDON, told, Ending.FAILED, share_set_id=the_set.id)
    again = begun(next_change_step(generate((the_set, asked))))
    assert (again.kind, again.signers) == (JobKind.ABANDON, ("c",))
    last = step(JobKind.ABANDON, {"c": abandoned("c")}, share_set_id=the_set.id)
    discarding = begun(next_change_step(generate((the_set, asked, last))))
    assert (discarding.kind, discarding.signers) == (JobKind.DISCARD, ("a",))
    assert [each.payload for each in discarding.evidence] == [b"b", b"c"]
    gone = step(JobKind.DISCARD, {"a": nothing()}, share_set_id=the_set.id)
    made_anew = begun(next_change_step(generate((the_set, asked, last, gone))))
    assert made_anew.kind is JobKind.GENERATE_KEY


def test_what_too_few_have_abandoned_for_the_others_to_discard_ends_the_request():
    the_set = made(dict(ALL_CONFIRMED))
    told = {"a": promised("a"), "b": promised("b"), "c": abandoned("c")}
    asked = step(JobKind.ABANDON, told, share_set_id=the_set.id)
    reason = ended(next_change_step(generate((the_set, asked))))
    assert reason.code == "signers_disagree"
    assert f"keep the share set {the_set.id}: a, b." in reason.text
    assert "removed it: c." in reason.text


def proving(the_set: Step, *signers: str) -> Step:
    said = {signer: nothing() for signer in signers}
    return step(JobKind.PROVE_KEY, said, share_set_id=the_set.id)


def test_quorums_sign_until_every_share_has():
    the_set = made(dict(ALL_CONFIRMED))
    first = begun(next_change_step(generate((the_set,))))
    proof = proving(the_set, *first.signers)
    second = begun(next_change_step(generate((the_set, proof))))
    assert second.kind is JobKind.PROVE_KEY
    assert set(first.signers) | set(second.signers) == set(THREE)
    last = proving(the_set, *second.signers)
    third = begun(next_change_step(generate((the_set, proof, last))))
    assert (third.kind, third.signers) == (JobKind.PROMISE, THREE)
    assert third.evidence == tuple(result_of(ALL_CONFIRMED[signer]) for signer in THREE)
    assert third.public_key == made_up_key(EDDSA_ED25519)


def result_of(outcome: Outcome) -> SignedBytes:
    """The statement in it."""
    assert isinstance(outcome.result, PreparedShare | PromisedShare)
    if isinstance(outcome.result, PreparedShare):
        return outcome.result.confirmation
    return outcome.result.promise


def all_proved() -> tuple[Step, ...]:
    the_set = made(dict(ALL_CONFIRMED))
    return the_set, proving(the_set, "a", "b"), proving(the_set, "b", "c")


def all_promised() -> tuple[Step, ...]:
    steps = all_proved()
    said = {signer: promised(signer) for signer in THREE}
    return (*steps, step(JobKind.PROMISE, said, share_set_id=steps[0].id))


@pytest.mark.parametrize("count", range(4))
def test_a_set_is_taken_into_use_when_all_n_have_promised_and_not_before(count: int):
    steps = all_proved()
    said = {signer: promised(signer) for signer in THREE[:count]}
    promising = step(JobKind.PROMISE, said, share_set_id=steps[0].id)
    decision = begun(next_change_step(generate((*steps, promising))))
    if count < 3:
        assert (decision.kind, decision.signers) == (JobKind.PROMISE, THREE[count:])
    else:
        assert (decision.kind, decision.signers) == (JobKind.ACTIVATE_KEY, THREE)
        assert decision.evidence == tuple(result_of(promised(signer)) for signer in THREE)


def test_a_set_that_all_have_promised_is_used_whatever_one_says_besides():
    """It lies, or has lost its memory: the others can never discard it."""
    steps = all_promised()
    gave_up = step(JobKind.ABANDON, {"c": abandoned("c")}, share_set_id=steps[0].id)
    assert begun(next_change_step(generate((*steps, gave_up)))).kind is JobKind.ACTIVATE_KEY


@pytest.mark.parametrize("count", range(4))
def test_a_key_is_complete_when_all_n_have_activated_and_not_before(count: int):
    steps = all_promised()
    said = {signer: activated(signer) for signer in THREE[:count]}
    activation = step(JobKind.ACTIVATE_KEY, said, share_set_id=steps[0].id)
    decision = next_change_step(generate((*steps, activation)))
    if count == 3:
        assert completed(decision).id == steps[0].id
    else:
        assert begun(decision).signers == THREE[count:]


def test_one_that_says_it_has_not_signed_signs_again():
    steps = all_proved()
    said = {"a": promised("a"), "b": promised("b"), "c": failed("not_proved")}
    promising = step(JobKind.PROMISE, said, share_set_id=steps[0].id)
    decision = begun(next_change_step(generate((*steps, promising))))
    assert decision.kind is JobKind.PROVE_KEY
    assert "c" in decision.signers


def test_bans_that_leave_a_share_no_quorum_to_sign_in_end_a_key():
    the_set = made(dict(ALL_CONFIRMED))
    bans = frozenset([frozenset("ac"), frozenset("bc")])
    reason = ended(next_change_step(generate((the_set,), bans=bans)))
    assert (reason.code, reason.culprits) == ("no_quorum_left", ("c",))


@pytest.mark.parametrize("liar", THREE)
def test_one_that_confirms_another_key_is_named(liar: str):
    the_set = made({**ALL_CONFIRMED, liar: confirmed(liar, made_up_key(EDDSA_ED25519, 2))})
    reason = ended(next_change_step(generate((the_set,))))
    assert (reason.code, reason.culprits) == ("signers_disagree", (liar,))
    assert f": {liar} differs" in reason.text


def test_nobody_is_named_where_every_signer_confirms_another_key():
    keys = {signer: made_up_key(EDDSA_ED25519, index) for index, signer in enumerate(THREE, 1)}
    the_set = made({signer: confirmed(signer, key) for signer, key in keys.items()})
    reason = ended(next_change_step(generate((the_set,))))
    assert reason.culprits == ()
    assert "differs" not in reason.text


def test_a_refresh_uses_the_set_in_use_and_makes_the_next_generation():
    decision = begun(next_change_step(refresh(in_use=SharesInUse(3, SHARES))))
    assert (decision.kind, decision.share_set_id) == (JobKind.REFRESH_KEY, SHARES)
    assert decision.generation == 4


def test_an_import_asks_every_gate_and_is_then_made_by_all_n():
    members = {"a": Member(), "b": Member(has_gate=True), "c": Member(has_gate=True)}
    decision = begun(next_change_step(import_key(members=members)))
    assert (decision.kind, decision.signers) == (JobKind.APPROVE, ("b", "c"))
    asked = step(JobKind.APPROVE, {"b": approved(), "c": approved()}, share_set_id=None)
    decision = begun(next_change_step(import_key((asked,), members=members)))
    assert (decision.kind, decision.signers) == (JobKind.IMPORT_KEY, THREE)
    assert (decision.share_set_id, decision.generation) == (None, 0)


def test_an_imported_set_is_proved_promised_and_used_by_all_n():
    the_set = made(ALL_CONFIRMED, JobKind.IMPORT_KEY)
    assert begun(next_change_step(import_key((the_set,)))).kind is JobKind.PROVE_KEY
    promises = step(
        JobKind.PROMISE, {signer: promised(signer) for signer in THREE}, share_set_id=the_set.id
    )
    decision = begun(next_change_step(import_key((the_set, promises))))
    assert (decision.kind, decision.signers) == (JobKind.ACTIVATE_KEY, THREE)
    said = {"a": activated("a"), "b": activated("b"), "c": cannot()}
    activations = step(JobKind.ACTIVATE_KEY, said, Ending.FAILED, share_set_id=the_set.id)
    # t signers are enough for a changed key, and not for one that is new
    assert ended(next_change_step(import_key((the_set, promises, activations)))).code == "no_share"


def test_a_signer_with_a_wrong_sub_share_ends_the_import():
    said = {"a": cannot("bad_dealing"), "b": failed("peer_aborted"), "c": failed("peer_aborted")}
    attempt = made(said, JobKind.IMPORT_KEY, Ending.FAILED)
    gone = step(
        JobKind.ABANDON, {signer: abandoned(signer) for signer in THREE}, share_set_id=attempt.id
    )
    reason = ended(next_change_step(import_key((attempt, gone))))
    assert (reason.code, reason.node) == ("bad_dealing", "a")


def test_a_refresh_asks_every_gate_first():
    members = {"a": Member(), "b": Member(has_gate=True), "c": Member(has_gate=True)}
    decision = begun(next_change_step(refresh(members=members)))
    assert (decision.kind, set(decision.signers)) == (JobKind.APPROVE, {"b", "c"})


def test_a_banned_pair_is_never_in_a_refresh():
    reason = ended(next_change_step(refresh(bans=frozenset([frozenset("ab")]))))
    assert reason.code == "no_quorum_left"


def test_a_refresh_waits_for_another_change_of_the_key():
    reason = paused(next_change_step(refresh(is_blocked=True)))
    assert reason.code == "another_change_under_way"


def repair(*steps: Step, **more: Any) -> Request:
    return refresh(steps, kind=JobKind.REPAIR_SHARE, target="b", **more)


def test_t_helpers_repair_a_share_and_all_refresh_then():
    request = repair(in_use=SharesInUse(1, SHARES))
    decision = begun(next_change_step(request))
    assert (decision.kind, set(decision.signers)) == (JobKind.REPAIR_SHARE, set(THREE))
    assert decision.generation == 1
    done = step(JobKind.REPAIR_SHARE, {signer: nothing() for signer in THREE})
    after = repair(done, in_use=SharesInUse(1, SHARES))
    assert begun(next_change_step(after)).kind is JobKind.REFRESH_KEY


def test_a_repair_that_the_target_has_not_finished_is_tried_again():
    half = step(JobKind.REPAIR_SHARE, {"a": nothing(), "b": failed(), "c": nothing()})
    assert begun(next_change_step(repair(half))).kind is JobKind.REPAIR_SHARE


def test_a_helper_that_lacks_its_operators_approval_is_passed_over_for_one_that_was_not_asked():
    five = ("a", "b", "c", "d", "e")
    told = failed("peer_aborted")
    lacking = {"a": told, "b": told, "c": told, "d": failed("repair_not_approved")}
    for _ in range(20):  # among equals it is another signer's turn with each request
        request = repair(
            step(JobKind.REPAIR_SHARE, lacking, Ending.FAILED),
            group=SignerGroup("treasury", 3, five),
            members={signer: Member() for signer in five},
        )
        assert set(begun(next_change_step(request)).signers) == {"a", "b", "c", "e"}


def test_too_few_willing_helpers_end_a_repair():
    no = step(JobKind.REPAIR_SHARE, {"a": denied("not_pinned"), "c": nothing()})
    ended(next_change_step(repair(no)), OutcomeStatus.DENIED)


def test_helpers_banned_by_the_target_do_not_help():
    reason = ended(next_change_step(repair(bans=frozenset([frozenset("bc")]))))
    assert reason.code == "no_quorum_left"


def test_a_final_request_still_has_its_shares_abandoned_and_discarded():
    the_set = made({"a": confirmed("a"), "b": failed(), "c": confirmed("c")}, ending=Ending.FAILED)
    first = plan(generate((the_set,), is_final=True), 0.5)
    assert (begun(first.decision).kind, begun(first.decision).signers) == (JobKind.ABANDON, THREE)
    assert first.settled == ()
    told = {"a": abandoned("a"), "b": abandoned("b"), "c": promised("c")}
    gave_up = step(JobKind.ABANDON, told, share_set_id=the_set.id)
    second = plan(generate((the_set, gave_up), is_final=True), 0.5)
    assert begun(second.decision).signers == ("c",)
    gone = step(JobKind.DISCARD, {"c": nothing()}, share_set_id=the_set.id)
    third = plan(generate((the_set, gave_up, gone), is_final=True), 0.5)
    assert isinstance(third.decision, Rest)
    assert third.settled == (the_set.id,)


def test_a_set_that_all_have_promised_is_never_cleaned_away():
    steps = all_promised()
    done = plan(generate(steps, is_final=True), 0.5)
    assert isinstance(done.decision, Rest)
    assert done.settled == (steps[0].id,)


def test_a_set_that_all_have_confirmed_and_not_promised_is_given_up_with_its_request():
    the_set = made(dict(ALL_CONFIRMED))
    done = plan(generate((the_set,), is_final=True), 0.5)
    assert (begun(done.decision).kind, begun(done.decision).signers) == (JobKind.ABANDON, THREE)


def waiting_for(*in_way: tuple[str, UUID]) -> Step:
    """A refresh that failed, for sets that nobody here knows were in its way."""
    said: dict[str, Outcome | None] = dict.fromkeys(THREE)
    return made(
        said | {signer: in_the_way(shares) for signer, shares in in_way},
        JobKind.REFRESH_KEY,
        Ending.FAILED,
    )


def test_a_set_in_the_way_that_nobody_knows_is_given_up():
    """As when the control plane's database was restored from before that set was made."""
    unknown = uuid4()
    tried = waiting_for(("a", unknown))
    own = step(JobKind.ABANDON, {each: abandoned(each) for each in THREE}, share_set_id=tried.id)
    decision = begun(next_change_step(refresh((tried, own))))
    assert (decision.kind, decision.signers, decision.share_set_id) == (
        JobKind.ABANDON,
        THREE,
        unknown,
    )
    told = {"a": promised("a"), "b": abandoned("b"), "c": abandoned("c")}
    asked = step(JobKind.ABANDON, told, share_set_id=unknown)
    discarding = begun(next_change_step(refresh((tried, own, asked))))
    assert (discarding.kind, discarding.signers, discarding.share_set_id) == (
        JobKind.DISCARD,
        ("a",),
        unknown,
    )
    gone = step(JobKind.DISCARD, {"a": nothing()}, share_set_id=unknown)
    again = begun(next_change_step(refresh((tried, own, asked, gone))))
    assert again.kind is JobKind.REFRESH_KEY


def forgotten(unknown: UUID, generation: int = 1) -> tuple[Step, ...]:
    """A refresh that met a set which all have promised."""
    tried = waiting_for(("b", unknown))
    own = step(JobKind.ABANDON, {each: abandoned(each) for each in THREE}, share_set_id=tried.id)
    said = {each: promised(each, generation=generation) for each in THREE}
    return tried, own, step(JobKind.ABANDON, said, share_set_id=unknown)


def test_a_set_in_the_way_that_all_have_promised_is_taken_into_use_and_another_one_made():
    """What was stolen since it was made is to be of no use after the refresh."""
    unknown = uuid4()
    before = forgotten(unknown)
    decision = begun(next_change_step(refresh(before)))
    assert (decision.kind, decision.share_set_id) == (JobKind.ACTIVATE_KEY, unknown)
    done = step(
        JobKind.ACTIVATE_KEY, {each: activated(each) for each in THREE}, share_set_id=unknown
    )
    after = refresh((*before, done))
    in_use = set_in_use(after)
    assert in_use == SharesInUse(1, unknown)
    following = begun(next_change_step(replace(after, in_use=in_use)))
    assert (following.kind, following.share_set_id, following.generation) == (
        JobKind.REFRESH_KEY,
        unknown,
        2,
    )


@pytest.mark.parametrize("generation", [0, 2])
def test_a_promised_set_of_another_generation_than_the_next_is_not_taken_into_use(generation: int):
    reason = ended(next_change_step(refresh(forgotten(uuid4(), generation))))
    assert reason.code == "signers_disagree"


def test_a_lying_signer_cannot_have_the_set_in_use_taken_for_the_refreshed_one():
    steps = forgotten(SHARES, generation=0)
    done = step(JobKind.ACTIVATE_KEY, {each: activated(each) for each in THREE})
    decision = begun(next_change_step(refresh((*steps, done))))
    assert (decision.kind, decision.share_set_id) == (JobKind.REFRESH_KEY, SHARES)


def test_a_signer_that_has_lost_its_share_before_it_promised_ends_the_set():
    steps = all_proved()
    said = {"a": promised("a"), "b": failed(), "c": cannot("no_share")}
    asked = step(JobKind.PROMISE, said, Ending.FAILED, share_set_id=steps[0].id)
    decision = begun(next_change_step(refresh((*steps, asked))))
    assert (decision.kind, decision.signers) == (JobKind.ABANDON, ("b", "c"))


@pytest.mark.parametrize("kind", [JobKind.GENERATE_KEY, JobKind.REFRESH_KEY])
def test_a_signer_that_has_lost_what_it_promised_does_not_hold_up_the_others(kind: JobKind):
    """They use the set: the share is repaired afterwards. Of a new key there is nothing to keep."""
    steps = all_promised()
    said = {"a": activated("a"), "b": failed(), "c": cannot("no_share")}
    activation = step(JobKind.ACTIVATE_KEY, said, Ending.FAILED, share_set_id=steps[0].id)
    make = generate if kind is JobKind.GENERATE_KEY else refresh_of_none
    waiting = begun(next_change_step(make((*steps, activation))))
    assert (waiting.kind, waiting.signers) == (JobKind.ACTIVATE_KEY, ("b", "c"))
    last = step(JobKind.ACTIVATE_KEY, {"b": activated("b")}, share_set_id=steps[0].id)
    decision = next_change_step(make((*steps, activation, last)))
    if kind is JobKind.GENERATE_KEY:
        reason = ended(decision)
        assert (reason.code, reason.culprits) == ("no_share", ("c",))
        assert f"{steps[0].id}: c." in reason.text
    else:
        assert completed(decision).id == steps[0].id


def test_a_set_that_fewer_than_t_have_kept_ends_the_request():
    steps = all_promised()
    said = {"a": activated("a"), "b": cannot("no_share"), "c": cannot("no_share")}
    activation = step(JobKind.ACTIVATE_KEY, said, Ending.FAILED, share_set_id=steps[0].id)
    reason = ended(next_change_step(refresh_of_none((*steps, activation))))
    assert (reason.code, reason.culprits) == ("no_share", ("b", "c"))


LATE = {"is_late": True, "in_use": SharesInUse(-1, SHARES)}


def test_a_set_that_a_signer_does_not_promise_is_given_up_once_the_time_is_over():
    steps = all_proved()
    said = {"a": promised("a"), "b": promised("b"), "c": denied("bad_evidence")}
    asked = step(JobKind.PROMISE, said, Ending.FAILED, share_set_id=steps[0].id)
    in_time = begun(next_change_step(generate((*steps, asked))))
    assert (in_time.kind, in_time.signers) == (JobKind.PROMISE, ("c",))
    late = begun(next_change_step(refresh((*steps, asked), **LATE)))
    assert (late.kind, late.signers) == (JobKind.ABANDON, ("c",))
    gave_up = step(JobKind.ABANDON, {"c": abandoned("c")}, share_set_id=steps[0].id)
    reason = ended(next_change_step(refresh((*steps, asked, gave_up), **LATE)))
    assert reason.code == "signers_disagree"


def test_a_signer_that_is_away_may_still_promise_after_the_time_is_over():
    steps = all_proved()
    said = {"a": promised("a"), "b": promised("b"), "c": None}
    asked = step(JobKind.PROMISE, said, Ending.SILENT, share_set_id=steps[0].id)
    decision = begun(next_change_step(refresh((*steps, asked), **LATE)))
    assert (decision.kind, decision.signers) == (JobKind.PROMISE, ("c",))


@pytest.mark.parametrize("is_promised_by_all", [False, True])
def test_what_a_signer_failed_at_and_did_later_is_not_held_against_it(is_promised_by_all: bool):
    """It was without its database for a moment; now it, or another one, is away."""
    steps = all_proved()
    first = {"a": promised("a"), "b": failed(), "c": promised("c") if is_promised_by_all else None}
    asked = step(JobKind.PROMISE, first, Ending.FAILED, share_set_id=steps[0].id)
    again = step(JobKind.PROMISE, {"b": promised("b")}, share_set_id=steps[0].id)
    before = (*steps, asked, again)
    if is_promised_by_all:
        used = {"a": activated("a"), "b": None, "c": activated("c")}
        before += (step(JobKind.ACTIVATE_KEY, used, Ending.SILENT, share_set_id=steps[0].id),)
    decision = begun(next_change_step(refresh(before, **LATE)))
    expected = (JobKind.ACTIVATE_KEY, ("b",)) if is_promised_by_all else (JobKind.PROMISE, ("c",))
    assert (decision.kind, decision.signers) == expected


def test_a_set_that_nobody_has_promised_in_time_is_given_up_and_the_request_ends():
    steps = all_proved()
    first = begun(next_change_step(refresh(steps, **LATE)))
    assert (first.kind, first.signers) == (JobKind.ABANDON, THREE)
    gave_up = step(
        JobKind.ABANDON, {each: abandoned(each) for each in THREE}, share_set_id=steps[0].id
    )
    reason = ended(next_change_step(refresh((*steps, gave_up), **LATE)))
    assert reason.code == "expired"


def test_a_restored_signer_that_states_nothing_is_asked_again_and_blocks_nobody_for_long():
    """Its share is uncertain. It is neither lost nor abandoned, so nobody discards for its sake."""
    the_set, uncertain = made(dict(ALL_CONFIRMED), ending=Ending.FAILED), failed("set_uncertain")
    told = {"a": abandoned("a"), "b": promised("b"), "c": uncertain}
    asked = step(JobKind.ABANDON, told, Ending.FAILED, share_set_id=the_set.id)
    again = begun(next_change_step(generate((the_set, asked))))
    assert (again.kind, again.signers) == (JobKind.ABANDON, ("c",))

    steps = all_promised()
    said = {"a": activated("a"), "b": activated("b"), "c": uncertain}
    activation = step(JobKind.ACTIVATE_KEY, said, Ending.FAILED, share_set_id=steps[0].id)
    in_time = begun(next_change_step(refresh_of_none((*steps, activation))))
    assert (in_time.kind, in_time.signers) == (JobKind.ACTIVATE_KEY, ("c",))
    assert isinstance(next_change_step(refresh((*steps, activation), **LATE)), Complete)


@pytest.mark.parametrize("users", [1, 2])
def test_t_that_use_a_set_are_enough_once_the_time_is_over(users: int):
    steps = all_promised()
    said = {signer: activated(signer) for signer in THREE[:users]}
    others = {signer: denied("bad_evidence") for signer in THREE[users:]}
    activation = step(JobKind.ACTIVATE_KEY, said | others, Ending.FAILED, share_set_id=steps[0].id)
    assert isinstance(next_change_step(refresh_of_none((*steps, activation))), Begin)
    decision = next_change_step(refresh((*steps, activation), **LATE))
    assert isinstance(decision, Complete if users == 2 else Begin)
    of_key = ended(next_change_step(generate((*steps, activation), is_late=True)))
    assert (of_key.code, of_key.culprits) == ("expired", THREE[users:])
    assert of_key.text.endswith(f": {', '.join(others)}")


def test_what_nobody_waits_for_any_more_is_asked_for_ever_less_often():
    steps: list[Step] = [made(dict(ALL_CONFIRMED), ending=Ending.FAILED)]
    for number in range(2, 30):
        told = {"c": denied("bad_evidence")}
        steps.append(
            step(JobKind.ABANDON, told, Ending.FAILED, share_set_id=steps[0].id, number=number)
        )
    assert pause(generate(tuple(steps)), JobKind.ABANDON, 0.5) == 15
    assert pause(generate(tuple(steps), is_final=True), JobKind.ABANDON, 0.5) == 3600


def test_one_signer_cannot_have_a_set_used_that_the_others_have_lost():
    """It withholds its promise until their operators have discarded theirs."""
    steps = forgotten(uuid4())
    unknown = steps[-1].share_set_id
    said = {"a": cannot("no_share"), "b": cannot("no_share"), "c": activated("c")}
    activation = step(JobKind.ACTIVATE_KEY, said, Ending.FAILED, share_set_id=unknown)
    request = refresh((*steps, activation))
    assert set_in_use(request) == request.in_use
    reason = ended(next_change_step(request))
    assert reason.code == "no_share"


def test_a_signer_that_did_not_hear_of_the_set_in_use_is_told_before_another_one_is_made():
    """The control plane's database fell back to before the refresh that all had promised."""
    in_use = SharesInUse(1, SHARES)
    before = forgotten(SHARES)
    decision = begun(next_change_step(refresh(before, in_use=in_use)))
    assert (decision.kind, decision.share_set_id) == (JobKind.ACTIVATE_KEY, SHARES)
    done = step(JobKind.ACTIVATE_KEY, {each: activated(each) for each in THREE})
    after = refresh((*before, done), in_use=in_use)
    assert set_in_use(after) == in_use
    following = begun(next_change_step(after))
    assert (following.kind, following.generation) == (JobKind.REFRESH_KEY, 2)


def test_a_set_that_one_signer_alone_says_there_is_changes_nothing():
    gone = uuid4()
    tried = waiting_for(("c", gone))
    own = step(JobKind.ABANDON, {each: abandoned(each) for each in THREE}, share_set_id=tried.id)
    told = {"a": nothing(), "b": nothing(), "c": promised("c", generation=1)}
    asked = step(JobKind.ABANDON, told, share_set_id=gone)
    assert begun(next_change_step(refresh((tried, own, asked)))).kind is JobKind.REFRESH_KEY


def refresh_of_none(steps: tuple[Step, ...]) -> Request:
    """A refresh whose new set is of generation 0, as the stories have it."""
    return refresh(steps, in_use=SharesInUse(-1, SHARES))


@pytest.mark.parametrize("kind", [JobKind.PROMISE, JobKind.ACTIVATE_KEY, JobKind.PROVE_KEY])
def test_an_order_that_a_signer_refuses_is_given_again_after_a_pause(kind: JobKind):
    """Nobody else can do it in its place."""
    steps = all_promised() if kind is JobKind.ACTIVATE_KEY else all_proved()
    said = {"a": denied("bad_evidence"), "b": nothing(), "c": nothing()}
    asked = step(kind, said, None, share_set_id=steps[0].id)
    decided = plan(generate((*steps, asked)), 0.5)
    assert isinstance(decided.decision, Begin)
    assert decided.delay_seconds > 0


def test_of_two_signers_that_both_must_sign_one_abandonment_lets_the_other_discard():
    group = SignerGroup("pair", 2, THREE[:2])
    the_set = made({"a": confirmed("a"), "b": confirmed("b")})
    asked = step(
        JobKind.ABANDON, {"a": promised("a"), "b": abandoned("b")}, share_set_id=the_set.id
    )
    decision = begun(next_change_step(generate((the_set, asked), group=group)))
    assert (decision.kind, decision.signers, len(decision.evidence)) == (
        JobKind.DISCARD,
        ("a",),
        1,
    )


def test_a_share_that_was_erased_before_counts_as_gone():
    the_set = made(dict(ALL_CONFIRMED), ending=Ending.FAILED)
    told = {"a": abandoned("a"), "b": nothing(), "c": abandoned("c")}
    asked = step(JobKind.ABANDON, told, share_set_id=the_set.id)
    assert plan(generate((the_set, asked), is_final=True), 0.5).settled == (the_set.id,)


def test_a_signer_that_is_away_is_cleaned_up_after_when_it_is_back():
    the_set = made({"a": abandoned("a"), "b": abandoned("b"), "c": None})
    request = generate((the_set,), is_final=True)
    assert isinstance(plan(without(request, "c"), 0.5).decision, Rest)
    again = step(JobKind.ABANDON, {"c": failed()}, Ending.FAILED, share_set_id=the_set.id)
    later = generate((the_set, again), is_final=True)
    assert begun(plan(later, 0.5).decision).signers == ("c",)


def test_ids_of_sets_are_those_of_their_ceremonies():
    ceremony = uuid4()
    the_set = made({**ALL_CONFIRMED, "a": failed()}, ceremony=ceremony)
    assert begun(next_change_step(generate((the_set,)))).share_set_id == ceremony


@pytest.mark.parametrize("count", range(4))
def test_a_later_set_is_believed_in_when_t_signers_say_that_they_use_it(count: int):
    """As after the control plane's database was restored from before a refresh."""
    later, in_use = uuid4(), SharesInUse(1, SHARES)
    said: dict[str, Outcome | None] = dict.fromkeys(THREE, failed())
    said |= {signer: further(later, 3) for signer in THREE[:count]}
    tried = step(JobKind.SIGN, said, Ending.FAILED)
    expected = in_use if count < 2 else SharesInUse(3, later)
    assert set_in_use(sign((tried,), in_use=in_use)) == expected


def test_the_first_later_set_that_t_signers_use_is_in_use_though_another_one_is_not():
    unused, used = uuid4(), uuid4()
    tried = waiting_for(("a", unused), ("b", used))
    promising = step(
        JobKind.ABANDON, {each: promised(each, 1) for each in THREE}, share_set_id=used
    )
    using = step(JobKind.ACTIVATE_KEY, {each: activated(each) for each in THREE}, share_set_id=used)
    assert set_in_use(refresh((tried, promising, using))) == SharesInUse(1, used)


def test_a_set_of_the_same_generation_does_not_replace_the_set_in_use():
    other = uuid4()
    using = step(
        JobKind.ACTIVATE_KEY, {each: activated(each) for each in THREE}, share_set_id=other
    )
    request = refresh((*forgotten(other, generation=0), using))
    assert set_in_use(request) == request.in_use


def test_only_what_signers_name_as_the_set_they_use_is_believed():
    pending = uuid4()
    said = {"a": in_the_way(pending), "b": in_the_way(pending), "c": failed("wrong_generation")}
    request = sign((step(JobKind.SIGN, said, Ending.FAILED),))
    assert set_in_use(request) == request.in_use


@pytest.mark.parametrize("generation", [0, 1])
def test_an_older_set_is_not_believed_in(generation: int):
    in_use = SharesInUse(1, SHARES)
    said = {signer: further(uuid4(), generation) for signer in THREE}
    assert set_in_use(sign((step(JobKind.SIGN, said),), in_use=in_use)) == in_use


def test_while_a_refresh_comes_into_use_signers_of_both_sets_are_believed():
    in_use = SharesInUse(1, SHARES, uuid4(), frozenset({"a"}))
    said = {signer: further(uuid4(), 2) for signer in THREE}
    assert set_in_use(sign((step(JobKind.SIGN, said),), in_use=in_use)) == in_use


def test_a_signature_is_tried_again_with_the_later_set():
    later = uuid4()
    said = {signer: further(later, 3) for signer in THREE[:2]}
    open_step = step(JobKind.SIGN, said, None)
    request = sign((open_step,), in_use=SharesInUse(1, SHARES))
    decided = plan(replace(request, in_use=set_in_use(request)), 0.5)
    decision = begun(decided.decision)
    assert (decision.kind, decision.share_set_id, decision.generation) == (JobKind.SIGN, later, 3)
