"""What an application is told of why its request is not done, and what is for operators alone."""

from uuid import uuid4

import pytest

from custody.control_plane.conductor.planning import obstacles
from custody.control_plane.conductor.planning.decisions import End, Pause
from custody.control_plane.conductor.planning.facts import Member, Request, SignerGroup
from custody.control_plane.jobs.reasons import (
    ABOUT_THE_REQUEST,
    DENIED,
    FAILED,
    PENDING,
    RecordedOutcome,
    reason_of,
    summary_of,
)
from custody.control_plane.jobs.results import KeyFacts
from custody.control_plane.jobs.transitions import JobFacts, expire
from custody.control_plane.tables import JobState
from custody.wire.algorithms import ECDSA_SECP256K1
from custody.wire.jobs import JobKind
from custody.wire.outcomes import Outcome, OutcomeStatus

FROZEN = "this node is frozen at noon by ada: lost laptop; run hsm-driver unfreeze"
REQUEST = Request(uuid4(), JobKind.SIGN, SignerGroup("treasury", 2, ("s-1", "s-2", "s-3")))


def outcome(code: str, reason: str, status: OutcomeStatus = OutcomeStatus.FAILED) -> Outcome:
    return Outcome(job_id=uuid4(), node="zurich-1", status=status, code=code, reason=reason)


def recorded(made: Outcome) -> bytes:
    return made.model_dump_json().encode()


@pytest.mark.parametrize(
    ("status", "is_final", "text"),
    [
        (OutcomeStatus.FAILED, False, PENDING),
        (OutcomeStatus.FAILED, True, FAILED),
        (OutcomeStatus.DENIED, True, DENIED),
    ],
)
@pytest.mark.parametrize("code", ["frozen", "hsm_failure", "replayed", "a_later_code"])
def test_what_nodes_say_of_themselves_is_for_operators(
    code: str, status: OutcomeStatus, is_final: bool, text: str
):
    raw = recorded(outcome(code, FROZEN, status))
    shown = reason_of(raw, is_final, sees_details=False)
    assert (shown.code, shown.detail, shown.node) == (code, text, None)
    whole = reason_of(raw, is_final, sees_details=True)
    assert (whole.code, whole.detail, whole.node) == (code, FROZEN, "zurich-1")


@pytest.mark.parametrize("code", sorted(ABOUT_THE_REQUEST))
def test_what_is_about_the_request_is_told_to_its_application(code: str):
    raw = recorded(outcome(code, "over the daily limit", OutcomeStatus.DENIED))
    shown = reason_of(raw, is_final=True, sees_details=False)
    assert (shown.code, shown.detail, shown.node) == (code, "over the daily limit", None)


def test_whom_a_node_blames_is_for_operators():
    blaming = outcome("peer_silent", "nothing came").model_copy(update={"culprits": ("s-2",)})
    assert "s-2" not in str(reason_of(recorded(blaming), False, sees_details=False))
    assert "(to blame: s-2)" in reason_of(recorded(blaming), False, sees_details=True).detail


def test_several_that_say_the_same_of_the_request_say_it_once():
    no = outcome("gate_rejected", "over the daily limit", OutcomeStatus.DENIED)
    other = outcome("bare_hash_refused", "no bare hashes", OutcomeStatus.DENIED)
    assert summary_of([no, no, other]) == "over the daily limit; no bare hashes"
    assert summary_of([no, outcome("frozen", FROZEN)]) is None


def test_signers_that_are_missing_are_counted_and_not_named():
    members = {"s-1": Member(), "s-2": Member(is_there=False, problem=FROZEN)}
    request = Request(REQUEST.id, REQUEST.kind, REQUEST.group, members=members)
    paused = obstacles.waiting(request, 2, request.group.signers, ())
    assert isinstance(paused, Pause)
    assert "ada" in paused.reason.text
    assert paused.reason.summary == "1 of the 2 signers needed are there"


def test_bans_are_not_named():
    pairs = [frozenset(("s-1", "s-2")), frozenset(("s-2", "s-3")), frozenset(("s-1", "s-3"))]
    end = obstacles.hopeless(REQUEST, 2, REQUEST.group.signers, pairs)
    assert isinstance(end, End)
    assert "s-1 and s-2" in end.reason.text
    assert end.reason.summary is not None
    assert "s-1" not in end.reason.summary


def test_an_expiry_says_how_the_last_attempt_ended_and_not_what_the_node_said():
    job = JobFacts(
        uuid4(), "Sign", b"{}", JobState.QUEUED, KeyFacts(ECDSA_SECP256K1, None, bytes(33))
    )
    change = expire(job, recorded(outcome("frozen", FROZEN)))
    assert change.outcome is not None
    shown = reason_of(change.outcome, is_final=True, sees_details=False)
    assert shown.detail.endswith("the last attempt ended with frozen")
    assert FROZEN in reason_of(change.outcome, is_final=True, sees_details=True).detail


def test_no_node_can_say_what_every_application_is_told():
    raw = RecordedOutcome(
        job_id=uuid4(), node="zurich-1", status=OutcomeStatus.FAILED, summary="call 0800"
    )
    with pytest.raises(ValueError, match="Extra inputs"):
        Outcome.model_validate_json(raw.model_dump_json())
