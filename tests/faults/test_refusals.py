"""What a control plane gone bad, or a database tampered with, gets out of a driver: nothing."""

import gzip
from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.responses import Response, StreamingResponse

from custody.wire.algorithms import (
    ECDSA_SECP256K1,
    EDDSA_ED25519,
    HSM_ALGORITHMS,
    Algorithm,
    HashFunction,
    Network,
)
from custody.wire.digests import digest_of
from custody.wire.jobs import Endpoint, Job, KeyReference
from custody.wire.outcomes import GeneratedKey, MadeSignature, Outcome, OutcomeStatus
from custody.wire.requests import SignHash, SignMessage
from custody.wire.signatures import verify
from custody.wire.signed_bytes import AUDIT_HEAD_TYPE, JOB_TYPE, SignedBytes, SigningKey
from tests.faults.conftest import LonelyDriver
from tests.faults.hostile_control_plane import (
    HostileControlPlane,
    generate_job,
    sign_job,
)
from tests.made_up_keys import made_up_key

MESSAGE = SignMessage(kind="Message", message="hello")


def message_for(key: KeyReference) -> SignMessage:
    bare_ecdsa = key.network is None and key.algorithm != EDDSA_ED25519
    return SignMessage(
        kind="Message",
        message="hello",
        hash_function=HashFunction.SHA_256 if bare_ecdsa else None,
    )


def do(plane: HostileControlPlane, job: Job) -> Outcome:
    return plane.ask(plane.sign(job), job.id)


def make_key(
    plane: HostileControlPlane,
    algorithm: Algorithm = ECDSA_SECP256K1,
    network: Network | None = Network.ETHEREUM,
) -> KeyReference:
    job = generate_job(algorithm, network)
    outcome = do(plane, job)
    assert outcome.status is OutcomeStatus.DONE, outcome
    assert isinstance(outcome.result, GeneratedKey)
    return job.key.model_copy(update={"public_key": outcome.result.public_key})


def assert_signs(plane: HostileControlPlane, key: KeyReference) -> None:
    request = message_for(key)
    outcome = do(plane, sign_job(key, request))
    assert outcome.status is OutcomeStatus.DONE, outcome
    assert isinstance(outcome.result, MadeSignature)
    assert key.public_key is not None
    digest = digest_of(request, key.algorithm, key.network, key.public_key)
    assert outcome.result.digest == digest
    verify(outcome.result.signature, key.public_key, key.algorithm, key.network, request, digest)


def assert_not_done(outcome: Outcome, status: OutcomeStatus, code: str) -> None:
    assert (outcome.status, outcome.code) == (status, code), outcome
    assert outcome.result is None
    assert outcome.reason


@pytest.fixture(scope="module")
def key(lonely: LonelyDriver) -> KeyReference:
    return make_key(lonely.plane)


@pytest.fixture(autouse=True)
def _still_signs_afterwards(lonely: LonelyDriver, key: KeyReference) -> Iterator[None]:
    yield
    assert_signs(lonely.plane, key)


# Jobs that the driver does not believe, or that are not for it


def refused_jobs(plane: HostileControlPlane, key: KeyReference) -> dict[str, SignedBytes]:
    job = sign_job(key, MESSAGE)
    signed = plane.sign(job)
    stranger = SigningKey(Ed25519PrivateKey.generate())
    payload = signed.payload
    return {
        "signed by a stranger": stranger.sign(JOB_TYPE, payload),
        "signed by a stranger under the pinned key's name": stranger.sign(
            JOB_TYPE, payload
        ).model_copy(update={"signing_key_id": plane.signer.key_id}),
        "changed after it was signed": signed.model_copy(
            update={"payload": payload.replace(b'"hsm"', b'"hsn"')}
        ),
        "a signature for another type": plane.signer.sign(AUDIT_HEAD_TYPE, payload),
        "no signature": signed.model_copy(update={"signature": b""}),
        "half a signature": signed.model_copy(update={"signature": signed.signature[:32]}),
        "another job's signature": signed.model_copy(
            update={"signature": plane.sign(sign_job(key, MESSAGE)).signature}
        ),
    }


@pytest.mark.parametrize(
    "how",
    [
        "signed by a stranger",
        "signed by a stranger under the pinned key's name",
        "changed after it was signed",
        "a signature for another type",
        "no signature",
        "half a signature",
        "another job's signature",
    ],
)
def test_a_job_without_the_pinned_keys_signature_is_refused(lonely, key, how):
    outcome = lonely.plane.ask(refused_jobs(lonely.plane, key)[how], job_id := uuid4())
    assert_not_done(outcome, OutcomeStatus.REFUSED, "bad_job_signature")
    assert_not_journalled(lonely, job_id)


def assert_not_journalled(lonely: LonelyDriver, job_id: object) -> None:
    with lonely.database() as connection:
        found = connection.execute("SELECT FROM journal WHERE job_id = %s", [job_id]).fetchall()
    assert found == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"group": "another-group"}, "wrong_group"),
        ({"kind": "Teleport"}, "unknown_kind"),
        ({"kind": "sign"}, "unknown_kind"),
        ({"kind": ""}, "unknown_kind"),
    ],
)
def test_a_job_for_others_is_refused(lonely, key, changes, code):
    job = sign_job(key, MESSAGE).model_copy(update=changes)
    assert_not_done(do(lonely.plane, job), OutcomeStatus.REFUSED, code)
    assert_not_journalled(lonely, job.id)


def test_a_job_claimed_under_another_id_is_refused(lonely, key):
    outcome = lonely.plane.ask(lonely.plane.sign(sign_job(key, MESSAGE)), job_id := uuid4())
    assert_not_done(outcome, OutcomeStatus.REFUSED, "wrong_job")
    assert outcome.job_id == job_id
    assert_not_journalled(lonely, job_id)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b"not json",
        b"[" * 10_000,
        b'{"version": 2}',
        b"\xff\xfe",
    ],
)
def test_a_signed_payload_that_is_no_job_is_refused(lonely, payload):
    signed = lonely.plane.signer.sign(JOB_TYPE, payload)
    outcome = lonely.plane.ask(signed, job_id := uuid4())
    assert_not_done(outcome, OutcomeStatus.REFUSED, "malformed_job")
    assert_not_journalled(lonely, job_id)


def test_a_signed_job_with_a_field_too_many_or_a_key_that_cannot_be_is_refused(lonely, key):
    payload = sign_job(key, MESSAGE).model_dump_json().encode()
    for spoilt in (
        payload.replace(b'"version":1', b'"version":2'),
        payload.replace(b'"version":1', b'"version":1,"urgent":true'),
        payload.replace(b'"network":"Ethereum"', b'"network":"Solana"'),
        payload.replace(b'"curve":"secp256k1"', b'"curve":"ed25519"'),
    ):
        assert spoilt != payload
        outcome = lonely.plane.ask(lonely.plane.signer.sign(JOB_TYPE, spoilt), uuid4())
        assert_not_done(outcome, OutcomeStatus.REFUSED, "malformed_job")


# Jobs that come too late, or again with another body


def test_an_expired_job_is_denied(lonely, key):
    job = sign_job(key, MESSAGE)
    late = job.model_copy(update={"expires_at": job.created_at - timedelta(seconds=1)})
    assert_not_done(do(lonely.plane, late), OutcomeStatus.DENIED, "expired")


def test_a_job_again_gets_the_same_bytes_and_signs_nothing_new(lonely, key):
    job = sign_job(key, MESSAGE)
    signed = lonely.plane.sign(job)
    first = lonely.plane.ask_for_bytes(signed, job.id)
    assert [lonely.plane.ask_for_bytes(signed, job.id) for _ in range(3)] == [first] * 3


def test_the_same_job_with_another_body_is_denied_and_the_first_result_stays(lonely, key):
    job = sign_job(key, MESSAGE)
    first = lonely.plane.ask_for_bytes(lonely.plane.sign(job), job.id)
    other = SignMessage(kind="Message", message="pay the other one")
    replay = job.model_copy(update={"request": other.model_dump_json().encode()})
    assert_not_done(do(lonely.plane, replay), OutcomeStatus.DENIED, "replayed")
    assert lonely.plane.ask_for_bytes(lonely.plane.sign(job), job.id) == first


def test_a_replay_that_only_lives_longer_is_another_job_too(lonely, key):
    job = sign_job(key, MESSAGE)
    assert do(lonely.plane, job).status is OutcomeStatus.DONE
    longer = job.model_copy(update={"expires_at": job.expires_at + timedelta(days=1)})
    assert_not_done(do(lonely.plane, longer), OutcomeStatus.DENIED, "replayed")


# Jobs that contradict themselves, the application's request or the stored key


@pytest.mark.parametrize("request_", [b"", b"{}", b"nonsense", b'{"kind": "Message"}'])
def test_a_job_around_a_malformed_request_is_denied(lonely, key, request_):
    job = sign_job(key, MESSAGE).model_copy(update={"request": request_})
    assert_not_done(do(lonely.plane, job), OutcomeStatus.DENIED, "malformed_request")


def test_a_request_that_makes_no_sense_for_the_key_is_denied(lonely):
    solana = make_key(lonely.plane, EDDSA_ED25519, Network.SOLANA)
    a_hash = SignHash(kind="Hash", hash=bytes(32))
    outcome = do(lonely.plane, sign_job(solana, a_hash))
    assert_not_done(outcome, OutcomeStatus.DENIED, "not_signable")
    assert solana.public_key is not None
    transaction = b"\1\0\0\1" + solana.public_key + bytes(32) + b"\0"
    as_message = SignMessage(kind="Message", message="0x" + transaction.hex())
    outcome = do(lonely.plane, sign_job(solana, as_message))
    assert_not_done(outcome, OutcomeStatus.DENIED, "not_signable")


def test_a_sign_job_around_another_endpoints_request_is_denied(lonely, key):
    job = sign_job(key, MESSAGE).model_copy(update={"endpoint": Endpoint.WALLETS})
    assert_not_done(do(lonely.plane, job), OutcomeStatus.DENIED, "malformed_job")


def test_a_key_that_the_request_did_not_ask_for_is_not_made(lonely):
    wanted = generate_job(ECDSA_SECP256K1, Network.ETHEREUM)
    bitcoin = generate_job(ECDSA_SECP256K1, Network.BITCOIN)
    job = wanted.model_copy(update={"request": bitcoin.request})
    assert_not_done(do(lonely.plane, job), OutcomeStatus.DENIED, "request_mismatch")
    with lonely.database() as connection:
        rows = connection.execute("SELECT FROM wrapped_keys WHERE key_id = %s", [job.id]).fetchall()
    assert rows == []


def test_a_key_is_never_made_twice(lonely, key):
    with lonely.database() as connection:
        before = connection.execute(
            "SELECT * FROM wrapped_keys WHERE key_id = %s", [key.id]
        ).fetchone()
        # as if the journal had been purged, or belonged to another database
        connection.execute("DELETE FROM journal WHERE job_id = %s", [key.id])
        again = generate_job(ECDSA_SECP256K1, Network.ETHEREUM)
        reference = again.key.model_copy(update={"id": key.id})
        job = again.model_copy(update={"id": key.id, "key": reference})
        assert_not_done(do(lonely.plane, job), OutcomeStatus.DENIED, "key_exists")
        after = connection.execute(
            "SELECT * FROM wrapped_keys WHERE key_id = %s", [key.id]
        ).fetchone()
    assert before == after


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"id": uuid4()}, "unknown_key"),
        ({"public_key": made_up_key(number=2)}, "key_mismatch"),
        ({"public_key": None}, "key_mismatch"),
        ({"network": Network.BITCOIN}, "key_mismatch"),
        ({"network": None}, "key_mismatch"),
    ],
)
def test_a_job_for_another_key_than_the_stored_one_signs_nothing(lonely, key, changes, code):
    reference = key.model_copy(update=changes)
    request = message_for(reference)
    assert_not_done(do(lonely.plane, sign_job(reference, request)), OutcomeStatus.FAILED, code)


# Answers that are none


@pytest.mark.parametrize(
    "nonsense",
    [
        Response(b""),
        Response(b"{"),
        Response(b'{"jobs": 7}'),
        Response(b'{"jobs": [], "urgent": true}'),
        Response(b'{"jobs": [{"job_id": "x"}]}'),
        Response(b"\xff" * 1_000_000),
        Response(b'{"jobs": []}', headers={"date": "the day before yesterday"}),
        Response(b'{"jobs": []}', headers={"content-encoding": "gzip"}),
        Response(gzip.compress(bytes(100_000_000)), headers={"content-encoding": "gzip"}),
        StreamingResponse(iter([b" " * 1_000_000] * 50)),
        Response(b"an error", status_code=500),
        Response(b"{}", status_code=422),
        Response(status_code=302, headers={"location": "https://127.0.0.1:1/"}),
        Response(status_code=204),
    ],
    ids=range(14),
)
def test_an_answer_that_is_none_does_not_stop_the_driver(lonely, nonsense):
    lonely.plane.say(nonsense)
    assert lonely.driver.process.is_alive()


# A database that somebody has tampered with


SWAPS = {
    "the wrapped keys": "wrapped",
    "wrapped keys and public keys": "wrapped, public_key",
    "everything but the ids": "wrapped, public_key, mechanism, master_key, protection",
}


@pytest.mark.parametrize("columns", SWAPS.values(), ids=SWAPS.keys())
@pytest.mark.parametrize("algorithm", HSM_ALGORITHMS, ids=str)
def test_two_rows_swapped_sign_for_neither_key(lonely, algorithm, columns):
    one, other = (make_key(lonely.plane, algorithm, None) for _ in range(2))
    swap(lonely, one, other, columns)
    try:
        for key in (one, other):
            outcome = do(lonely.plane, sign_job(key, message_for(key)))
            assert outcome.status is OutcomeStatus.FAILED, outcome
            assert outcome.code in ("key_mismatch", "key_unusable", "bad_signature")
            assert outcome.result is None
            assert not outcome.transient
    finally:
        swap(lonely, one, other, columns)
    for key in (one, other):
        assert_signs(lonely.plane, key)


def swap(lonely: LonelyDriver, one: KeyReference, other: KeyReference, columns: str) -> None:
    assignments = ", ".join(f"{name} = theirs.{name}" for name in columns.split(", "))
    with lonely.database() as connection:
        changed = connection.execute(
            f"""UPDATE wrapped_keys AS ours SET {assignments} FROM wrapped_keys AS theirs
            WHERE (ours.key_id, theirs.key_id) IN ((%(one)s, %(other)s), (%(other)s, %(one)s))""",
            {"one": one.id, "other": other.id},
        )
        assert changed.rowcount == 2


@pytest.mark.parametrize(
    "damage",
    [
        "wrapped = ''",
        "wrapped = substring(wrapped FROM 1 FOR length(wrapped) - 8)",
        "wrapped = set_byte(wrapped, 5, get_byte(wrapped, 5) # 1)",
        "wrapped = decode(repeat('00', 40), 'hex')",
        "mechanism = 'CKM_NONSENSE'",
        "mechanism = ''",
    ],
)
@pytest.mark.parametrize("algorithm", HSM_ALGORITHMS, ids=str)
def test_a_damaged_row_signs_nothing_and_does_not_stop_the_driver(lonely, algorithm, damage):
    key = make_key(lonely.plane, algorithm, None)
    with lonely.database() as connection:
        connection.execute(f"UPDATE wrapped_keys SET {damage} WHERE key_id = %s", [key.id])
    outcome = do(lonely.plane, sign_job(key, message_for(key)))
    assert outcome.status is OutcomeStatus.FAILED, outcome
    assert outcome.code in ("key_unusable", "bad_signature"), outcome
    assert not outcome.transient


def test_a_row_under_a_master_key_that_this_driver_lacks_is_refused(lonely):
    """Another driver of the group may have found the key already."""
    key = make_key(lonely.plane, ECDSA_SECP256K1, None)
    with lonely.database() as connection:
        connection.execute(
            "UPDATE wrapped_keys SET master_key = 'another' WHERE key_id = %s", [key.id]
        )
    outcome = do(lonely.plane, sign_job(key, message_for(key)))
    assert_not_done(outcome, OutcomeStatus.REFUSED, "master_key_missing")


def test_a_row_that_claims_to_be_of_another_algorithm_signs_nothing(lonely):
    key = make_key(lonely.plane, ECDSA_SECP256K1, None)
    with lonely.database() as connection:
        connection.execute(
            "UPDATE wrapped_keys SET curve = 'secp256r1' WHERE key_id = %s", [key.id]
        )
    outcome = do(lonely.plane, sign_job(key, message_for(key)))
    assert_not_done(outcome, OutcomeStatus.FAILED, "key_mismatch")
