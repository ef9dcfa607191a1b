"""Bytes that are no public key are refused wherever a model of the wire has one in it."""

import base64
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from Crypto.Signature import eddsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from custody.node.apps_command import _public_key
from custody.node.errors import Denied
from custody.node.gate_messages import ShownImport
from custody.node.signed_requests import check_signature
from custody.runtime.errors import ConfigurationError, OperatorError
from custody.runtime.job_signing_keys import pinned_job_keys
from custody.wire.addresses import address_of
from custody.wire.algorithms import (
    ALGORITHMS,
    ECDSA_SECP256K1,
    ECDSA_SECP256R1,
    EDDSA_ED25519,
    SCHNORR_SECP256K1,
    Algorithm,
    Network,
    Protection,
    Store,
)
from custody.wire.attestations import PinnedNodes
from custody.wire.dealings import Dealing
from custody.wire.encoding import Model
from custody.wire.imports import ImportedKey
from custody.wire.jobs import Endpoint, KeyReference
from custody.wire.node_api import HeartbeatRequest, NodeHealth
from custody.wire.outcomes import GeneratedKey
from custody.wire.public_keys import check_ed25519, check_public_key
from custody.wire.requests import CreateKey, SignMessage
from custody.wire.resources import Key
from custody.wire.signatures import BadSignature, finish
from custody.wire.signed_bytes import DetachedSignature, PinnedKeys, SigningKey
from custody.wire.statements import Attestation, Confirmation, MadeFor, Promise, ShareStatement
from custody.wire.tickets import PROTOCOL
from hsm_driver.key_copies import KeyCopy
from mpc.ceremonies.envelopes import CeremonyChannel
from mpc.layer4.share_copy import ShareCopy
from mpc.peers import checked_identity
from tests.made_up_keys import made_up_key
from tests.unit.node.requests import complete, job_around
from tests.unit.wire.signer_examples import TICKET
from tests.unit.wire.walking import subclasses

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
ORDER = 2**252 + 27742317777372353535851937790883648493
"""RFC 8032, section 5.1, table 1."""
ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826


def encoded(y: int, sign: int = 0) -> bytes:
    """RFC 8032, section 5.1.2, without a look at whether it is a point."""
    return (y | sign << 255).to_bytes(32, "little")


def mixed(times: int) -> bytes:
    """A good point plus one of order 2, 4 or 8."""
    good = eddsa.import_public_key(made_up_key(EDDSA_ED25519)).pointQ
    point = good + eddsa.import_public_key(encoded(ORDER_8)).pointQ * times
    return encoded(int(point.y), int(point.x) & 1)


SMALL_ORDER = {
    f"order {order}, y = {name}, sign {sign}": encoded(y, sign)
    for order, name, y in (
        (1, "1", 1),
        (1, "p + 1, not reduced", P + 1),
        (2, "p - 1", P - 1),
        (4, "0: all zeros", 0),
        (4, "p, not reduced", P),
        (8, "y8", ORDER_8),
        (8, "p - y8", P - ORDER_8),
    )
    for sign in (0, 1)
}
NOT_ED25519 = SMALL_ORDER | {
    "not on the curve": encoded(2),
    "y of 255 ones": b"\xff" * 32,
    "mixed order, 8": mixed(1),
    "mixed order, 4": mixed(2),
    "mixed order, 2": mixed(4),
    "31 bytes": made_up_key(EDDSA_ED25519)[:31],
    "33 bytes": made_up_key(EDDSA_ED25519) + b"\0",
    "nothing": b"",
}


def not_sec1(algorithm: Algorithm, off_curve: int, prime: int) -> dict[str, bytes]:
    good = made_up_key(algorithm)
    return {
        "infinity": b"\0",
        "33 zeros": bytes(33),
        "not on the curve": b"\x02" + off_curve.to_bytes(32),
        "x not reduced": b"\x02" + (prime + 1).to_bytes(32),
        "hybrid prefix": b"\x06" + good[1:],
        "prefix of uncompressed": b"\x04" + good[1:],
        "uncompressed": b"\x04" + good[1:] + bytes(32),
        "hybrid": b"\x06" + good[1:] + bytes(32),
        "x alone": good[1:],
    }


SECP256K1_PRIME = 2**256 - 2**32 - 977  # SEC 2, section 2.4.1
P256_PRIME = 2**256 - 2**224 + 2**192 + 2**96 - 1  # SEC 2, section 2.4.2
NO_KEYS: dict[Algorithm, dict[str, bytes]] = {
    ECDSA_SECP256K1: not_sec1(ECDSA_SECP256K1, 5, SECP256K1_PRIME),
    ECDSA_SECP256R1: not_sec1(ECDSA_SECP256R1, 1, P256_PRIME),
    EDDSA_ED25519: NOT_ED25519,
    SCHNORR_SECP256K1: {
        "all zeros": bytes(32),
        "not on the curve": (5).to_bytes(32),
        "x not reduced": (SECP256K1_PRIME + 1).to_bytes(32),
        "compressed": made_up_key(),
    },
}
ANY_NO_KEY = [
    pytest.param(algorithm, bad, id=f"{algorithm}: {name}")
    for algorithm, keys in NO_KEYS.items()
    for name, bad in keys.items()
]
NO_ED25519_KEY = [pytest.param(bad, id=name) for name, bad in NOT_ED25519.items()]


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
def test_a_public_key_is_taken(algorithm: Algorithm):
    for number in range(1, 20):
        check_public_key(algorithm, made_up_key(algorithm, number))


@pytest.mark.parametrize(("algorithm", "bad"), ANY_NO_KEY)
def test_what_is_no_public_key_is_refused(algorithm: Algorithm, bad: bytes):
    with pytest.raises(ValueError, match="public key"):
        check_public_key(algorithm, bad)


# Every model with a public key in it

SIGNERS = ["signer-1", "signer-2", "signer-3"]


def key_reference(algorithm: Algorithm, public_key: bytes) -> dict[str, Any]:
    return {
        "id": uuid4(), "scheme": algorithm.scheme, "curve": algorithm.curve,
        "network": None, "public_key": public_key,
    }  # fmt: skip


def generated(algorithm: Algorithm, public_key: bytes) -> dict[str, Any]:
    return {
        "scheme": algorithm.scheme, "curve": algorithm.curve, "public_key": public_key,
        "protection": Protection.HSM,
    }  # fmt: skip


def key_copy(algorithm: Algorithm, public_key: bytes) -> dict[str, Any]:
    return {
        **generated(algorithm, public_key), "key_id": uuid4(), "network": None, "wrapped": b"",
        "master_key": "custody/1", "mechanism": "AES_KEY_WRAP_PAD",
    }  # fmt: skip


def attestation(algorithm: Algorithm, public_key: bytes) -> dict[str, Any]:
    return {
        **generated(algorithm, public_key), "key_id": uuid4(), "store": Store.HSM, "group": "hsm",
        "threshold": 1, "signers": ["zurich-1"], "node": "zurich-1", "made_for": None,
        "network": None,
    }  # fmt: skip


def share_statement(algorithm: Algorithm, public_key: bytes) -> dict[str, Any]:
    return {
        "key_id": uuid4(), "ceremony": uuid4(), "generation": 0, "protocol": PROTOCOL[algorithm],
        "group": "treasury", "threshold": 2, "signers": SIGNERS, "public_key": public_key,
        "chain_code": None, "transcript": bytes(32), "made_for": None, "signer": "signer-1",
        "index": 1,
    }  # fmt: skip


def dealing(algorithm: Algorithm, public_key: bytes) -> dict[str, Any]:
    group = {"group": "treasury", "threshold": 2, "signers": SIGNERS}
    return {
        "key_id": uuid4(), "copy_id": uuid4(), "share_set_id": uuid4(), "generation": 0,
        "protocol": PROTOCOL[algorithm], "network": None, "public_key": public_key,
        "chain_code": None, "imported": False, "dealt_by": group,
        "verifying_shares": [b"y"] * len(SIGNERS), "quorum": [1, 2],
        "holders": group, "signer": SIGNERS[0], "index": 1,
        "commitments": [b"c"] * 2, "sealed": dict.fromkeys(SIGNERS, b"s"),
    }  # fmt: skip


def share_copy(algorithm: Algorithm, public_key: bytes) -> dict[str, Any]:
    return {
        "key_id": uuid4(), "scheme": algorithm.scheme, "curve": algorithm.curve, "network": None,
        "public_key": public_key, "chain_code": None, "taproot_tweaked": False,
        "group": "treasury", "threshold": 2, "signers": SIGNERS, "signer": "signer-1", "index": 1,
        "generation": 0, "ceremony": uuid4(), "transcript": bytes(32),
        "secret_share": (1).to_bytes(32), "verifying_shares": {}, "protocol": PROTOCOL[algorithm],
        "share": b"", "made_for": None, "identity_public_key": made_up_key(EDDSA_ED25519),
    }  # fmt: skip


def shown_key(algorithm: Algorithm, public_key: bytes) -> dict[str, Any]:
    return {
        "id": uuid4(), "status": "Active", "store": "hsm", "scheme": algorithm.scheme,
        "curve": algorithm.curve, "network": None, "public_key": public_key, "protection": "hsm",
        "signer_group": None, "threshold": None, "signers": None, "generation": None,
        "root": None, "path": None, "chain_code": None, "attestations": [], "external_id": None,
        "name": None, "tags": [],
        "reason": None, "created_at": datetime.now(UTC),
    }  # fmt: skip


def heartbeat(_: Algorithm, public_key: bytes) -> dict[str, Any]:
    return {
        "version": "1", "group": "hsm", "kinds": [], "capabilities": {},
        "health": NodeHealth(status="ok"), "identity_public_key": public_key,
    }  # fmt: skip


Fields = Callable[[Algorithm, bytes], dict[str, Any]]
BORDERS: dict[type[Model], tuple[Fields, tuple[Algorithm, ...]]] = {
    KeyReference: (key_reference, ALGORITHMS),
    GeneratedKey: (generated, ALGORITHMS),
    Attestation: (attestation, ALGORITHMS),
    ShareStatement: (share_statement, tuple(PROTOCOL)),
    Confirmation: (share_statement, tuple(PROTOCOL)),
    Promise: (share_statement, tuple(PROTOCOL)),
    Dealing: (dealing, tuple(PROTOCOL)),
    ShareCopy: (share_copy, tuple(PROTOCOL)),
    KeyCopy: (key_copy, ALGORITHMS),
    Key: (shown_key, ALGORITHMS),
    HeartbeatRequest: (heartbeat, (EDDSA_ED25519,)),
}


@pytest.mark.parametrize(
    ("model", "algorithm"),
    [(model, algorithm) for model, (_, algorithms) in BORDERS.items() for algorithm in algorithms],
    ids=str,
)
def test_no_model_takes_what_is_no_public_key(model: type[Model], algorithm: Algorithm):
    fields, _ = BORDERS[model]
    model.model_validate(fields(algorithm, made_up_key(algorithm)))
    for bad in NO_KEYS[algorithm].values():
        with pytest.raises(ValidationError, match="public key"):
            model.model_validate(fields(algorithm, bad))


@pytest.mark.parametrize("bad", NO_ED25519_KEY)
def test_no_key_was_made_for_an_application_without_a_public_key(bad: bytes):
    with pytest.raises(ValidationError, match="public key"):
        MadeFor(endpoint=Endpoint.KEYS, external_id=None, application=bad)


def test_every_model_with_a_public_key_is_tested():
    def has_one(model: type[BaseModel]) -> bool:
        return any(name.endswith("public_key") for name in model.model_fields)

    found = {model for model in subclasses(Model) if has_one(model)}
    assert found == BORDERS.keys() | {ImportedKey, ShownImport}  # it shows an ImportedKey's


@pytest.mark.parametrize(("algorithm", "bad"), ANY_NO_KEY)
def test_no_request_imports_what_is_no_public_key(algorithm: Algorithm, bad: bytes):
    """ImportedKey does not know the algorithm; the request around it does."""

    def body(public_key: bytes) -> CreateKey:
        imported = ImportedKey(import_id=uuid4(), public_key=public_key, wrapped=b"sealed")
        scheme, curve = algorithm
        return CreateKey(scheme=scheme, curve=curve, store=Store.HSM, imported=imported)

    body(made_up_key(algorithm))
    with pytest.raises(ValidationError, match="public key"):
        body(bad)


# Every key that is pinned, and every other reader


def identity(bad: bytes) -> None:
    checked_identity(base64.b64encode(bad).decode())


def application_key(bad: bytes) -> None:
    _public_key(base64.b64encode(bad).decode(), None)


def job_signing_key(bad: bytes) -> None:
    pinned_job_keys([base64.b64encode(bad).decode()], "control_plane")


def pinned_driver(bad: bytes) -> None:
    PinnedNodes({"zurich-1": bad}, {}, {}, {})


def pinned_signer(bad: bytes) -> None:
    PinnedNodes({}, {"signer-1": bad}, {}, {})


def stored_application_key(bad: bytes) -> None:
    job = job_around(complete())
    signature = DetachedSignature(signature=bytes(64), signing_key_id="0" * 16)
    check_signature(job.model_copy(update={"request_signature": signature}), bad)


def applications_key(bad: bytes) -> None:
    PinnedNodes({}, {}, {}, {}, application=bad)


def participants_identity(bad: bytes) -> None:
    me, *others = (each.signer for each in TICKET.participants)
    CeremonyChannel(
        TICKET, bytes(32), me, SigningKey(Ed25519PrivateKey.generate()),
        dict.fromkeys(others, bad),
    )  # fmt: skip


@pytest.mark.parametrize(
    "read",
    [
        identity, application_key, job_signing_key, pinned_driver, pinned_signer,
        stored_application_key, applications_key, participants_identity, check_ed25519,
        lambda bad: PinnedKeys([bad]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("bad", NO_ED25519_KEY)
def test_nobody_is_believed_under_what_is_no_public_key(read: Callable[[bytes], object], bad):
    with pytest.raises((ValueError, OperatorError, ConfigurationError, Denied)):
        read(bad)


@pytest.mark.parametrize("bad", NO_ED25519_KEY)
def test_it_has_no_address(bad: bytes):
    """All zeros is Solana's System Program."""
    with pytest.raises(ValueError, match="public key"):
        address_of(Network.SOLANA, EDDSA_ED25519, bad)


@pytest.mark.parametrize("bad", [pytest.param(bad, id=name) for name, bad in SMALL_ORDER.items()])
def test_no_signature_holds_under_a_point_of_small_order(bad: bytes):
    """R = A and s = 0: OpenSSL takes it for a signature of one message in eight, or of all."""
    for number in range(32):
        request = SignMessage(kind="Message", message=str(number))
        with pytest.raises(BadSignature, match="public key"):
            finish(bad + bytes(32), bad, EDDSA_ED25519, Network.SOLANA, request, None)


# A second opinion: the formulas of RFC 8032 themselves


def decoded(data: bytes) -> tuple[int, int] | None:
    """RFC 8032, section 5.1.3; None for bytes that are not a canonical point."""
    y, sign = int.from_bytes(data, "little") & (2**255 - 1), data[31] >> 7
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    root = pow(square, (P + 3) // 8, P)
    x = root if root * root % P == square else root * pow(2, (P - 1) // 4, P) % P
    if x * x % P != square or (x == 0 and sign):
        return None
    return (x if x & 1 == sign else P - x), y


def add(one: tuple[int, int], two: tuple[int, int]) -> tuple[int, int]:
    """RFC 8032, section 5.1.4, in affine coordinates."""
    (x1, y1), (x2, y2) = one, two
    product = D * x1 * x2 * y1 * y2
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, P) % P
    return x, (y1 * y2 + x1 * x2) * pow(1 - product, -1, P) % P


def times(number: int, point: tuple[int, int]) -> tuple[int, int]:
    total = (0, 1)
    while number:
        if number & 1:
            total = add(total, point)
        point = add(point, point)
        number >>= 1
    return total


def is_key(data: bytes) -> bool:
    point = decoded(data)
    return point not in (None, (0, 1)) and times(ORDER, point) == (0, 1)


@given(st.binary(min_size=32, max_size=32))
@example(made_up_key(EDDSA_ED25519))
@example(mixed(4))
def test_a_second_implementation_is_of_the_same_opinion(data: bytes):
    try:
        check_ed25519(data)
    except ValueError:
        assert not is_key(data)
    else:
        assert is_key(data)


def test_the_second_implementation_refuses_the_vectors_too():
    assert not any(is_key(bad) for bad in NOT_ED25519.values() if len(bad) == 32)
    assert is_key(made_up_key(EDDSA_ED25519))


def test_a_derived_keys_reference_is_checked_as_any():
    fields = key_reference(ECDSA_SECP256K1, bytes(33)) | {"root": UUID(int=1), "path": (0,)}
    with pytest.raises(ValidationError):
        KeyReference.model_validate(fields)
