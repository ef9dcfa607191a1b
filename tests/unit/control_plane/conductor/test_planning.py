"""When a step is over, whose fault that was, and how long the next attempt waits."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from custody.control_plane.conductor.planning.decisions import Begin, End, Pause, Rest
from custody.control_plane.conductor.planning.endings import ending_of, failure_of
from custody.control_plane.conductor.planning.facts import Ending, Member, Step
from custody.control_plane.conductor.planning.history import BLAMELESS
from custody.control_plane.conductor.planning.plan import LONGEST_PAUSE_SECONDS, pause, plan
from custody.wire.jobs import JobKind
from custody.wire.outcomes import Outcome
from tests.unit.control_plane.conductor.stories import (
    THREE,
    abandoned,
    approved,
    denied,
    failed,
    generate,
    made,
    nothing,
    sign,
    step,
)

SIGN = JobKind.SIGN


def open_step(kind: JobKind, said: Mapping[str, Outcome | None], *late: str) -> Step:
    return step(kind, said, None, late=late)


def test_a_ceremony_goes_on_while_its_signers_have_time():
    under_way = open_step(SIGN, {"a": None, "b": None})
    assert ending_of(sign((under_way,)), under_way) is None
    assert isinstance(plan(sign((under_way,)), 0.5).decision, Rest)


def test_the_first_failure_ends_a_ceremony():
    over = open_step(SIGN, {"a": failed(), "b": None})
    ended = ending_of(sign((over,)), over)
    assert ended is not None
    assert (ended.ending, ended.culprits, ended.silent) == (Ending.FAILED, ("a",), ())


def test_an_order_goes_on_until_each_has_answered():
    under_way = open_step(JobKind.ACTIVATE_KEY, {"a": failed(), "b": None})
    assert ending_of(generate((under_way,)), under_way) is None
    over = open_step(JobKind.ACTIVATE_KEY, {"a": nothing(), "b": None}, "b")
    ended = ending_of(generate((over,)), over)
    assert ended is not None
    assert (ended.ending, ended.culprits) == (Ending.SILENT, ("b",))


def test_a_silent_signer_is_to_blame():
    over = open_step(SIGN, {"a": None, "b": None}, "b")
    ended = ending_of(sign((over,)), over)
    assert ended is not None
    assert (ended.ending, ended.culprits, ended.silent) == (Ending.SILENT, ("b",), ("b",))
    assert failure_of(ended).text == "b did not answer in time"


def test_whom_a_signer_names_is_to_blame_and_not_itself():
    over = open_step(SIGN, {"a": failed("bad_message", "b"), "b": None})
    ended = ending_of(sign((over,)), over)
    assert ended is not None
    assert ended.culprits == ("b",)
    reason = failure_of(ended)
    assert (reason.code, reason.node, reason.culprits) == ("bad_message", "a", ("b",))


@pytest.mark.parametrize("code", sorted(BLAMELESS))
def test_nobody_is_to_blame_for_what_was_not_a_signers_doing(code: str):
    over = open_step(SIGN, {"a": failed(code), "b": failed(code)})
    ended = ending_of(sign((over,)), over)
    assert ended is not None
    assert ended.culprits == ()


@pytest.mark.parametrize(
    "code", ["frozen", "database_away", "clocks_disagree", "share_unusable", "gate_unavailable"]
)
def test_who_cannot_do_its_own_part_is_to_blame(code: str):
    over = open_step(SIGN, {"a": failed(code), "b": failed("peer_aborted")})
    ended = ending_of(sign((over,)), over)
    assert ended is not None
    assert ended.culprits == ("a",)


def test_who_has_not_pinned_another_is_itself_to_blame_since_it_works_with_nobody_of_the_group():
    over = open_step(SIGN, {"a": failed("not_pinned", "c"), "b": None})
    ended = ending_of(sign((over,)), over)
    assert ended is not None
    assert ended.culprits == ("a",)


def test_who_names_somebody_is_quoted_rather_than_who_does_not():
    over = open_step(SIGN, {"a": failed("ceremony_aborted"), "b": failed("bad_message", "c")})
    ended = ending_of(sign((over,)), over)
    assert ended is not None
    assert (failure_of(ended).code, failure_of(ended).node) == ("bad_message", "b")


def test_who_ended_a_ceremony_by_nobodys_fault_is_quoted_rather_than_who_only_heard_of_it():
    said = {
        "a": failed("peer_aborted"),
        "b": failed("repair_not_approved"),
        "c": failed("peer_aborted"),
    }
    over = open_step(JobKind.REPAIR_SHARE, said)
    ended = ending_of(sign((over,)), over)
    assert ended is not None
    reason = failure_of(ended)
    assert (reason.code, reason.node, reason.culprits) == ("repair_not_approved", "b", ())


def test_who_could_not_do_its_part_is_quoted_rather_than_who_only_heard_of_it():
    over = open_step(SIGN, {"a": failed("peer_aborted"), "b": failed("share_unusable")})
    ended = ending_of(sign((over,)), over)
    assert ended is not None
    assert (failure_of(ended).code, failure_of(ended).node) == ("share_unusable", "b")


def test_after_a_failure_the_next_attempt_waits():
    over = open_step(SIGN, {"a": failed(), "b": None})
    decided = plan(sign((over,)), 0.5)
    assert decided.delay_seconds == 0.1
    assert decided.failure is not None


def test_after_a_no_another_signer_is_asked_at_once():
    over = open_step(SIGN, {"a": denied(), "b": None})
    decided = plan(sign((over,)), 0.5)
    assert decided.delay_seconds == 0
    assert isinstance(decided.decision, Begin)
    assert "a" not in decided.decision.signers


def test_the_end_of_a_request_does_not_wait():
    first = step(SIGN, {"a": denied()}, Ending.FAILED)
    over = replace(open_step(SIGN, {"b": denied(), "c": None}), number=2)
    decided = plan(sign((first, over)), 0.5)
    assert isinstance(decided.decision, End)
    assert decided.delay_seconds == 0


def test_shares_are_abandoned_at_once():
    over = made({"a": failed(), "b": None, "c": None}, ending=None)
    decided = plan(generate((over,)), 0.5)
    assert isinstance(decided.decision, Begin)
    assert (decided.decision.kind, decided.delay_seconds) == (JobKind.ABANDON, 0)


def test_shares_are_made_again_only_after_a_pause_that_grows():
    def pause_after(failures: int) -> float:
        history: list[Step] = []
        for number in range(0, 2 * failures, 2):
            said = {"a": failed(), "b": None, "c": None}
            tried = made(said, ending=Ending.FAILED, number=number)
            ending = Ending.DONE if number < 2 * failures - 2 else None
            told = {signer: abandoned(signer) for signer in THREE}
            cleaned = step(JobKind.ABANDON, told, ending, share_set_id=tried.id, number=number + 1)
            history += [tried, cleaned]
        decided = plan(generate(tuple(history)), 0.5)
        assert isinstance(decided.decision, Begin)
        assert decided.decision.kind is JobKind.GENERATE_KEY
        return decided.delay_seconds

    assert [pause_after(count) for count in (1, 2, 3)] == [0.1, 0.2, 0.4]


def test_nothing_is_begun_before_a_pause_is_over():
    assert isinstance(plan(sign(is_due=False), 0.5).decision, Rest)


def test_a_gate_that_is_not_needed_any_more_is_not_waited_for():
    members = {signer: Member(has_gate=True) for signer in THREE}
    asked = open_step(JobKind.APPROVE, {"a": approved(), "b": approved(), "c": None})
    decided = plan(sign((asked,), members=members), 0.5)
    assert decided.ended is not None
    assert decided.ended.ending is Ending.OVERTAKEN
    assert isinstance(decided.decision, Begin)
    assert (decided.decision.kind, set(decided.decision.signers)) == (SIGN, {"a", "b"})


def test_a_signing_ceremony_of_a_request_that_is_over_is_let_go():
    under_way = open_step(SIGN, {"a": None, "b": None})
    decided = plan(sign((under_way,), is_final=True), 0.5)
    assert decided.ended is not None
    assert decided.ended.ending is Ending.OVERTAKEN


def test_waiting_for_signers_is_no_failure():
    decided = plan(sign(members={}), 0.5)
    assert isinstance(decided.decision, Pause)
    assert decided.failure is None


def test_the_pause_doubles_up_to_a_limit_and_varies_by_a_quarter():
    def after(failures: int) -> float:
        history = tuple(step(SIGN, {"a": failed()}, Ending.FAILED) for _ in range(failures))
        return pause(sign(history), SIGN, 0.5)

    assert [round(after(count), 1) for count in range(1, 10)] == [
        0.1,
        0.2,
        0.4,
        0.8,
        1.6,
        3.2,
        6.4,
        12.8,
        LONGEST_PAUSE_SECONDS,
    ]
    once = sign((step(SIGN, {"a": failed()}, Ending.SILENT),))
    assert (pause(once, SIGN, 0), pause(once, SIGN, 1)) == pytest.approx((0.075, 0.125))


def test_an_owner_who_has_not_decided_is_asked_again_within_fifteen_seconds():
    def after(failures: int) -> float:
        asked = tuple(
            step(JobKind.APPROVE, {"a": failed("approval_pending")}, Ending.FAILED, number=number)
            for number in range(failures)
        )
        return pause(sign(asked), JobKind.APPROVE, 0.5)

    assert [after(count) for count in range(1, 7)] == [1, 2, 4, 8, 15, 15]


def test_that_an_owner_took_long_does_not_hold_up_the_ceremonies_that_follow():
    asked = tuple(
        step(JobKind.APPROVE, {"a": failed("approval_pending")}, Ending.FAILED, number=number)
        for number in range(9)
    )
    tried = step(SIGN, {"a": failed()}, Ending.FAILED, number=10)
    assert pause(sign((*asked, tried)), SIGN, 0.5) == 0.1
