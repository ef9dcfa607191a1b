"""The next step of a request to archive or un-archive a key of three signers."""

from typing import Any
from uuid import uuid4

import pytest

from custody.control_plane.conductor.planning.archiving import next_archiving_step
from custody.control_plane.conductor.planning.decisions import Obeyed
from custody.control_plane.conductor.planning.facts import Ending, Request, Step
from custody.control_plane.conductor.planning.obstacles import BLOCKED, WAITING
from custody.control_plane.conductor.planning.plan import plan
from custody.control_plane.jobs.transitions import EXPIRED
from custody.wire.jobs import JobKind
from custody.wire.outcomes import APPROVAL_PENDING, Outcome, OutcomeStatus
from tests.unit.control_plane.conductor.stories import (
    THREE,
    begun,
    denied,
    ended,
    failed,
    nothing,
    paused,
    sign,
    step,
    without,
)

BOTH = (JobKind.ARCHIVE_KEY, JobKind.UNARCHIVE_KEY)


def request(kind: JobKind, said: dict[str, Outcome] | None = None, **more: Any) -> Request:
    """A request whose signers have said so in one step."""
    steps: tuple[Step, ...] = ()
    if said:
        is_done = all(each.status is OutcomeStatus.DONE for each in said.values())
        steps = (step(kind, said, Ending.DONE if is_done else Ending.FAILED),)
    return sign(steps, kind=kind, **more)


@pytest.mark.parametrize("kind", BOTH)
def test_all_signers_get_the_order_and_the_missing_ones_once_more(kind: JobKind):
    first = begun(next_archiving_step(request(kind)))
    assert (first.kind, first.signers, first.share_set_id) == (kind, THREE, None)
    partly = request(kind, {"a": nothing(), "b": failed(), "c": nothing()})
    assert begun(next_archiving_step(partly)).signers == ("b",)
    done = request(kind, {signer: nothing() for signer in THREE})
    assert next_archiving_step(done) == Obeyed()


@pytest.mark.parametrize("kind", BOTH)
def test_it_waits_for_signers_that_are_away(kind: JobKind):
    assert begun(next_archiving_step(without(request(kind), "c"))).signers == ("a", "b")
    waits = without(request(kind, {"a": nothing(), "b": nothing()}), "c")
    reason = paused(next_archiving_step(waits))
    assert reason.code == WAITING
    assert "c" in reason.text


@pytest.mark.parametrize(
    ("kind", "group_of", "done", "is_enough"),
    [
        (JobKind.ARCHIVE_KEY, 2, 1, False),  # two could still sign
        (JobKind.ARCHIVE_KEY, 2, 2, True),
        (JobKind.ARCHIVE_KEY, 3, 1, True),  # all three would have to sign
        (JobKind.UNARCHIVE_KEY, 2, 1, False),
        (JobKind.UNARCHIVE_KEY, 2, 2, True),
        (JobKind.UNARCHIVE_KEY, 3, 2, False),
    ],
)
def test_at_the_end_of_its_time_it_is_done_if_enough_signers_have_done_it(
    kind: JobKind, group_of: int, done: int, is_enough: bool
):
    group = sign().group
    late = request(
        kind,
        {signer: nothing() for signer in THREE[:done]},
        is_late=True,
        group=type(group)(group.name, group_of, group.signers),
    )
    decision = next_archiving_step(late)
    if is_enough:
        assert decision == Obeyed()
        return
    reason = ended(decision)
    assert reason.code == EXPIRED
    assert all(signer in reason.text for signer in THREE[done:])


@pytest.mark.parametrize("kind", BOTH)
def test_signers_that_deny_it_are_left_out_until_too_few_are_left(kind: JobKind):
    """Of two of three, two must archive a key, and two must un-archive it."""
    one = request(kind, {"a": nothing(), "b": nothing(), "c": denied()})
    assert next_archiving_step(one) == Obeyed()
    two = request(kind, {"a": nothing(), "b": denied(), "c": denied()})
    assert ended(next_archiving_step(two), OutcomeStatus.DENIED).code == "gate_rejected"


def test_an_owner_that_has_not_decided_is_asked_again():
    pending = {"a": nothing(), "b": failed(APPROVAL_PENDING), "c": nothing()}
    assert begun(next_archiving_step(request(JobKind.UNARCHIVE_KEY, pending))).signers == ("b",)


def test_one_archival_at_a_time():
    blocked = request(JobKind.UNARCHIVE_KEY, is_blocked=True)
    assert paused(next_archiving_step(blocked)).code == BLOCKED


@pytest.mark.parametrize("kind", BOTH)
def test_an_order_ends_when_each_signer_has_answered(kind: JobKind):
    said = {"a": nothing(), "b": nothing(), "c": nothing()}
    under_way = step(kind, {**said, "c": None}, None, id=uuid4())
    waits = sign((under_way,), kind=kind)
    assert plan(waits, 0.5).ended is None
    over = step(kind, said, None, id=uuid4())
    made = plan(sign((over,), kind=kind), 0.5)
    assert made.ended is not None
    assert made.ended.ending is Ending.DONE
    assert made.decision == Obeyed()
