"""When a step is over, whose fault that was, and how long the next attempt waits."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from custody.control_plane.conductor.planning.decisions import Ended, Plan, Reason, Rest, Signed
from custody.control_plane.conductor.planning.endings import SILENT, ending_of, failure_of
from custody.control_plane.conductor.planning.facts import Ending, Member, Step
from custody.control_plane.conductor.planning.history import BLAMELESS
from custody.control_plane.conductor.planning.obstacles import WAITING
from custody.control_plane.conductor.planning.plan import LONGEST_PAUSE_SECONDS, pause, plan
from custody.wire.jobs import JobKind
from custody.wire.outcomes import Outcome, OutcomeStatus
from tests.unit.control_plane.conductor.stories import (
    THREE,
    abandoned,
    approved,
    begun,
    denied,
    ended,
    failed,
    generate,
    made,
    nothing,
    paused,
    refresh,
    sign,
    step,
    without,
)

SIGN = JobKind.SIGN


UNCERTAIN = "set_uncertain"
"""The code of a signer that was restored, for its share and its statements."""


def open_step(kind: JobKind, said: Mapping[str, Outcome | None], *late: str) -> Step:
    return step(kind, said, None, late=late)


def end_of(over: Step) -> Ended:
    """Return how a step that is over has ended."""
    found = ending_of(sign((over,)), over)
    assert found is not None
    return found


def test_a_ceremony_goes_on_while_its_signers_have_time():
    under_way = open_step(SIGN, {"a": None, "b": None})
    assert ending_of(sign((under_way,)), under_way) is None
    assert plan(sign((under_way,)), 0.5) == Plan(Rest())


def test_the_first_failure_ends_a_ceremony():
    over = open_step(SIGN, {"a": failed(), "b": None})
    assert end_of(over) == Ended(over, Ending.FAILED, ("a",))


def test_a_ceremony_that_all_have_done_is_done():
    over = open_step(SIGN, {"a": nothing(), "b": nothing()})
    assert end_of(over) == Ended(over, Ending.DONE, ())


def test_an_order_goes_on_until_each_has_answered():
    under_way = open_step(JobKind.ACTIVATE_KEY, {"a": failed(), "b": None})
    assert ending_of(generate((under_way,)), under_way) is None
    over = open_step(JobKind.ACTIVATE_KEY, {"a": nothing(), "b": None}, "b")
    assert end_of(over) == Ended(over, Ending.SILENT, ("b",), ("b",))


def test_a_silent_signer_is_to_blame():
    over = open_step(SIGN, {"a": None, "b": None}, "b")
    end = end_of(over)
    assert end == Ended(over, Ending.SILENT, ("b",), ("b",))
    assert failure_of(end) == Reason(SILENT, "b did not answer in time", culprits=("b",))


def test_a_failure_beside_silent_signers_is_nobodys_alone_and_for_operators():
    over = open_step(SIGN, {"a": failed("gate_rejected"), "b": None, "c": None}, "b", "c")
    end = end_of(over)
    assert end == Ended(over, Ending.FAILED, THREE, ("b", "c"))
    text = "a: because of gate_rejected; b, c did not answer in time"
    assert failure_of(end) == Reason("gate_rejected", text, culprits=THREE)


def test_an_application_is_told_of_a_failure_that_is_about_its_request():
    reason = failure_of(end_of(open_step(SIGN, {"a": failed("gate_rejected"), "b": None})))
    assert (reason.summary, reason.node) == ("because of gate_rejected", "a")
    of_two = open_step(SIGN, {"a": failed("gate_rejected"), "b": failed("gate_rejected")})
    assert failure_of(end_of(of_two)).node is None
    assert failure_of(end_of(open_step(SIGN, {"a": failed(), "b": None}))).summary is None


def test_whom_a_signer_names_is_to_blame_and_not_itself():
    over = open_step(SIGN, {"a": failed("bad_message", "b"), "b": None})
    reason = failure_of(end_of(over))
    assert (reason.code, reason.node, reason.culprits) == ("bad_message", "a", ("b",))


@pytest.mark.parametrize("code", sorted(BLAMELESS))
def test_nobody_is_to_blame_for_what_was_not_a_signers_doing(code: str):
    over = open_step(SIGN, {"a": failed(code), "b": failed(code)})
    assert end_of(over).culprits == ()


@pytest.mark.parametrize(
    "code",
    ["frozen", "database_away", "clocks_disagree", "share_unusable", "gate_unavailable", UNCERTAIN],
)
def test_who_cannot_do_its_own_part_is_to_blame(code: str):
    over = open_step(SIGN, {"a": failed(code), "b": failed("peer_aborted")})
    assert end_of(over).culprits == ("a",)


def test_who_has_not_pinned_another_is_itself_to_blame_since_it_works_with_nobody_of_the_group():
    over = open_step(SIGN, {"a": failed("not_pinned", "c"), "b": None})
    assert end_of(over).culprits == ("a",)


def test_who_names_somebody_is_quoted_rather_than_who_does_not():
    over = open_step(SIGN, {"a": failed("ceremony_aborted"), "b": failed("bad_message", "c")})
    reason = failure_of(end_of(over))
    assert (reason.code, reason.node) == ("bad_message", "b")


def test_who_ended_a_ceremony_by_nobodys_fault_is_quoted_rather_than_who_only_heard_of_it():
    said = {
        "a": failed("peer_aborted"),
        "b": failed("repair_not_approved"),
        "c": failed("peer_aborted"),
    }
    over = open_step(JobKind.REPAIR_SHARE, said)
    reason = failure_of(end_of(over))
    assert (reason.code, reason.node, reason.culprits) == ("repair_not_approved", "b", ())


def test_who_could_not_do_its_part_is_quoted_rather_than_who_only_heard_of_it():
    over = open_step(SIGN, {"a": failed("peer_aborted"), "b": failed("share_unusable")})
    reason = failure_of(end_of(over))
    assert (reason.code, reason.node) == ("share_unusable", "b")


def test_after_a_failure_the_next_attempt_waits():
    over = open_step(SIGN, {"a": failed(), "b": None})
    end = end_of(over)
    decided = plan(sign((over,)), 0.5)
    assert decided == Plan(decided.decision, end, failure_of(end), 0.1)
    assert begun(decided.decision).kind is SIGN


def test_after_a_failure_others_are_chosen_than_the_signer_to_blame():
    over = open_step(SIGN, {"a": failed("bad_message", "b"), "b": None})
    for _ in range(20):  # the turn of equals is another with each request
        assert set(begun(plan(sign((over,)), 0.5).decision).signers) == {"a", "c"}


@pytest.mark.parametrize(
    ("over", "request_of", "kind"),
    [
        (open_step(JobKind.APPROVE, {"a": approved(), "b": approved()}), sign, SIGN),
        (open_step(JobKind.APPROVE, {"a": approved()}), refresh, JobKind.REFRESH_KEY),
        (made({"a": failed()}, ending=None), generate, JobKind.ABANDON),
    ],
)
def test_the_step_after_one_that_is_done_and_cleaning_up_do_not_wait(over, request_of, kind):
    decided = plan(request_of((over,)), 0.5)
    assert (begun(decided.decision).kind, decided.delay_seconds) == (kind, 0)


def test_a_failed_step_is_waited_for_whatever_comes_next():
    """The next step here asks the gate of another signer, after two failed signatures."""
    members = {"a": Member(), "b": Member(free=0), "c": Member(has_gate=True)}
    tried = step(SIGN, {"a": failed(), "b": failed()}, Ending.FAILED)
    again = open_step(SIGN, {"a": failed(), "b": failed()})
    away = without(sign((tried, again), members=members), "b")
    decided = plan(away, 0.5)
    assert (begun(decided.decision).kind, decided.delay_seconds) == (JobKind.APPROVE, 0.2)


def test_a_late_signature_completes_the_request_at_once_when_the_next_attempt_fails():
    late = step(SIGN, {"a": nothing(), "b": None}, Ending.SILENT)
    decided = plan(sign((late, open_step(SIGN, {"b": failed(), "c": None}))), 0.5)
    assert isinstance(decided.decision, Signed)
    assert decided.delay_seconds == 0


def test_after_a_no_another_signer_is_asked_at_once():
    over = open_step(SIGN, {"a": denied(), "b": None})
    decided = plan(sign((over,)), 0.5)
    assert decided.delay_seconds == 0
    assert "a" not in begun(decided.decision).signers


def test_the_end_of_a_request_does_not_wait():
    first = step(SIGN, {"a": denied()}, Ending.FAILED)
    over = replace(open_step(SIGN, {"b": denied(), "c": None}), number=2)
    decided = plan(sign((first, over)), 0.5)
    assert ended(decided.decision, OutcomeStatus.DENIED).code == "gate_rejected"
    assert decided.delay_seconds == 0


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
        assert begun(decided.decision).kind is JobKind.GENERATE_KEY
        return decided.delay_seconds

    assert [pause_after(count) for count in (1, 2, 3)] == [0.1, 0.2, 0.4]


def test_a_late_answer_to_an_earlier_order_does_not_shorten_the_pause_of_the_shares():
    tries = [made({"a": failed()}, ending=Ending.FAILED) for _ in range(3)]
    gone = [gone_everywhere(each) for each in tries[:2]]
    told = {signer: abandoned(signer) for signer in THREE}
    late = step(JobKind.ABANDON, told, Ending.SILENT, share_set_id=tries[2].id)
    over = step(JobKind.ABANDON, {"c": failed()}, None, share_set_id=tries[2].id)
    decided = plan(generate((*tries, *gone, late, over)), 0.5)
    assert (begun(decided.decision).kind, decided.delay_seconds) == (JobKind.GENERATE_KEY, 0.4)


def gone_everywhere(making: Step) -> Step:
    told = {signer: abandoned(signer) for signer in THREE}
    return step(JobKind.ABANDON, told, share_set_id=making.id)


def test_sets_are_settled_once_their_shares_are_gone_but_the_last_one_with_its_request():
    tries = [made({"a": failed()}, ending=Ending.FAILED) for _ in range(3)]
    steps = (*tries, *map(gone_everywhere, tries))
    ids = tuple(each.id for each in tries)
    assert plan(generate(steps), 0.5).settled == ids[:2]
    assert plan(generate(steps, is_final=True), 0.5) == Plan(Rest(), settled=ids)


@pytest.mark.parametrize("outcome", [abandoned("c"), failed()])
def test_what_is_settled_is_told_with_the_end_of_a_step(outcome: Outcome):
    first, second = (made({"a": failed()}, ending=Ending.FAILED) for _ in range(2))
    half = step(JobKind.ABANDON, {s: abandoned(s) for s in "ab"}, share_set_id=second.id)
    over = step(JobKind.ABANDON, {"c": outcome}, None, share_set_id=second.id)
    decided = plan(
        generate((first, second, gone_everywhere(first), half, over), is_final=True), 0.5
    )
    if outcome == abandoned("c"):
        assert decided == Plan(Rest(), end_of(over), settled=(first.id, second.id))
    else:
        again = begun(decided.decision)
        assert (again.kind, again.signers) == (JobKind.ABANDON, ("c",))
        failure = failure_of(end_of(over))
        assert decided == Plan(again, end_of(over), failure, 0.1, (first.id,))


def test_nothing_is_begun_before_a_pause_is_over():
    assert plan(sign(is_due=False), 0.5) == Plan(Rest())


def test_a_gate_that_is_not_needed_any_more_is_not_waited_for():
    members = {signer: Member(has_gate=True) for signer in THREE}
    asked = open_step(JobKind.APPROVE, {"a": approved(), "b": approved(), "c": None})
    decided = plan(sign((asked,), members=members), 0.5)
    assert decided == Plan(decided.decision, Ended(asked, Ending.OVERTAKEN, ()))
    decision = begun(decided.decision)
    assert (decision.kind, set(decision.signers)) == (SIGN, {"a", "b"})


@pytest.mark.parametrize(
    ("request_of", "said"),
    [(sign, {"a": approved()}), (refresh, {"a": approved(), "b": approved()})],
)
def test_a_gate_that_is_needed_is_waited_for(request_of, said):
    """Two of three gates for a signature, and all three for a refresh."""
    members = {signer: Member(has_gate=True) for signer in THREE}
    asked = open_step(JobKind.APPROVE, dict.fromkeys(THREE) | said)
    assert plan(request_of((asked,), members=members), 0.5) == Plan(Rest())


def test_a_signing_ceremony_of_a_request_that_is_over_is_overtaken():
    under_way = open_step(SIGN, {"a": None, "b": None})
    decided = plan(sign((under_way,), is_final=True), 0.5)
    assert decided == Plan(Rest(), Ended(under_way, Ending.OVERTAKEN, ()))


def test_waiting_for_signers_is_no_failure():
    decided = plan(sign(members={}), 0.5)
    assert paused(decided.decision).code == WAITING
    assert decided == Plan(decided.decision)


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
