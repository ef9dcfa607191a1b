"""What the control plane checks of a node's result before it records it."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from coincurve import PrivateKey

from custody.control_plane.jobs.results import (
    MAX_OUTCOME_SIZE,
    BadResult,
    KeyFacts,
    MadeKey,
    check_result,
    read_outcome,
)
from custody.wire.algorithms import ECDSA_SECP256K1, Curve, Network, Protection, Scheme
from custody.wire.jobs import JobKind
from custody.wire.outcomes import (
    GeneratedKey,
    MadeSignature,
    NothingMade,
    Outcome,
    OutcomeStatus,
    Result,
)
from custody.wire.requests import SignHash
from custody.wire.signatures import finish
from tests.unit.node.requests import job_around

JOB = uuid4()
SECRET = PrivateKey.from_int(7)
PUBLIC_KEY = SECRET.public_key.format()
FACTS = KeyFacts(ECDSA_SECP256K1, Network.ETHEREUM, PUBLIC_KEY)
REQUEST = SignHash(kind="Hash", hash=b"\x05" * 32)
PAYLOAD = job_around(REQUEST, id=JOB).model_dump_json().encode()


def done(result: Result | None, job: UUID = JOB) -> Outcome:
    return Outcome(job_id=job, node="zurich-1", status=OutcomeStatus.DONE, result=result)


def checked(result: Result | None, kind: JobKind, facts: KeyFacts = FACTS) -> MadeKey | None:
    return check_result(done(result), kind, PAYLOAD, facts)


def made_key(**changes: Any) -> GeneratedKey:
    fields: dict[str, Any] = {
        "scheme": Scheme.ECDSA,
        "curve": Curve.SECP256K1,
        "public_key": PUBLIC_KEY,
        "protection": Protection.HSM,
    }
    return GeneratedKey(**fields | changes)


def made_signature(request: SignHash = REQUEST, secret: PrivateKey = SECRET) -> MadeSignature:
    raw = secret.sign_recoverable(request.hash, hasher=None)[:64]
    public_key = secret.public_key.format()
    signature = finish(raw, public_key, ECDSA_SECP256K1, Network.ETHEREUM, request, request.hash)
    return MadeSignature(digest=request.hash, signature=signature)


def test_an_outcome_of_another_job_is_none_of_this_one():
    raw = done(None, uuid4()).model_dump_json().encode()
    with pytest.raises(BadResult, match="of another job"):
        read_outcome(raw, JOB, "zurich-1")


def test_an_outcome_has_a_limit_of_size():
    raw = done(None).model_dump_json().encode()
    padded = raw + b" " * (MAX_OUTCOME_SIZE - len(raw))
    assert read_outcome(padded, JOB, "zurich-1") == done(None)
    with pytest.raises(BadResult, match="bytes"):
        read_outcome(padded + b" ", JOB, "zurich-1")


@pytest.mark.parametrize(
    "status", [OutcomeStatus.DENIED, OutcomeStatus.FAILED, OutcomeStatus.REFUSED]
)
def test_an_outcome_without_a_result_says_why(status: OutcomeStatus):
    made = Outcome.model_construct(job_id=JOB, node="zurich-1", status=status)
    with pytest.raises(BadResult, match=r"needs a code|not an outcome"):
        read_outcome(made.model_dump_json().encode(), JOB, "zurich-1")


@pytest.mark.parametrize(
    ("kind", "result"),
    [
        (JobKind.SIGN, made_key()),
        (JobKind.GENERATE_KEY, made_signature()),
        (JobKind.SIGN, NothingMade()),
        (JobKind.GENERATE_KEY, None),
        (JobKind.APPROVE, made_key()),
    ],
)
def test_a_job_has_the_result_of_its_kind(kind: JobKind, result: Result | None):
    with pytest.raises(BadResult, match="cannot be"):
        checked(result, kind)


def test_a_made_key_is_of_the_algorithm_that_was_asked_for():
    assert checked(made_key(), JobKind.GENERATE_KEY) is not None
    with pytest.raises(BadResult, match="was asked for"):
        checked(made_key(curve=Curve.SECP256R1), JobKind.GENERATE_KEY)


def test_a_made_key_is_a_point_of_its_curve():
    """Also where the model of a result lets through what is none."""
    no_point = made_key().model_copy(update={"public_key": b"\x02" + b"\xff" * 32})
    outcome = done(made_key()).model_copy(update={"result": no_point})
    for facts in (FACTS, KeyFacts(ECDSA_SECP256K1, None, None)):  # with and without an address
        with pytest.raises(BadResult):
            check_result(outcome, JobKind.GENERATE_KEY, PAYLOAD, facts)


def test_a_signature_is_of_the_request_by_the_key():
    assert checked(made_signature(), JobKind.SIGN) is None
    other = SignHash(kind="Hash", hash=b"\x06" * 32)
    for wrong in (
        made_signature(other),
        made_signature(other).model_copy(update={"digest": REQUEST.hash}),
        made_signature().model_copy(update={"digest": other.hash}),
        made_signature(secret=PrivateKey.from_int(8)),
    ):
        with pytest.raises(BadResult):
            checked(wrong, JobKind.SIGN)


def test_a_key_that_is_not_active_has_made_no_signature():
    with pytest.raises(BadResult, match="not active"):
        checked(made_signature(), JobKind.SIGN, KeyFacts(ECDSA_SECP256K1, None, None))
