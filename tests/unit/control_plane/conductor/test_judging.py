"""What signers report is checked: whose it is, what it is about, whether it holds."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from coincurve import PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.control_plane.conductor.judging import GivenTask, judge
from custody.wire.algorithms import ECDSA_SECP256K1, Curve, Network, Protection, Scheme, Store
from custody.wire.encoding import Model
from custody.wire.imports import ImportedKey
from custody.wire.jobs import Endpoint, Job, JobKind, KeyReference
from custody.wire.outcomes import (
    AbandonedShare,
    ActivatedShare,
    Approved,
    MadeSignature,
    NothingMade,
    Outcome,
    OutcomeStatus,
    PreparedShare,
    PromisedShare,
    Result,
)
from custody.wire.possession import possession_request
from custody.wire.requests import CreateKey, SignHash, SignMessage
from custody.wire.signatures import finish
from custody.wire.signed_bytes import (
    ABANDONMENT_TYPE,
    ATTESTATION_TYPE,
    CONFIRMATION_TYPE,
    PROMISE_TYPE,
    SignedBytes,
    SigningKey,
)
from custody.wire.statements import Abandonment, Attestation, Confirmation, MadeFor, Promise
from custody.wire.tickets import CeremonyKind, Participant, Protocol, Ticket

ME, OTHER = SigningKey(Ed25519PrivateKey.generate()), SigningKey(Ed25519PrivateKey.generate())
SIGNERS = ["signer-1", "signer-2"]
KEY = PrivateKey()
PUBLIC_KEY = KEY.public_key.format()
STEP, KEY_ID, SHARES = uuid4(), uuid4(), uuid4()
BODY = b'{"scheme": "ECDSA", "curve": "secp256k1", "store": "hsm", "external_id": "order-7"}'
IMPORT = CreateKey(
    scheme=Scheme.ECDSA,
    curve=Curve.SECP256K1,
    store=Store.MPC,
    signer_group="treasury",
    external_id="order-7",
    imported=ImportedKey(
        import_id=uuid4(),
        public_key=PUBLIC_KEY,
        commitments=(PUBLIC_KEY, PrivateKey().public_key.format()),
        chain_code=bytes(32),
        sealed=dict.fromkeys(SIGNERS, b"sealed"),
    ),
)
REQUEST = SignHash(kind="Hash", hash=b"\x05" * 32)
MADE_FOR = MadeFor(endpoint=Endpoint.KEYS, external_id="order-7", application=None)
CONFIRMATION = Confirmation(
    key_id=KEY_ID,
    ceremony=STEP,
    generation=0,
    protocol=Protocol.DKLS23_SECP256K1,
    group="treasury",
    threshold=2,
    signers=SIGNERS,
    public_key=PUBLIC_KEY,
    chain_code=bytes(32),
    transcript=bytes(32),
    made_for=MADE_FOR,
    signer="signer-1",
    index=1,
)
PROMISE = Promise(**CONFIRMATION.model_dump(exclude={"ceremony"}), ceremony=SHARES)
ATTESTATION = Attestation(
    key_id=KEY_ID,
    made_for=MADE_FOR,
    network=None,
    store=Store.MPC,
    scheme=Scheme.ECDSA,
    curve=Curve.SECP256K1,
    public_key=PUBLIC_KEY,
    chain_code=bytes(32),
    protection=Protection.MPC,
    group="treasury",
    threshold=2,
    signers=SIGNERS,
    node="signer-1",
)
ABANDONMENT = Abandonment(key_id=KEY_ID, ceremony=SHARES, signer="signer-1")


def signed(payload_type: str, statement: Model, by: SigningKey = ME) -> SignedBytes:
    return by.sign(payload_type, statement.model_dump_json().encode())


def changed(statement: Any, **fields: Any) -> Any:
    return statement.model_copy(update=fields)


EVIDENCE = {
    JobKind.PROMISE: (signed(CONFIRMATION_TYPE, changed(CONFIRMATION, ceremony=SHARES)),),
    JobKind.ACTIVATE_KEY: (signed(PROMISE_TYPE, PROMISE),),
}


def task(
    kind: JobKind,
    public_key: bytes | None = PUBLIC_KEY,
    share_set_id: UUID | None = None,
    request: bytes = BODY,
) -> GivenTask:
    now = datetime.now(UTC)
    is_sign = kind is JobKind.SIGN
    job = Job(
        id=STEP,
        step_of=None if is_sign else uuid4(),
        kind=kind,
        group="mpc",
        key=KeyReference(
            id=KEY_ID,
            scheme=Scheme.ECDSA,
            curve=Curve.SECP256K1,
            network=None,
            public_key=public_key,
        ),
        endpoint=Endpoint.SIGNATURES if is_sign else Endpoint.KEYS,
        request=REQUEST.model_dump_json().encode() if is_sign else request,
        evidence=EVIDENCE.get(kind, ()),
        ceremony=share_set_id,
        created_at=now,
        expires_at=now + timedelta(minutes=1),
    )
    ticket = Ticket(
        ceremony=STEP,
        meeting=uuid4(),
        secret=bytes(32),
        kind=CeremonyKind.GENERATE,
        job_id=STEP,
        job_digest=bytes(32),
        key_id=KEY_ID,
        generation=0,
        share_set_id=None,
        protocol=Protocol.DKLS23_SECP256K1,
        group="treasury",
        threshold=2,
        signers=SIGNERS,
        participants=[
            Participant(signer=signer, index=index) for index, signer in enumerate(SIGNERS, 1)
        ],
        delivery="delivery-1",
        issued_at=now,
        expires_at=now + timedelta(minutes=1),
    )
    return GivenTask(
        step_id=STEP,
        request_id=uuid4(),
        job_id=STEP,
        kind=kind,
        lease=uuid4(),
        payload=job.model_dump_json().encode(),
        ticket=ticket.model_dump_json().encode(),
        begun_at=now,
    )


def fault_of(given: GivenTask, result: Result | None, node: str = "signer-1") -> str | None:
    """What is wrong with a DONE outcome; None when it counts."""
    outcome = Outcome(job_id=STEP, node=node, status=OutcomeStatus.DONE, result=result)
    raw = outcome.model_dump_json().encode()
    judged = judge(given, "signer-1", ME.public_key, raw)
    if judged.fault is None:
        assert judged.raw == raw
    else:
        assert judged.outcome.status is OutcomeStatus.FAILED
        assert (judged.outcome.code, judged.outcome.transient) == ("bad_result", True)
        assert judged.outcome.culprits == ("signer-1",)
    return judged.fault


def prepared(confirmation: Confirmation = CONFIRMATION, by: SigningKey = ME) -> PreparedShare:
    return PreparedShare(confirmation=signed(CONFIRMATION_TYPE, confirmation, by))


def promised(promise: Promise = PROMISE, by: SigningKey = ME) -> PromisedShare:
    return PromisedShare(promise=signed(PROMISE_TYPE, promise, by))


def test_a_signers_own_true_statements_count():
    assert fault_of(task(JobKind.GENERATE_KEY, None), prepared()) is None
    assert fault_of(task(JobKind.REFRESH_KEY), prepared()) is None
    activated = ActivatedShare(attestation=signed(ATTESTATION_TYPE, ATTESTATION))
    assert fault_of(task(JobKind.ACTIVATE_KEY, share_set_id=SHARES), activated) is None
    abandoned = AbandonedShare(abandonment=signed(ABANDONMENT_TYPE, ABANDONMENT))
    assert fault_of(task(JobKind.ABANDON, share_set_id=SHARES), abandoned) is None
    for kind in (JobKind.PROMISE, JobKind.ABANDON):
        assert fault_of(task(kind, share_set_id=SHARES), promised()) is None
    assert fault_of(task(JobKind.APPROVE), Approved()) is None
    assert fault_of(task(JobKind.DISCARD, share_set_id=SHARES), NothingMade()) is None
    assert fault_of(task(JobKind.REPAIR_SHARE), NothingMade()) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"signer": "signer-2"},
        {"index": 2},
        {"key_id": uuid4()},
        {"ceremony": uuid4()},
        {"generation": 1},
        {"group": "another"},
        {"threshold": 1},
        {"signers": ["signer-1", "signer-3"]},
        {"protocol": Protocol.FROST_ED25519},
        {"public_key": bytes(33)},
        {"public_key": PUBLIC_KEY[1:]},
    ],
    ids=",".join,
)
def test_a_confirmation_of_something_else_is_a_fault(fields: dict[str, Any]):
    given = task(JobKind.GENERATE_KEY, None)
    assert fault_of(given, prepared(changed(CONFIRMATION, **fields))) is not None


def importing(kind: JobKind, public_key: bytes | None = None, **more: Any) -> GivenTask:
    return task(kind, public_key, request=IMPORT.model_dump_json().encode(), **more)


@pytest.mark.parametrize(
    ("fields", "is_right"),
    [
        ({}, True),
        ({"public_key": PrivateKey().public_key.format()}, False),
        ({"chain_code": b"\x01" * 32}, False),
        ({"chain_code": None}, False),
    ],
)
def test_the_confirmation_of_an_import_is_of_the_announced_key(
    fields: dict[str, Any], is_right: bool
):
    said = prepared(changed(CONFIRMATION, **fields))
    assert (fault_of(importing(JobKind.IMPORT_KEY), said) is None) is is_right


def test_the_confirmation_of_an_import_needs_a_request_that_imports():
    assert fault_of(task(JobKind.IMPORT_KEY, None), prepared()) is not None


def test_an_attestation_says_whether_the_key_was_imported():
    imported = MADE_FOR.model_copy(update={"imported": True})
    true = changed(ATTESTATION, made_for=imported, imported=True)
    half = changed(ATTESTATION, imported=True)
    other_half = changed(ATTESTATION, made_for=imported)

    def fault(given: GivenTask, attestation: Attestation) -> str | None:
        said = ActivatedShare(attestation=signed(ATTESTATION_TYPE, attestation))
        return fault_of(given, said)

    given = importing(JobKind.ACTIVATE_KEY, PUBLIC_KEY, share_set_id=SHARES)
    assert fault(given, true) is None
    for wrong in (ATTESTATION, half, other_half):
        assert fault(given, wrong) is not None
    generated = task(JobKind.ACTIVATE_KEY, share_set_id=SHARES)
    assert fault(generated, ATTESTATION) is None
    for wrong in (true, half, other_half):
        assert fault(generated, wrong) is not None


def test_a_refresh_that_changes_the_key_is_a_fault():
    another = changed(CONFIRMATION, public_key=PrivateKey().public_key.format())
    assert fault_of(task(JobKind.REFRESH_KEY), prepared(another)) is not None


def test_a_statement_under_another_identity_is_a_fault():
    given = task(JobKind.GENERATE_KEY, None)
    assert fault_of(given, prepared(by=OTHER)) is not None
    under_my_name = changed(
        signed(CONFIRMATION_TYPE, CONFIRMATION, OTHER), signing_key_id=ME.key_id
    )
    assert fault_of(given, PreparedShare(confirmation=under_my_name)) is not None
    as_another_kind = signed(ATTESTATION_TYPE, CONFIRMATION)
    assert fault_of(given, PreparedShare(confirmation=as_another_kind)) is not None


@pytest.mark.parametrize(
    "fields",
    [
        {"signer": "signer-2", "index": 2},
        {"key_id": uuid4()},
        {"ceremony": uuid4()},
        {"public_key": PrivateKey().public_key.format()},
        {"transcript": b"\x01" * 32},
        {"signers": ["signer-1", "signer-3"]},
        {"threshold": 1},
    ],
    ids=",".join,
)
def test_a_promise_of_anything_but_what_was_confirmed_is_a_fault(fields: dict[str, Any]):
    given = task(JobKind.PROMISE, share_set_id=SHARES)
    assert fault_of(given, promised(changed(PROMISE, **fields))) is not None


def test_a_promise_under_another_identity_is_a_fault():
    for kind in (JobKind.PROMISE, JobKind.ABANDON):
        assert fault_of(task(kind, share_set_id=SHARES), promised(by=OTHER)) is not None


@pytest.mark.parametrize(
    "fields",
    [
        {"node": "signer-2"},
        {"key_id": uuid4()},
        {"public_key": PrivateKey().public_key.format()},
        {"chain_code": b"\x01" * 32},
        {"threshold": 1},
        {"signers": ["signer-1", "signer-3"]},
        {"group": "another"},
        {"protection": Protection.HSM},
        {"store": Store.HSM},
        {"network": Network.ETHEREUM},
        {"made_for": None},
        {"made_for": MADE_FOR.model_copy(update={"external_id": "order-8"})},
        {"made_for": MADE_FOR.model_copy(update={"application": ME.public_key})},
    ],
    ids=",".join,
)
def test_an_attestation_of_anything_but_what_was_confirmed_is_a_fault(fields: dict[str, Any]):
    said = ActivatedShare(attestation=signed(ATTESTATION_TYPE, changed(ATTESTATION, **fields)))
    assert fault_of(task(JobKind.ACTIVATE_KEY, share_set_id=SHARES), said) is not None


@pytest.mark.parametrize(
    "fields", [{"signer": "signer-2"}, {"key_id": uuid4()}, {"ceremony": uuid4()}], ids=",".join
)
def test_an_abandonment_of_something_else_is_a_fault(fields: dict[str, Any]):
    said = AbandonedShare(abandonment=signed(ABANDONMENT_TYPE, changed(ABANDONMENT, **fields)))
    assert fault_of(task(JobKind.ABANDON, share_set_id=SHARES), said) is not None


def signature(request: SignHash | SignMessage, digest: bytes) -> MadeSignature:
    raw = KEY.sign_recoverable(digest, hasher=None)[:64]
    made = finish(raw, PUBLIC_KEY, ECDSA_SECP256K1, None, request, digest)
    return MadeSignature(digest=digest, signature=made)


def test_a_signature_that_verifies_counts_and_no_other():
    given = task(JobKind.SIGN)
    right = signature(REQUEST, REQUEST.hash)
    assert fault_of(given, right) is None
    other = SignHash(kind="Hash", hash=b"\x06" * 32)
    assert fault_of(given, signature(other, other.hash)) is not None
    forged = changed(right.signature, r=bytes(32))
    assert fault_of(given, changed(right, signature=forged)) is not None


def test_the_proof_of_a_set_is_over_that_sets_own_message():
    given = task(JobKind.PROVE_KEY, share_set_id=SHARES)
    for ceremony, counts in ((SHARES, True), (STEP, False), (None, False)):
        request, digest = possession_request(ECDSA_SECP256K1, KEY_ID, ceremony)
        assert digest is not None
        assert (fault_of(given, signature(request, digest)) is None) is counts


def test_a_result_of_another_kind_of_job_is_a_fault():
    for kind in JobKind:
        assert fault_of(task(kind, share_set_id=SHARES), None) is not None
    assert fault_of(task(JobKind.GENERATE_KEY, None), Approved()) is not None
    assert fault_of(task(JobKind.APPROVE), NothingMade()) is not None


def test_an_outcome_of_another_signer_is_a_fault():
    assert fault_of(task(JobKind.APPROVE), Approved(), node="signer-2") is not None


def test_rubbish_is_a_fault():
    judged = judge(task(JobKind.APPROVE), "signer-1", ME.public_key, b"rubbish")
    assert judged.fault is not None
