"""What a report does to a job, without a database: every status in every state."""

from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from coincurve import PrivateKey

from custody.control_plane.jobs.reasons import RecordedOutcome
from custody.control_plane.jobs.results import KeyFacts
from custody.control_plane.jobs.transitions import (
    LEASE_LAPSED,
    NO_NODE_WORKS,
    Change,
    JobFacts,
    Note,
    backoff,
    decide,
    expire,
    fail_unreported,
    stranded,
)
from custody.control_plane.tables import TRANSITIONS, JobState
from custody.wire.algorithms import ECDSA_SECP256K1, EDDSA_ED25519, Network
from custody.wire.jobs import JobKind
from custody.wire.outcomes import APPROVAL_PENDING, MadeSignature, Outcome, OutcomeStatus
from custody.wire.requests import SignHash
from custody.wire.signatures import finish
from tests.unit.control_plane.test_results import FACTS, PAYLOAD, made_key
from tests.unit.node.requests import job_around

NODE = "driver-1"
LEASE = uuid4()
FINAL = [JobState.DONE, JobState.DENIED, JobState.FAILED]
JOB = JobFacts(
    id=uuid4(),
    kind="Sign",
    payload=b"{}",
    state=JobState.LEASED,
    attempt=1,
    lease=LEASE,
    lease_node=NODE,
    refused_by=frozenset(),
    outcome=None,
    key=KeyFacts(EDDSA_ED25519, None, bytes(32)),
)


def outcome(status: OutcomeStatus, transient: bool = False) -> bytes:
    made = Outcome(
        job_id=JOB.id, node=NODE, status=status, code="code", reason="why", transient=transient
    )
    return made.model_dump_json().encode()


def report(
    status: OutcomeStatus,
    job: JobFacts = JOB,
    transient: bool = False,
    lease: UUID | None = LEASE,
    willing: frozenset[str] = frozenset(),
) -> Change:
    return decide(job, NODE, lease, outcome(status, transient), willing, 0.5)


def test_a_denial_ends_the_job():
    raw = outcome(OutcomeStatus.DENIED)
    assert report(OutcomeStatus.DENIED) == Change(JOB, Note.RECORDED, JobState.DENIED, raw)


def test_a_denial_counts_without_the_lease():
    queued = replace(JOB, state=JobState.QUEUED, lease=None, lease_node=None)
    assert report(OutcomeStatus.DENIED, queued).state is JobState.DENIED
    taken = replace(JOB, lease=uuid4(), lease_node="driver-2")
    assert report(OutcomeStatus.DENIED, taken).state is JobState.DENIED


@pytest.mark.parametrize("status", [OutcomeStatus.FAILED, OutcomeStatus.REFUSED])
@pytest.mark.parametrize(
    "job",
    [
        replace(JOB, state=JobState.QUEUED, lease=None, lease_node=None),
        replace(JOB, lease=uuid4()),
        replace(JOB, lease_node="driver-2"),
    ],
)
def test_what_asks_for_another_attempt_counts_with_the_lease_only(
    status: OutcomeStatus, job: JobFacts
):
    assert report(status, job) == Change(job, Note.RETRIED)


def test_a_transient_failure_queues_again_after_a_pause():
    change = report(OutcomeStatus.FAILED, replace(JOB, attempt=3), transient=True)
    assert (change.note, change.state, change.outcome) == (Note.RETRIED, JobState.QUEUED, None)
    assert change.last_failure == outcome(OutcomeStatus.FAILED, transient=True)
    assert change.delay_seconds == 4
    often = report(OutcomeStatus.FAILED, replace(JOB, attempt=30), transient=True)
    assert often.delay_seconds == 60


def test_a_failure_that_is_not_transient_ends_the_job():
    raw = outcome(OutcomeStatus.FAILED)
    assert report(OutcomeStatus.FAILED) == Change(JOB, Note.RECORDED, JobState.FAILED, raw)


def test_a_refused_job_goes_at_once_to_another_willing_node():
    raw = outcome(OutcomeStatus.REFUSED)
    assert report(OutcomeStatus.REFUSED, willing=frozenset({NODE, "driver-2"})) == Change(
        JOB, Note.RETRIED, JobState.QUEUED, last_failure=raw, refused_by=NODE
    )


@pytest.mark.parametrize("willing", [set(), {NODE}, {"driver-2"}, {NODE, "driver-2"}])
def test_a_job_that_every_node_refused_has_failed(willing: set[str]):
    job = replace(JOB, refused_by=frozenset({"driver-2"}))
    raw = outcome(OutcomeStatus.REFUSED)
    assert report(OutcomeStatus.REFUSED, job, willing=frozenset(willing)) == Change(
        job, Note.RECORDED, JobState.FAILED, raw, refused_by=NODE
    )


@pytest.mark.parametrize("state", FINAL)
def test_nothing_changes_a_final_job(state: JobState):
    job = replace(JOB, state=state, outcome=outcome(OutcomeStatus.DENIED))
    assert report(OutcomeStatus.DENIED, job) == Change(job, Note.DUPLICATE)
    assert report(OutcomeStatus.FAILED, job) == Change(job, Note.LATE)
    job = replace(job, outcome=b"another")
    raw = outcome(OutcomeStatus.DENIED)
    assert report(OutcomeStatus.DENIED, job) == Change(job, Note.LATE, late_outcome=raw)


@pytest.mark.parametrize("state", FINAL)
def test_rubbish_about_a_final_job_is_late_and_not_kept(state: JobState):
    job = replace(JOB, state=state, outcome=b"another")
    change = decide(job, NODE, LEASE, b"rubbish", frozenset(), 0.5)
    assert change.fault
    assert change == Change(job, Note.LATE, fault=change.fault)


def test_rubbish_is_a_transient_failure_that_says_whose():
    change = decide(JOB, NODE, LEASE, b"rubbish", frozenset(), 0.5)
    assert (change.state, change.delay_seconds) == (JobState.QUEUED, 1)
    failure = Outcome.model_validate_json(change.last_failure or b"")
    assert (failure.code, failure.node, failure.transient) == ("bad_result", NODE, True)
    assert change.fault
    assert change.fault in (failure.reason or "")


def test_rubbish_without_the_lease_changes_nothing():
    change = decide(JOB, NODE, uuid4(), b"rubbish", frozenset(), 0.5)
    assert change.fault
    assert change == Change(JOB, Note.RETRIED, fault=change.fault)


def test_done_without_a_result_is_rubbish():
    change = report(OutcomeStatus.DONE)
    assert change.state is JobState.QUEUED
    assert "cannot be nothing" in str(change.fault)


def test_an_expired_job_tells_of_its_last_failure():
    change = expire(JOB, outcome(OutcomeStatus.FAILED, transient=True))
    assert change == Change(JOB, Note.RECORDED, JobState.FAILED, change.outcome, is_expiry=True)
    ended = RecordedOutcome.model_validate_json(change.outcome or b"")
    assert (ended.code, ended.node) == ("expired", None)
    assert "code: why" in str(ended.reason)


def test_the_pause_doubles_up_to_a_minute():
    assert [backoff(attempt, 0.5) for attempt in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert backoff(1_000_000, 0.5) == 60


def test_an_owner_who_has_not_decided_is_asked_again_soon():
    pending = Outcome(
        job_id=JOB.id,
        node=NODE,
        status=OutcomeStatus.FAILED,
        code=APPROVAL_PENDING,
        reason="waits for a person",
        transient=True,
    )
    raw = pending.model_dump_json().encode()
    change = decide(replace(JOB, attempt=20), NODE, LEASE, raw, frozenset(), 0.5)
    assert (change.state, change.delay_seconds) == (JobState.QUEUED, 15)


def test_the_pause_varies_by_a_quarter():
    assert (backoff(1, 0), backoff(1, 1)) == (0.75, 1.25)


@pytest.mark.parametrize("state", FINAL)
def test_no_change_can_leave_a_final_state(state: JobState):
    assert TRANSITIONS[state] == set()
    with pytest.raises(RuntimeError, match="cannot go from"):
        Change(replace(JOB, state=state), Note.RECORDED, JobState.QUEUED)


def test_the_last_failure_is_named_when_the_time_is_over():
    without = RecordedOutcome.model_validate_json(expire(JOB, None).outcome or b"")
    after = RecordedOutcome.model_validate_json(
        expire(JOB, outcome(OutcomeStatus.FAILED)).outcome or b""
    )
    assert after.summary == f"{without.summary}; the last attempt ended with code"
    assert after.reason == f"{after.summary}: why"
    assert without.reason == without.summary


def test_a_job_that_nodes_take_and_never_report_fails_and_names_the_last_node():
    change = fail_unreported(JOB, 5)
    recorded = RecordedOutcome.model_validate_json(change.outcome or b"")
    assert (change.note, change.state) == (Note.RECORDED, JobState.FAILED)
    assert (recorded.status, recorded.code) == (OutcomeStatus.FAILED, LEASE_LAPSED)
    assert not recorded.transient
    assert recorded.summary is not None
    assert recorded.summary.startswith("5 times")
    assert NODE not in recorded.summary
    assert NODE in (recorded.reason or "")


@pytest.mark.parametrize(
    ("nodes", "text"), [("driver-1: the disk is full", "the disk is full"), (None, "registered")]
)
def test_a_job_without_a_working_node_says_why_and_may_still_be_done(nodes, text):
    recorded = RecordedOutcome.model_validate_json(stranded(JOB.id, nodes))
    assert (recorded.code, recorded.transient) == (NO_NODE_WORKS, True)
    assert text in (recorded.reason or "")
    assert recorded.summary is not None
    assert text not in recorded.summary


def test_a_key_that_a_node_made_goes_along_with_the_end_of_its_job():
    job = replace(JOB, kind=JobKind.GENERATE_KEY, payload=PAYLOAD, key=FACTS)
    told = Outcome(job_id=JOB.id, node=NODE, status=OutcomeStatus.DONE, result=made_key())
    raw = told.model_dump_json().encode()
    change = decide(job, NODE, LEASE, raw, frozenset(), 0.5)
    assert change.new_key is not None
    assert change.new_key.public_key == FACTS.public_key
    assert change == Change(job, Note.RECORDED, JobState.DONE, raw, new_key=change.new_key)


def test_a_result_that_is_verified_ends_the_job_and_one_that_is_not_does_not():
    request = SignHash(kind="Hash", hash=b"\x05" * 32)
    secret = PrivateKey.from_int(7)
    public_key = secret.public_key.format()
    job = replace(
        JOB,
        payload=job_around(request, id=JOB.id).model_dump_json().encode(),
        key=KeyFacts(ECDSA_SECP256K1, Network.ETHEREUM, public_key),
    )

    def signed(by: PrivateKey) -> bytes:
        raw = by.sign_recoverable(request.hash, hasher=None)[:64]
        made = finish(
            raw, by.public_key.format(), ECDSA_SECP256K1, Network.ETHEREUM, request, request.hash
        )
        told = Outcome(
            job_id=JOB.id,
            node=NODE,
            status=OutcomeStatus.DONE,
            result=MadeSignature(digest=request.hash, signature=made),
        )
        return told.model_dump_json().encode()

    good, bad = (
        decide(job, NODE, LEASE, signed(by), frozenset(), 0.5)
        for by in (secret, PrivateKey.from_int(8))
    )
    assert good == Change(job, Note.RECORDED, JobState.DONE, signed(secret))
    assert bad.state is not JobState.DONE
    assert bad.fault is not None
