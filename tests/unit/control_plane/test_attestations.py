"""An attestation that comes with a new key is kept when it is about that key, and only then."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from coincurve import PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.control_plane.jobs.results import BadResult, KeyFacts, MadeKey, check_result
from custody.wire.algorithms import (
    ECDSA_SECP256K1,
    ECDSA_SECP256R1,
    Curve,
    Network,
    Protection,
    Scheme,
    Store,
)
from custody.wire.jobs import Endpoint, Job, JobKind, KeyReference
from custody.wire.outcomes import GeneratedKey, Outcome, OutcomeStatus
from custody.wire.signed_bytes import ATTESTATION_TYPE, DetachedSignature, SignedBytes, SigningKey
from custody.wire.statements import Attestation, MadeFor
from tests.made_up_keys import made_up_key

KEY_ID = uuid4()
PUBLIC_KEY = PrivateKey.from_int(7).public_key.format()
FACTS = KeyFacts(ECDSA_SECP256K1, Network.ETHEREUM, None)
SIGNER = SigningKey(Ed25519PrivateKey.generate())
APPLICATION = SigningKey(Ed25519PrivateKey.generate())
BODY = b'{"network": "Ethereum", "store": "hsm", "external_id": "order-7"}'
JOB = Job(
    id=KEY_ID,
    kind=JobKind.GENERATE_KEY,
    group="hsm",
    key=KeyReference(
        id=KEY_ID,
        scheme=Scheme.ECDSA,
        curve=Curve.SECP256K1,
        network=Network.ETHEREUM,
        public_key=None,
    ),
    endpoint=Endpoint.WALLETS,
    request=BODY,
    request_signature=DetachedSignature(signature=bytes(64), signing_key_id=APPLICATION.key_id),
    created_at=datetime.now(UTC),
    expires_at=datetime.now(UTC),
)
MADE_FOR = MadeFor(
    endpoint=Endpoint.WALLETS, external_id="order-7", application=APPLICATION.public_key
)
ATTESTATION = Attestation(
    key_id=KEY_ID,
    made_for=MADE_FOR,
    network=Network.ETHEREUM,
    store=Store.HSM,
    scheme=Scheme.ECDSA,
    curve=Curve.SECP256K1,
    public_key=PUBLIC_KEY,
    protection=Protection.HSM,
    group="hsm",
    threshold=1,
    signers=["zurich-1"],
    node="zurich-1",
)


def signed(attestation: Attestation) -> SignedBytes:
    return SIGNER.sign(ATTESTATION_TYPE, attestation.model_dump_json().encode())


def made_with(attestation: SignedBytes | None) -> MadeKey | None:
    result = GeneratedKey(
        scheme=Scheme.ECDSA,
        curve=Curve.SECP256K1,
        public_key=PUBLIC_KEY,
        protection=Protection.HSM,
        attestation=attestation,
    )
    outcome = Outcome(job_id=KEY_ID, node="zurich-1", status=OutcomeStatus.DONE, result=result)
    return check_result(outcome, JobKind.GENERATE_KEY, JOB.model_dump_json().encode(), FACTS)


def test_the_attestation_of_a_new_key_is_kept_as_it_came():
    attestation = signed(ATTESTATION)
    made = made_with(attestation)
    assert made is not None
    assert made.attestations == (attestation,)


def test_a_node_that_has_not_pinned_the_application_names_none():
    made_for = MADE_FOR.model_copy(update={"application": None})
    attestation = signed(ATTESTATION.model_copy(update={"made_for": made_for}))
    made = made_with(attestation)
    assert made is not None
    assert made.attestations == (attestation,)


def test_a_key_of_a_node_that_does_not_attest_yet_is_a_key_all_the_same():
    made = made_with(None)
    assert made is not None
    assert made.attestations == ()


@pytest.mark.parametrize(
    "change",
    [
        {"key_id": uuid4()},
        {"node": "zurich-2"},
        {"curve": Curve.SECP256R1, "public_key": made_up_key(ECDSA_SECP256R1)},
        {"public_key": PrivateKey.from_int(8).public_key.format()},
        {"protection": Protection.HOST},
        {"network": Network.BITCOIN},
        {"made_for": None},
        {"made_for": MADE_FOR.model_copy(update={"endpoint": Endpoint.KEYS})},
        {"made_for": MADE_FOR.model_copy(update={"external_id": "order-8"})},
        {"made_for": MADE_FOR.model_copy(update={"application": SIGNER.public_key})},
    ],
    ids=lambda change: next(iter(change)),
)
def test_an_attestation_of_something_else_is_no_result(change):
    with pytest.raises(BadResult, match="the attestation is of another"):
        made_with(signed(ATTESTATION.model_copy(update=change)))


def test_an_attestation_of_another_algorithm_is_no_result():
    change = {"curve": Curve.SECP256R1, "public_key": made_up_key(ECDSA_SECP256R1)}
    with pytest.raises(BadResult, match="the attestation is of another algorithm"):
        made_with(signed(ATTESTATION.model_copy(update=change)))


def test_what_is_no_attestation_is_no_result():
    with pytest.raises(BadResult, match="something that is not an attestation"):
        made_with(SIGNER.sign(ATTESTATION_TYPE, b"{}"))
