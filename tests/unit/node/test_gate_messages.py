"""What the gate is shown, and what counts as its answer."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from custody.node.errors import Denied
from custody.node.gate import require_plain
from custody.node.gate_messages import (
    MAX_REASON,
    BadAnswer,
    Decision,
    ShownHash,
    ShownImport,
    ShownMessage,
    ShownRepair,
    ShownTransaction,
    question_about,
    read_answer,
    sign_question,
)
from custody.node.wanted import wanted_signature
from custody.wire.algorithms import (
    ECDSA_SECP256R1,
    EDDSA_ED25519,
    Curve,
    HashFunction,
    Network,
    Scheme,
    Store,
)
from custody.wire.digests import eip191
from custody.wire.jobs import Endpoint, JobKind, KeyReference
from custody.wire.mistakable import Mistakable
from custody.wire.requests import SignHash, SignTransaction
from tests.made_up_keys import made_up_key
from tests.unit.node.requests import KEY, NOW, complete, job_around

DIGEST = bytes(range(32))
HEX = "0x" + DIGEST.hex()


def about(job, application: str | None = None):
    return question_about(job, node="zurich-1", store=Store.HSM, application=application, now=NOW)


def test_the_digest_shown_is_the_one_that_is_signed() -> None:
    question = about(job_around(complete()), "shop")
    assert question.digest == eip191(b"hello")
    assert question.decoded == ShownMessage(content=b"hello", text="hello", could_be=[])
    assert (question.kind, question.application, question.key) == ("Sign", "shop", KEY)


def test_an_ed25519_message_is_shown_with_its_sha_256() -> None:
    solana = KEY.model_copy(
        update={
            "scheme": Scheme.EDDSA,
            "curve": Curve.ED25519,
            "network": Network.SOLANA,
            "public_key": made_up_key(EDDSA_ED25519),
        }
    )
    question = about(job_around(complete(message="0xff00"), key=solana))
    assert question.digest == hashlib.sha256(b"\xff\x00").digest()
    assert question.decoded == ShownMessage(content=b"\xff\x00", text=None, could_be=[])


def test_a_bare_hash_is_shown_as_such() -> None:
    question = about(job_around(SignHash(kind="Hash", hash=DIGEST)))
    assert (question.digest, question.decoded) == (DIGEST, ShownHash(hash=DIGEST))


P256 = {"curve": Curve.SECP256R1, "public_key": made_up_key(ECDSA_SECP256R1)}


def bare(**changes: object) -> KeyReference:
    return KEY.model_copy(update={"network": None} | changes)


@pytest.mark.parametrize(
    "key", [bare(), bare(scheme=Scheme.SCHNORR, public_key=bytes(31) + b"\x01")]
)
def test_sha_256_of_32_bytes_is_shown_as_a_bare_hash_since_it_is_bitcoins_of_a_transaction(
    key: KeyReference,
) -> None:
    request = complete(message=HEX, hash_function=HashFunction.SHA_256)
    question = about(job_around(request, key=key))
    digest = hashlib.sha256(DIGEST).digest()
    assert (question.digest, question.decoded) == (digest, ShownHash(hash=digest))
    text = complete(message="a" * 32, hash_function=HashFunction.SHA_256)
    assert isinstance(about(job_around(text, key=key)).decoded, ShownHash)


@pytest.mark.parametrize(
    ("message", "hash_function", "key"),
    [
        ("0x" + bytes(31).hex(), HashFunction.SHA_256, bare()),
        ("0x" + bytes(33).hex(), HashFunction.SHA_256, bare()),
        (HEX, HashFunction.KECCAK_256, bare()),
        (
            HEX,
            HashFunction.SHA_256,
            bare(**P256),
        ),
        (HEX, None, KEY),
    ],
)
def test_a_message_that_is_no_transactions_hash_is_shown_as_it_is(
    message: str, hash_function: HashFunction | None, key: KeyReference
) -> None:
    question = about(job_around(complete(message=message, hash_function=hash_function), key=key))
    assert isinstance(question.decoded, ShownMessage)


SOLANA_KEY = made_up_key(EDDSA_ED25519)
TRANSFER = b"\x01\x00\x00\x01" + SOLANA_KEY + bytes(32) + b"\x00"
"""A Solana transaction of that key, without instructions."""
ED25519 = {"scheme": Scheme.EDDSA, "curve": Curve.ED25519, "public_key": SOLANA_KEY}


def test_a_bare_keys_message_is_shown_with_what_it_could_be() -> None:
    request = complete(message="0x" + TRANSFER.hex())
    decoded = about(job_around(request, key=bare(**ED25519))).decoded
    assert isinstance(decoded, ShownMessage)
    assert decoded.could_be == [Mistakable.SOLANA_TRANSACTION]
    with pytest.raises(Denied, match=r"bare_hash_refused.*could also be: SolanaTransaction"):
        require_plain(decoded)
    with pytest.raises(Denied, match="bare_hash_refused"):
        require_plain(ShownHash(hash=DIGEST))
    require_plain(about(job_around(complete())).decoded)


def test_a_solana_wallets_transaction_is_shown_as_one_and_denied_as_a_message() -> None:
    wallet = bare(**ED25519, network=Network.SOLANA)
    wanted = SignTransaction(kind="Transaction", transaction=TRANSFER)
    question = about(job_around(wanted, key=wallet))
    assert question.decoded == ShownTransaction(content=TRANSFER)
    assert question.digest == hashlib.sha256(TRANSFER).digest()
    require_plain(question.decoded)
    with pytest.raises(Denied, match=r"not_signable.*is a Solana transaction"):
        wanted_signature(job_around(complete(message="0x" + TRANSFER.hex()), key=wallet))


def test_a_repair_is_shown_with_its_signer_and_the_digest_of_the_request() -> None:
    job = job_around(b'{"signer": "s-2"}', kind="RepairShare", endpoint=Endpoint.REPAIRS)
    question = about(job)
    assert (question.kind, question.digest) == ("RepairShare", job.request_digest)
    assert question.decoded == ShownRepair(signer="s-2")


def an_import() -> dict[str, object]:
    return {
        "store": "mpc",
        "signer_group": "treasury",
        "scheme": "EdDSA",
        "curve": "ed25519",
        "imported": {
            "import_id": str(uuid4()),
            "public_key": "0x" + SOLANA_KEY.hex(),
            "commitments": ["0x" + SOLANA_KEY.hex()] * 2,
            "sealed": {"s-1": "0x00", "s-2": "0x00"},
        },
    }


@pytest.mark.parametrize("endpoint", [Endpoint.KEYS, Endpoint.WALLETS])
@pytest.mark.parametrize("kind", ["ImportKey", "Approve"])
def test_an_import_is_shown_with_its_public_key(endpoint: Endpoint, kind: str) -> None:
    body = json.dumps(an_import()).encode()
    job = job_around(body, kind=kind, endpoint=endpoint, step_of=uuid4())
    question = about(job)
    assert (question.kind, question.digest) == ("ImportKey", job.request_digest)
    assert question.decoded == ShownImport(public_key=SOLANA_KEY)


def test_a_request_for_a_new_key_is_not_an_import() -> None:
    job = job_around(b'{"store": "mpc"}', kind="ImportKey", endpoint=Endpoint.KEYS)
    with pytest.raises(Denied, match="imports no key"):
        about(job)


def test_the_refresh_that_follows_a_repair_is_decided_with_it() -> None:
    repair = job_around(b'{"signer": "s-2"}', kind="RepairShare", endpoint=Endpoint.REPAIRS)
    refresh = repair.model_copy(update={"kind": "RefreshKey"})
    assert about(refresh) == about(repair)


def test_an_approval_is_asked_for_in_the_words_of_what_follows() -> None:
    sign = job_around(complete())
    approve = job_around(complete(), kind=JobKind.APPROVE.value, step_of=sign.id)
    assert about(approve) == about(sign)


def test_the_age_is_counted_from_the_request() -> None:
    job = job_around(complete(), created_at=NOW - timedelta(seconds=90))
    assert about(job).age_seconds == 90


@pytest.mark.parametrize(
    "changes",
    [
        {"endpoint": Endpoint.WALLETS},
        {"endpoint": Endpoint.REFRESHES},
        {"kind": JobKind.REFRESH_KEY.value},
    ],
)
def test_a_job_around_another_kind_of_request_is_not_asked_about(changes) -> None:
    with pytest.raises(Denied, match="malformed_job"):
        about(job_around(complete(), **changes))


def test_the_question_is_signed_as_documented() -> None:
    now = datetime(2026, 3, 1, 12, 0, 0, 900_000, tzinfo=UTC)
    # printf '1772366400.{}' | openssl dgst -sha256 -hmac 0123456789abcdef
    assert sign_question(b"0123456789abcdef", b"{}", now) == (
        "t=1772366400,v1=045b94e22889c4d3f49ea1ebebe0e8ca0e2883cb1419c86020b25064809b5516"
    )


def answer(**changes: Any) -> bytes:
    fields = {"decision": "approve", "digest": HEX, "reason": "by policy"}
    return json.dumps(fields | changes).encode()


@pytest.mark.parametrize("decision", list(Decision))
def test_an_answer_about_the_digest_is_one(decision: Decision) -> None:
    read = read_answer(answer(decision=decision.value), DIGEST)
    assert (read.decision, read.reason) == (decision, "by policy")


def test_a_reason_may_be_left_out() -> None:
    content = json.dumps({"decision": "reject", "digest": HEX}).encode()
    assert read_answer(content, DIGEST).reason is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"approve",
        b"null",
        b"[]",
        b"{}",
        b"[" * 10_000,
        b"\xff\xfe",
        answer() + b"{}",
        answer(decision="Approve"),
        answer(decision="approved"),
        answer(decision=True),
        answer(decision=None),
        answer(digest=None),
        answer(digest=HEX[2:]),
        answer(digest=HEX[:-2]),
        answer(digest="0x" + bytes(32).hex()),
        answer(reason=7),
        answer(reason="x" * (MAX_REASON + 1)),
        answer(reason="no\x00"),
        answer(urgent=True),
        b'{"decision": "reject", "decision": "approve", "digest": "%s"}' % HEX.encode(),
    ],
)
def test_anything_else_is_no_answer(content: bytes) -> None:
    with pytest.raises(BadAnswer):
        read_answer(content, DIGEST)
