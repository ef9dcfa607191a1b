"""Import keys: each signer makes one, and the request is done with the last one's statement."""

from typing import Any

from custody.control_plane.conductor.planning.decisions import Prepared
from custody.control_plane.conductor.planning.facts import Ending, Request, SharesInUse, Step
from custody.control_plane.conductor.planning.plan import plan
from custody.control_plane.jobs.transitions import EXPIRED
from custody.wire.jobs import JobKind
from custody.wire.outcomes import Outcome, OutcomeStatus, PreparedImport
from tests.unit.control_plane.conductor.stories import (
    THREE,
    begun,
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


def stated(signer: str) -> Outcome:
    return done(PreparedImport(statements=(signed(signer.encode()),)))


def prepare(*steps: Step, **more: Any) -> Request:
    fields = {"kind": JobKind.PREPARE_IMPORT, "in_use": SharesInUse()}
    return sign(steps, **(fields | more))


def prepared(said: dict[str, Outcome | None], ending: Ending | None = Ending.DONE) -> Step:
    return step(JobKind.PREPARE_IMPORT, said, ending, share_set_id=None)


def decision(request: Request) -> Any:
    return plan(request, 0.5).decision


def test_all_signers_that_are_there_are_asked_at_once():
    assert begun(decision(prepare())).kind is JobKind.PREPARE_IMPORT
    assert begun(decision(prepare())).signers == THREE
    assert begun(decision(without(prepare(), "b"))).signers == ("a", "c")


def test_done_with_the_statements_of_all_in_order_of_their_index():
    first = prepared({"c": stated("c"), "a": stated("a"), "b": failed()}, Ending.FAILED)
    assert begun(decision(prepare(first))).signers == ("b",)
    made = decision(prepare(first, prepared({"b": stated("b")})))
    assert isinstance(made, Prepared)
    assert [each.payload for each in made.statements] == [b"a", b"b", b"c"]


def test_the_open_step_goes_on_until_each_has_answered():
    open_step = prepared({"a": stated("a"), "b": failed(), "c": None}, None)
    assert plan(prepare(open_step), 0.5).ended is None


def test_it_ends_with_its_last_answer_and_without_a_pause():
    last = prepared({signer: stated(signer) for signer in THREE}, None)
    made = plan(prepare(last), 0.5)
    assert made.ended is not None
    assert (made.ended.ending, made.delay_seconds) == (Ending.DONE, 0.0)
    assert isinstance(made.decision, Prepared)


def test_a_signer_that_is_away_is_waited_for():
    first = prepared({"a": stated("a"), "b": stated("b")})
    assert "away: c" in paused(decision(without(prepare(first), "c"))).text


def test_one_signer_that_says_no_ends_it():
    first = prepared({"a": stated("a"), "b": denied("threshold_too_low"), "c": stated("c")})
    reason = ended(decision(prepare(first)), OutcomeStatus.DENIED)
    assert (reason.code, reason.node) == ("threshold_too_low", "b")


def test_it_expires():
    assert ended(decision(prepare(is_late=True))).code == EXPIRED
