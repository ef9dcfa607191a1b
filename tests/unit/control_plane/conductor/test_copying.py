"""A copy, step by step: approval, import keys, dealings, and then as a new key."""

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from custody.control_plane.conductor.planning.decisions import Begin
from custody.control_plane.conductor.planning.facts import (
    Ending,
    Member,
    Origin,
    Request,
    SharesInUse,
    SignerGroup,
    Step,
)
from custody.control_plane.conductor.planning.plan import plan
from custody.wire.jobs import JobKind
from custody.wire.outcomes import DealtShares, Outcome, OutcomeStatus, PreparedImport
from tests.unit.control_plane.conductor.stories import (
    SHARES,
    abandoned,
    approved,
    begun,
    cannot,
    denied,
    done,
    ended,
    failed,
    paused,
    sign,
    signed,
    step,
    without,
)

OLD, NEW = ("a", "b", "c"), ("c", "d", "e")
GATED = Member(has_gate=True)


def copy(*steps: Step, **more: Any) -> Request:
    fields = {
        "kind": JobKind.COPY_KEY,
        "group": SignerGroup("zurich", 2, NEW),
        "in_use": SharesInUse(),
        "origin": Origin(SignerGroup("treasury", 2, OLD), SharesInUse(3, SHARES)),
        "members": {signer: Member() for signer in (*OLD, *NEW)},
        "servers": ("one",),
    }
    numbered = tuple(replace(each, number=number) for number, each in enumerate(steps, 1))
    return sign(numbered, **(fields | more))


def stated(signer: str) -> Outcome:
    return done(PreparedImport(statements=(signed(signer.encode()),)))


def dealt(signer: str) -> Outcome:
    return done(DealtShares(dealing=signed(signer.encode())))


def prepared(*signers: str) -> Step:
    said = {signer: stated(signer) for signer in signers or NEW}
    return step(JobKind.PREPARE_IMPORT, said, share_set_id=None)


def dealing(*signers: str) -> Step:
    return step(JobKind.DEAL_SHARES, {signer: dealt(signer) for signer in signers})


def taken(said: dict[str, Outcome | None]) -> Step:
    """A ceremony of the new signers that failed."""
    id_ = uuid4()
    return step(JobKind.COPY_KEY, said, Ending.FAILED, id=id_, share_set_id=id_)


def gone(of: Step) -> Step:
    """All have abandoned its set."""
    return step(JobKind.ABANDON, {each: abandoned(each) for each in NEW}, share_set_id=of.id)


def next_step(*steps: Step, **more: Any) -> Begin:
    return begun(plan(copy(*steps, **more), 0.5).decision)


def test_without_gates_it_begins_with_the_import_keys_of_all_new_signers():
    begin = next_step()
    assert (begin.kind, begin.signers) == (JobKind.PREPARE_IMPORT, NEW)


def test_gates_of_old_signers_are_asked_first_while_fewer_than_t_are_free():
    gated = {"a": GATED, "b": GATED}
    begin = next_step(members={**copy().members, **gated})
    assert (begin.kind, begin.signers, begin.share_set_id) == (JobKind.APPROVE, ("a", "b"), SHARES)
    first = step(JobKind.APPROVE, {"a": approved(), "b": denied()})
    begin = next_step(first, members={**copy().members, **gated})
    assert begin.kind is JobKind.PREPARE_IMPORT


def test_it_is_rejected_when_t_old_owners_can_no_longer_say_yes():
    asked = step(JobKind.APPROVE, {"a": denied(), "b": denied()})
    reason = ended(plan(copy(asked), 0.5).decision, OutcomeStatus.DENIED)
    assert reason.code == "gate_rejected"


def test_t_old_signers_deal_the_set_in_use_to_all_import_keys():
    begin = next_step(prepared())
    assert begin.kind is JobKind.DEAL_SHARES
    assert (begin.share_set_id, begin.generation, len(begin.signers)) == (SHARES, 3, 2)
    assert begin.dealers == tuple(OLD.index(signer) + 1 for signer in begin.signers)
    assert [each.payload for each in begin.evidence] == [b"c", b"d", b"e"]


def test_a_missing_import_key_is_asked_for_again():
    begin = next_step(prepared("c", "e"))
    assert (begin.kind, begin.signers) == (JobKind.PREPARE_IMPORT, ("d",))


def test_all_new_signers_take_the_dealings_of_one_quorum():
    begin = next_step(prepared(), dealing("a", "c"))
    assert (begin.kind, begin.signers, begin.share_set_id) == (JobKind.COPY_KEY, NEW, None)
    assert [each.payload for each in begin.evidence] == [b"a", b"c"]


def test_dealings_of_a_quorum_that_is_not_whole_are_not_used():
    half = step(
        JobKind.DEAL_SHARES, {"a": dealt("a"), "b": failed("share_unusable")}, Ending.FAILED,
        culprits=("b",),
    )  # fmt: skip
    begin = next_step(prepared(), half)
    assert (begin.kind, begin.signers) == (JobKind.DEAL_SHARES, ("a", "c"))


def test_a_dealer_that_new_signers_name_is_left_out_of_the_next_attempt():
    lied_to = taken(
        {"c": failed("peer_aborted"), "d": failed("bad_dealing", "a"), "e": failed("peer_aborted")}
    )
    lied_to = replace(lied_to, culprits=("a",))
    begin = next_step(prepared(), dealing("a", "b"), lied_to, gone(lied_to))
    assert (begin.kind, begin.signers) == (JobKind.DEAL_SHARES, ("b", "c"))


def test_dealers_that_contradict_each_other_are_not_chosen_together_again():
    nobody = taken({each: failed("bad_dealing") for each in NEW})
    begin = next_step(prepared(), dealing("a", "b"), nobody, gone(nobody))
    assert begin.kind is JobKind.DEAL_SHARES
    assert "c" in begin.signers


@pytest.mark.parametrize("named", ["c", "d"])
def test_a_signer_that_does_not_deal_gives_way_whoever_it_names(named: str):
    """Signer c is in both groups. Without its own failures, the liar would always be chosen."""
    liar = step(
        JobKind.DEAL_SHARES, {"a": failed("bad_import_key", named), "b": dealt("b")}, Ending.FAILED,
        culprits=(named,),
    )  # fmt: skip
    for times in (1, 3):
        begin = next_step(prepared(), *[replace(liar, id=uuid4()) for _ in range(times)])
        assert (begin.kind, begin.signers) == (JobKind.DEAL_SHARES, ("b", "c"))


def test_the_same_dealings_serve_when_a_new_signer_was_silent():
    silent = taken({"c": failed("peer_silent", "e"), "d": failed("peer_silent", "e"), "e": None})
    begin = next_step(prepared(), dealing("a", "b"), silent, gone(silent))
    assert begin.kind is JobKind.COPY_KEY
    assert [each.payload for each in begin.evidence] == [b"a", b"b"]


def test_after_an_import_key_has_expired_all_begin_again():
    late = taken({"c": failed("no_import_key"), "d": failed("peer_aborted"), "e": None})
    begin = next_step(prepared(), dealing("a", "b"), late, gone(late))
    assert (begin.kind, begin.signers) == (JobKind.PREPARE_IMPORT, NEW)


def test_old_signers_that_are_away_are_waited_for():
    reason = paused(plan(without(copy(prepared()), "a", "b"), 0.5).decision)
    assert "away: a, b" in reason.text


def test_one_new_signer_that_cannot_ends_it():
    no = step(JobKind.PREPARE_IMPORT, {"d": cannot("unsupported")}, share_set_id=None)
    assert ended(plan(copy(no), 0.5).decision).code == "unsupported"


def test_bans_of_the_old_key_keep_nobody_from_dealing_or_from_the_new_group():
    banned = frozenset({frozenset(("a", "b")), frozenset(("a", "c")), frozenset(("b", "c"))})
    assert next_step(prepared(), bans=banned).kind is JobKind.DEAL_SHARES


def test_new_signers_that_are_away_before_they_have_import_keys_are_waited_for():
    reason = paused(plan(without(copy(prepared("c")), "d", "e"), 0.5).decision)
    assert "away: d, e" in reason.text


def test_dealings_wait_until_all_new_signers_are_there_and_have_a_free_slot():
    steps = prepared(), dealing("a", "b")
    assert "away: e" in paused(plan(without(copy(*steps), "e"), 0.5).decision).text
    busy = {**copy().members, "e": Member(free=0)}
    assert paused(plan(copy(*steps, members=busy), 0.5).decision)
    free = {**copy().members, "e": Member(free=1)}
    assert next_step(*steps, members=free).kind is JobKind.COPY_KEY
