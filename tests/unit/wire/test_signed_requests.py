"""An application's signature on its request, and what steps of one request have in common."""

from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from custody.wire.jobs import Endpoint, JobKind
from custody.wire.signed_bytes import BadSignedBytes, PinnedKeys, SigningKey
from custody.wire.signed_requests import parse_header, payload_type, sign_request
from tests.unit.node.requests import KEY, complete, job_around

SIGNER = SigningKey(Ed25519PrivateKey.generate())
BODY = b'{"kind": "Message"}'


def test_a_header_carries_the_signature_of_the_exact_body() -> None:
    signature = parse_header(sign_request(SIGNER, Endpoint.SIGNATURES, BODY))
    pinned = PinnedKeys([SIGNER.public_key])
    assert pinned.open(payload_type(Endpoint.SIGNATURES), signature.of(BODY)) == BODY
    with pytest.raises(BadSignedBytes):
        pinned.open(payload_type(Endpoint.SIGNATURES), signature.of(BODY + b" "))


@pytest.mark.parametrize("endpoint", [each for each in Endpoint if each != Endpoint.SIGNATURES])
def test_a_signature_for_one_endpoint_is_none_for_another(endpoint: Endpoint) -> None:
    signature = parse_header(sign_request(SIGNER, endpoint, BODY))
    with pytest.raises(BadSignedBytes):
        PinnedKeys([SIGNER.public_key]).open(payload_type(Endpoint.SIGNATURES), signature.of(BODY))


@pytest.mark.parametrize(
    "value",
    [
        "",
        ":",
        "0123456789abcdef",
        "0123456789abcdef:",
        "0123456789abcdef:AAAA",
        "0123456789abcdef:" + "A" * 86,
        "0123456789abcdef:" + "ä" * 88,
        "0123456789ABCDEF:" + "A" * 86 + "==",
        "0123456789abcde:" + "A" * 86 + "==",
        "0123456789abcdef:" + "A" * 86 + "==, x",
    ],
)
def test_a_header_in_another_form_is_none(value: str) -> None:
    with pytest.raises(ValueError, match="signing key id"):
        parse_header(value)


def test_every_step_of_a_request_has_its_id_and_digest() -> None:
    sign = job_around(complete())
    approve = job_around(complete(), kind=JobKind.APPROVE.value, step_of=sign.id)
    assert (approve.request_id, approve.request_digest) == (sign.id, sign.request_digest)


@pytest.mark.parametrize(
    "changes",
    [
        {"id": uuid4()},
        {"endpoint": Endpoint.REFRESHES},
        {"request": b"{}"},
        {"key": KEY.model_copy(update={"id": uuid4()})},
        {"key": KEY.model_copy(update={"public_key": b"\x03" + bytes(32)})},
        {"key": KEY.model_copy(update={"network": None})},
    ],
)
def test_another_request_has_another_digest(changes: dict) -> None:
    job = job_around(complete())
    assert job.model_copy(update=changes).request_digest != job.request_digest


def test_a_signature_is_no_step_of_another_request() -> None:
    with pytest.raises(ValidationError):
        job_around(complete(), step_of=uuid4())
