"""Which signatures that a signer states are proofs of its share sets, and which are listed."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from coincurve import PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.control_plane.reconcile.proofs import LONGEST, MOST_TRIED, ShareSets, is_proof_for
from custody.wire.algorithms import (
    ECDSA_SECP256K1,
    EDDSA_ED25519,
    SCHNORR_SECP256K1,
    Algorithm,
    Network,
    Protection,
    Store,
)
from custody.wire.inventory import HeldKey, Holding
from custody.wire.jobs import Endpoint, Job, JobKind, KeyReference
from custody.wire.outcomes import MadeSignature
from custody.wire.possession import possession_request
from custody.wire.requests import SignHash, SignMessage
from custody.wire.signatures import finish
from custody.wire.statements import Attestation
from tests.made_up_keys import made_up_key

KEY_ID, SET = uuid4(), uuid4()
PRIVATE_KEY, OTHER_PRIVATE_KEY = 1, 2
NOW = datetime.now(UTC)
SECOND = timedelta(seconds=1)
ALGORITHMS = [ECDSA_SECP256K1, SCHNORR_SECP256K1, EDDSA_ED25519]
of_each_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)


def sign(algorithm: Algorithm, number: int, signed: bytes) -> bytes:
    """Return a raw signature by the private key that ``made_up_key`` has for a number."""
    secret = number.to_bytes(32)
    if algorithm == EDDSA_ED25519:
        return Ed25519PrivateKey.from_private_bytes(secret).sign(signed)
    if algorithm == SCHNORR_SECP256K1:
        return PrivateKey(secret).sign_schnorr(signed)
    return PrivateKey(secret).sign_recoverable(signed, hasher=None)[:64]


def proof(
    algorithm: Algorithm, key_id: UUID = KEY_ID, share_set: UUID = SET, number: int = PRIVATE_KEY
) -> MadeSignature:
    """Return what a signer records when it has proved a share set."""
    request, digest = possession_request(algorithm, key_id, share_set)
    return made(algorithm, request, digest, number)


def made(
    algorithm: Algorithm,
    request: SignHash | SignMessage,
    digest: bytes | None,
    number: int = PRIVATE_KEY,
) -> MadeSignature:
    signed = request.content if isinstance(request, SignMessage) else digest
    assert signed is not None
    raw = sign(algorithm, number, signed)
    public_key = made_up_key(algorithm, number)
    result = finish(raw, public_key, algorithm, None, request, digest)
    return MadeSignature(digest=digest, signature=result)


def payment(algorithm: Algorithm) -> MadeSignature:
    """Return what a signer records when an application has asked for a signature."""
    if algorithm == EDDSA_ED25519:
        return made(algorithm, SignMessage(kind="Message", message="pay Bo"), None)
    return made(algorithm, SignHash(kind="Hash", hash=b"\x05" * 32), b"\x05" * 32)


def held(share_set: UUID = SET, key_id: UUID = KEY_ID, created_at: datetime = NOW) -> HeldKey:
    return HeldKey(
        key_id=key_id,
        attestation=None,
        holding=Holding.WAITING,
        created_at=created_at,
        generation=0,
        share_set_id=share_set,
    )


def facts(algorithm: Algorithm, key_id: UUID = KEY_ID) -> dict[UUID, Attestation]:
    return {
        key_id: Attestation(
            key_id=key_id,
            made_for=None,
            store=Store.MPC,
            scheme=algorithm.scheme,
            curve=algorithm.curve,
            network=Network.SOLANA if algorithm == EDDSA_ED25519 else None,
            public_key=made_up_key(algorithm, PRIVATE_KEY),
            protection=Protection.MPC,
            group="treasury",
            threshold=1,
            signers=["signer-1"],
            node="signer-1",
        )
    }


def sets_of(algorithm: Algorithm, *said: HeldKey, since: datetime = NOW) -> ShareSets:
    share_sets = ShareSets()
    for each in said or (held(),):
        share_sets.note([each], facts(algorithm, each.key_id), since)
    return share_sets


@of_each_algorithm
def test_the_proof_of_a_stated_set_is_recognised(algorithm: Algorithm):
    share_sets = sets_of(algorithm, held(uuid4(), uuid4()), held(), held(uuid4(), uuid4()))
    assert share_sets.is_proof(proof(algorithm), NOW + SECOND)


@of_each_algorithm
def test_a_signature_of_anything_else_is_not_a_proof(algorithm: Algorithm):
    share_sets = sets_of(algorithm)
    others = [
        proof(algorithm, share_set=uuid4()),
        proof(algorithm, key_id=uuid4()),
        proof(algorithm, number=OTHER_PRIVATE_KEY),
        proof(algorithm).model_copy(update={"digest": b"\x05" * 32}),
        payment(algorithm),
    ]
    assert [share_sets.is_proof(each, NOW + SECOND) for each in others] == [False] * len(others)


@of_each_algorithm
def test_a_signature_under_the_digest_of_a_proof_is_verified(algorithm: Algorithm):
    """A signer cannot hide a signature by naming the digest of a proof with it."""
    named = {"signature": payment(algorithm).signature}
    disguised = proof(algorithm).model_copy(update=named)
    assert not sets_of(algorithm).is_proof(disguised, NOW + SECOND)


@of_each_algorithm
def test_a_proof_needs_a_set_whose_public_key_is_known(algorithm: Algorithm):
    share_sets = ShareSets()
    share_sets.note([held()], {}, NOW)
    assert not share_sets.is_proof(proof(algorithm), NOW + SECOND)


def payload(algorithm: Algorithm, public_key: bytes | None) -> bytes:
    """Return the job of a step in which signers prove the share set."""
    key = KeyReference(
        id=KEY_ID,
        scheme=algorithm.scheme,
        curve=algorithm.curve,
        network=None,
        public_key=public_key,
    )
    job = Job(
        id=uuid4(),
        step_of=KEY_ID,
        kind=JobKind.PROVE_KEY,
        group="mpc",
        key=key,
        endpoint=Endpoint.KEYS,
        request=b"{}",
        ceremony=SET,
        created_at=NOW,
        expires_at=NOW + SECOND,
    )
    return job.model_dump_json().encode()


@of_each_algorithm
def test_the_proof_of_a_known_step_is_compared_with_its_job(algorithm: Algorithm):
    job = payload(algorithm, made_up_key(algorithm, PRIVATE_KEY))
    right = proof(algorithm)
    assert is_proof_for(job, right)
    others = [
        proof(algorithm, share_set=uuid4()),
        proof(algorithm, number=OTHER_PRIVATE_KEY),
        right.model_copy(update={"digest": b"\x05" * 32}),
        payment(algorithm),
    ]
    assert [is_proof_for(job, each) for each in others] == [False] * len(others)
    assert not is_proof_for(payload(algorithm, None), right)


def test_sets_that_are_older_than_the_outcomes_are_not_kept():
    created_at = NOW - LONGEST
    for since, is_kept in ((NOW, True), (NOW + SECOND, False)):
        share_sets = sets_of(ECDSA_SECP256K1, held(created_at=created_at), since=since)
        assert share_sets.is_proof(proof(ECDSA_SECP256K1), NOW + 2 * SECOND) is is_kept


def test_only_the_newest_sets_before_an_ed25519_signature_are_tried():
    """Else a signer with many keys would need hours for its many signatures."""

    def is_found(newer: int) -> bool:
        others = [held(uuid4(), uuid4()) for _ in range(newer)]
        later = [held(uuid4(), uuid4(), NOW + 2 * SECOND) for _ in range(MOST_TRIED)]
        mine = held(created_at=NOW - SECOND)
        share_sets = sets_of(EDDSA_ED25519, *later, *others, mine)
        return share_sets.is_proof(proof(EDDSA_ED25519), NOW + SECOND)

    assert is_found(MOST_TRIED - 1)
    assert not is_found(MOST_TRIED)


def test_an_ed25519_proof_comes_within_an_hour_of_its_share():
    share_sets = sets_of(EDDSA_ED25519)
    assert share_sets.is_proof(proof(EDDSA_ED25519), NOW + LONGEST)
    assert not share_sets.is_proof(proof(EDDSA_ED25519), NOW + LONGEST + SECOND)
    assert not share_sets.is_proof(proof(EDDSA_ED25519), NOW - SECOND)
