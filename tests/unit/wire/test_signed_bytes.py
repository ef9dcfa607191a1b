"""Signed bytes."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from custody.wire.signed_bytes import (
    AUDIT_HEAD_TYPE,
    JOB_TYPE,
    BadSignedBytes,
    PinnedKeys,
    SignedBytes,
    SigningKey,
    pre_authentication_encoding,
    signing_key_id,
)


@pytest.fixture
def signer() -> SigningKey:
    return SigningKey(Ed25519PrivateKey.generate())


def test_the_pre_authentication_encoding_is_that_of_the_dsse_protocol():
    # the example of DSSE's protocol.md, section "Test Vectors"
    encoded = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world")
    assert encoded == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_sizes_are_in_bytes():
    assert pre_authentication_encoding("é", "é".encode()) == "DSSEv1 2 é 2 é".encode()


@given(st.text(), st.binary(), st.text(), st.binary())
def test_no_two_messages_are_encoded_alike(type_a, payload_a, type_b, payload_b):
    alike = pre_authentication_encoding(type_a, payload_a) == pre_authentication_encoding(
        type_b, payload_b
    )
    assert alike == ((type_a, payload_a) == (type_b, payload_b))


def test_what_a_pinned_key_signed_opens(signer):
    other = SigningKey(Ed25519PrivateKey.generate())
    pinned = PinnedKeys([other.public_key, signer.public_key])
    assert pinned.open(JOB_TYPE, signer.sign(JOB_TYPE, b"payload")) == b"payload"


def test_a_signed_payload_travels_as_json(signer):
    signed = signer.sign(JOB_TYPE, bytes(range(256)))
    again = SignedBytes.model_validate_json(signed.model_dump_json())
    assert PinnedKeys([signer.public_key]).open(JOB_TYPE, again) == bytes(range(256))


def test_a_key_that_is_not_pinned_is_named(signer):
    signed = signer.sign(JOB_TYPE, b"payload")
    with pytest.raises(BadSignedBytes, match=f"{signer.key_id}, which is not pinned"):
        PinnedKeys([]).open(JOB_TYPE, signed)


def test_a_key_id_is_the_start_of_the_keys_hash(signer):
    assert signer.key_id == signing_key_id(signer.public_key)
    assert len(signer.key_id) == 16


@pytest.mark.parametrize(
    "changes",
    [
        {"payload": b"payloae"},
        {"payload": b""},
        {"signature": bytes(64)},
        {"signature": b""},
        {"signature": bytes(65)},
    ],
)
def test_a_changed_payload_or_signature_does_not_open(signer, changes):
    signed = signer.sign(JOB_TYPE, b"payload").model_copy(update=changes)
    with pytest.raises(BadSignedBytes, match="is wrong"):
        PinnedKeys([signer.public_key]).open(JOB_TYPE, signed)


def test_a_signature_for_one_type_does_not_open_as_another(signer):
    signed = signer.sign(AUDIT_HEAD_TYPE, b"payload")
    with pytest.raises(BadSignedBytes, match="is wrong"):
        PinnedKeys([signer.public_key]).open(JOB_TYPE, signed)


def test_another_keys_signature_under_a_pinned_name_does_not_open(signer):
    other = SigningKey(Ed25519PrivateKey.generate())
    signed = other.sign(JOB_TYPE, b"payload").model_copy(update={"signing_key_id": signer.key_id})
    with pytest.raises(BadSignedBytes, match="is wrong"):
        PinnedKeys([signer.public_key]).open(JOB_TYPE, signed)
