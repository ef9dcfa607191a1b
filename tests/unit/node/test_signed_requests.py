"""What a request must say of itself, and who must have signed it, before a node believes it."""

from datetime import timedelta
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.node.errors import Denied
from custody.node.signed_requests import (
    check_binding,
    check_signature,
    read_binding,
    require_complete,
    require_one_meaning,
)
from custody.wire.algorithms import Network, Store
from custody.wire.jobs import Endpoint
from custody.wire.requests import CopyKey, CreateWallet
from custody.wire.signed_bytes import SigningKey
from tests.unit.node.requests import APPLICATION, NOW, complete, job_around, signed

LONGEST_LIFE = timedelta(days=90)


def test_a_request_that_the_application_signed_is_believed() -> None:
    check_signature(signed(job_around(complete())), APPLICATION.public_key)


@pytest.mark.parametrize(
    "forged",
    [
        signed(job_around(complete()), SigningKey(Ed25519PrivateKey.generate())),
        signed(job_around(complete()), endpoint=Endpoint.KEYS),
        signed(job_around(complete())).model_copy(update={"request": b"{}"}),
        signed(job_around(complete())).model_copy(update={"endpoint": Endpoint.REFRESHES}),
    ],
    ids=["another key", "for another endpoint", "another body", "moved to another endpoint"],
)
def test_anything_else_is_denied(forged) -> None:
    with pytest.raises(Denied) as caught:
        check_signature(forged, APPLICATION.public_key)
    assert caught.value.code == "bad_request_signature"


def binding_code(request) -> str | None:
    job = job_around(request)
    try:
        check_binding(read_binding(job), job, Store.HSM, NOW, LONGEST_LIFE)
    except Denied as denied:
        return denied.code
    return None


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, None),
        ({"key_id": None, "store": None, "expires_at": None, "external_id": None}, None),
        ({"key_id": uuid4()}, "request_mismatch"),
        ({"store": Store.MPC}, "request_mismatch"),
        ({"expires_at": NOW}, "expired"),
        ({"expires_at": NOW + timedelta(days=91)}, "lives_too_long"),
    ],
)
def test_what_a_request_says_of_itself_must_be_so(changes, code) -> None:
    assert binding_code(complete(**changes)) == code


def test_a_signature_is_not_still_made_when_its_request_is_over() -> None:
    job = job_around(complete(), expires_at=NOW + timedelta(minutes=6))
    with pytest.raises(Denied, match="expires later"):
        check_binding(read_binding(job), job, Store.HSM, NOW, LONGEST_LIFE)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"key_id": 7}', b'{"expires_at": "soon"}'])
def test_a_request_that_cannot_be_read_is_denied(body) -> None:
    assert binding_code(body) == "malformed_request"


@pytest.mark.parametrize(
    "body", [b'{"message": "1 coin", "message": "100 coins"}', b'{"a": {"b": 1, "b": 2}}', b"\xff"]
)
def test_a_body_that_two_readers_could_read_differently_is_denied(body) -> None:
    with pytest.raises(Denied) as caught:
        require_one_meaning(job_around(body))
    assert caught.value.code == "malformed_request"
    require_one_meaning(job_around(complete()))


@pytest.mark.parametrize("name", ["key_id", "store", "expires_at", "external_id"])
def test_a_signed_request_about_a_key_says_everything(name) -> None:
    require_complete(read_binding(job_around(complete())), Endpoint.SIGNATURES)
    incomplete = read_binding(job_around(complete(**{name: None})))
    with pytest.raises(Denied, match=name) as caught:
        require_complete(incomplete, Endpoint.SIGNATURES)
    assert caught.value.code == "unbound_request"


def test_a_signed_request_for_a_key_names_no_key_yet() -> None:
    wallet = CreateWallet(
        network=Network.ETHEREUM,
        store=Store.HSM,
        external_id="user-1",
        expires_at=NOW + timedelta(minutes=5),
    )
    require_complete(read_binding(job_around(wallet)), Endpoint.WALLETS)


@pytest.mark.parametrize("name", ["threshold", "signers", "held_by"])
def test_a_signed_copy_names_both_groups(name) -> None:
    groups = {
        "signer_group": "zurich",
        "threshold": 2,
        "signers": ["s5", "s6"],
        "held_by": {"group": "treasury", "threshold": 2, "signers": ["s1", "s2"]},
    }
    said = complete().model_dump(include={"key_id", "store", "external_id", "expires_at"})
    body = CopyKey.model_validate(said | groups)
    require_complete(read_binding(job_around(body)), Endpoint.COPIES)
    without = body.model_copy(update={name: None})
    with pytest.raises(Denied, match=name):
        require_complete(read_binding(job_around(without)), Endpoint.COPIES)
