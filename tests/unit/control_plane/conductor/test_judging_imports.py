"""A signer's statement about an import key is checked: whose it is, and for which import."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.control_plane.conductor.judging import GivenTask, Judged, judge
from custody.wire.algorithms import (
    ECDSA_SECP256K1,
    EDDSA_ED25519,
    Algorithm,
    Curve,
    Protection,
    Scheme,
    Store,
)
from custody.wire.hybrid_keys import HybridPrivateKey
from custody.wire.imports import ImportKeyStatement, Wrapping
from custody.wire.jobs import Endpoint, Job, JobKind, KeyHolders, KeyReference
from custody.wire.outcomes import Outcome, OutcomeStatus, PreparedImport
from custody.wire.requests import CreateImport
from custody.wire.signed_bytes import (
    ATTESTATION_TYPE,
    IMPORT_KEY_TYPE,
    DetachedSignature,
    SigningKey,
)
from tests.unit.control_plane.conductor.stories import THREE, failed

ME, OTHER, APPLICATION = (SigningKey(Ed25519PrivateKey.generate()) for _ in range(3))
STEP, IMPORT = uuid4(), uuid4()
NOW = datetime.now(UTC)
HOLDERS = KeyHolders(group="treasury", threshold=2, signers=THREE)
STATEMENT = ImportKeyStatement(
    import_id=IMPORT,
    application=None,
    scheme=Scheme.ECDSA,
    curve=Curve.SECP256K1,
    protection=Protection.MPC,
    wrapping=Wrapping.HPKE,
    import_key=HybridPrivateKey.generate().public_key,
    expires_at=NOW + timedelta(hours=1),
    group="treasury",
    threshold=2,
    signers=list(THREE),
    node="a",
)


def task(signed_by: SigningKey | None = None, algorithm: Algorithm = ECDSA_SECP256K1) -> GivenTask:
    scheme, curve = algorithm
    body = CreateImport(store=Store.MPC, signer_group="treasury", scheme=scheme, curve=curve)
    signature = None
    if signed_by is not None:
        signature = DetachedSignature(signature=bytes(64), signing_key_id=signed_by.key_id)
    job = Job(
        id=STEP,
        step_of=IMPORT,
        kind=JobKind.PREPARE_IMPORT,
        group="mpc",
        key=KeyReference(id=IMPORT, scheme=scheme, curve=curve, network=None, public_key=None),
        endpoint=Endpoint.IMPORTS,
        request=body.model_dump_json().encode(),
        request_signature=signature,
        created_at=NOW,
        expires_at=NOW + timedelta(minutes=1),
        holders=HOLDERS,
    )
    return GivenTask(
        step_id=STEP,
        request_id=IMPORT,
        job_id=STEP,
        kind=JobKind.PREPARE_IMPORT,
        lease=uuid4(),
        payload=job.model_dump_json().encode(),
        ticket=None,
        begun_at=NOW,
    )


def judged(
    given: GivenTask,
    by: SigningKey = ME,
    kind: str = IMPORT_KEY_TYPE,
    count: int = 1,
    **fields: Any,
) -> Judged:
    statement = STATEMENT.model_copy(update=fields)
    signed = by.sign(kind, statement.model_dump_json().encode())
    outcome = Outcome(
        job_id=STEP,
        node="a",
        status=OutcomeStatus.DONE,
        result=PreparedImport(statements=(signed,) * count),
    )
    return judge(given, "a", ME.public_key, outcome.model_dump_json().encode())


def test_a_signers_own_statement_about_this_import_counts():
    assert judged(task()).fault is None
    assert judged(task(APPLICATION)).fault is None
    assert judged(task(APPLICATION), application=APPLICATION.public_key).fault is None


@pytest.mark.parametrize(
    "fields",
    [
        {"import_id": uuid4()},
        {"node": "b"},
        {"group": "another"},
        {"threshold": 3},
        {"signers": ["a", "c", "b"]},
        {"scheme": Scheme.SCHNORR},
        {"application": OTHER.public_key},
        {"import_key": bytes(32)},
        {"protection": Protection.HSM, "wrapping": Wrapping.RSA_OAEP_AES_KWP_SHA1,
         "threshold": 1, "signers": ["a"]},
    ],
    ids=",".join,
)  # fmt: skip
def test_a_statement_about_anything_else_is_a_fault(fields: dict[str, Any]):
    assert judged(task(APPLICATION), **fields).fault is not None
    assert judged(task(APPLICATION), **fields).outcome.culprits == ("a",)


def test_a_statement_for_another_algorithm_is_a_fault():
    assert judged(task(algorithm=EDDSA_ED25519)).fault is not None


def test_a_statement_under_another_identity_or_of_another_type_is_a_fault():
    assert judged(task(), by=OTHER).fault is not None
    assert judged(task(), kind=ATTESTATION_TYPE).fault is not None


def test_a_signer_states_one_key():
    assert judged(task(), count=2).fault is not None


@pytest.mark.parametrize(("culprit", "is_known"), [("c", True), ("d", False)])
def test_only_a_signer_of_the_group_is_blamed(culprit: str, is_known: bool):
    told = failed("not_pinned", culprit).model_copy(update={"job_id": STEP, "node": "a"})
    found = judge(task(), "a", ME.public_key, told.model_dump_json().encode())
    assert (found.fault is None) is is_known
