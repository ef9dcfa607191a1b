"""What applications may ask for, and its limits."""

import json

import pytest
from pydantic import ValidationError

from custody.wire.algorithms import (
    ALGORITHMS,
    ECDSA_SECP256K1,
    EDDSA_ED25519,
    AddressType,
    Algorithm,
    Curve,
    Network,
    Scheme,
)
from custody.wire.requests import (
    CREATE_SIGNATURE,
    MAX_MESSAGE_SIZE,
    CreateKey,
    CreateWallet,
    SignMessage,
    SignRequest,
)


def sign(**body: object) -> SignRequest:
    return CREATE_SIGNATURE.validate_json(json.dumps(body))


def test_a_wallets_network_names_its_algorithm():
    def algorithm(network: Network) -> Algorithm:
        return CreateWallet.model_validate({"network": network, "store": "hsm"}).algorithm

    assert algorithm(Network.ETHEREUM) == algorithm(Network.BITCOIN) == ECDSA_SECP256K1
    assert algorithm(Network.SOLANA) == EDDSA_ED25519


@pytest.mark.parametrize("network", [Network.ETHEREUM, Network.SOLANA])
@pytest.mark.parametrize("address_type", list(AddressType))
def test_bitcoin_wallets_alone_have_an_address_type(network, address_type):
    body = {"network": network, "store": "mpc", "signer_group": "g", "address_type": address_type}
    with pytest.raises(ValidationError, match="address_type: only Bitcoin wallets"):
        CreateWallet.model_validate(body)


@pytest.mark.parametrize("scheme", list(Scheme))
@pytest.mark.parametrize("curve", list(Curve))
def test_a_key_has_a_scheme_and_a_curve_that_go_together(scheme, curve):
    body = {"scheme": scheme, "curve": curve, "store": "hsm"}
    if Algorithm(scheme, curve) in ALGORITHMS:
        assert CreateKey.model_validate(body).algorithm == Algorithm(scheme, curve)
    else:
        with pytest.raises(ValidationError, match="not an algorithm of this service"):
            CreateKey.model_validate(body)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_algorithms_are_read_as_they_are_written(algorithm):
    assert Algorithm.parse(str(algorithm)) == algorithm


def test_an_unknown_algorithm_is_told_the_known_ones():
    with pytest.raises(ValueError, match="one of ECDSA/secp256k1, ECDSA/secp256r1, EdDSA/ed25519"):
        Algorithm.parse("RSA/2048")


@pytest.mark.parametrize("external_id", ["a", "order-1", "!~", "x" * 200])
def test_an_external_id_is_printable_ascii(external_id):
    assert sign(kind="Message", message="", external_id=external_id).external_id == external_id


@pytest.mark.parametrize("external_id", ["", "a b", "a\n", "é", "\x7f", "x" * 201, 7])
def test_anything_else_is_no_external_id(external_id):
    with pytest.raises(ValidationError):
        sign(kind="Message", message="", external_id=external_id)


@pytest.mark.parametrize("size", [0, 20, 31, 33, 64])
def test_a_hash_has_32_bytes(size):
    with pytest.raises(ValidationError, match=f"must be 32 bytes, is {size}"):
        sign(kind="Hash", hash="0x" + "00" * size)


def test_a_message_is_bytes_when_it_starts_with_0x_and_text_otherwise():
    def content(message: str) -> bytes:
        request = sign(kind="Message", message=message)
        assert isinstance(request, SignMessage)
        return request.content

    assert content("0x6869") == b"hi"
    assert content("0x") == b""
    assert content("") == b""
    assert content("0X6869") == b"0X6869"
    assert content(" 0x6869") == b" 0x6869"
    assert content("grüezi") == "grüezi".encode()


@pytest.mark.parametrize("message", ["0x1", "0xyz", "0x 1"])
def test_bad_hex_is_refused_rather_than_signed_as_text(message):
    with pytest.raises(ValidationError, match="0x-prefixed hex"):
        sign(kind="Message", message=message)


@pytest.mark.parametrize("unit", ["a", "é", "0x"])
def test_a_message_is_at_most_64_kib_after_decoding(unit):
    def of_size(size: int) -> str:
        return "0x" + "00" * size if unit == "0x" else unit * (size // len(unit.encode()))

    sign(kind="Message", message=of_size(MAX_MESSAGE_SIZE))
    with pytest.raises(ValidationError, match="at most 65536 bytes"):
        sign(kind="Message", message=of_size(MAX_MESSAGE_SIZE + 2))


def test_half_a_character_is_no_message():
    with pytest.raises(ValidationError):
        CREATE_SIGNATURE.validate_json(r'{"kind": "Message", "message": "\ud800"}')


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "Transaction", "message": "hi"},
        {"message": "hi"},
        {"kind": "Message"},
        {"kind": "Hash"},
        {"kind": "Hash", "message": "hi"},
        {"kind": "Message", "hash": "0x" + "00" * 32},
        {"kind": "Message", "message": "hi", "hash": "0x" + "00" * 32},
        {"kind": "Message", "message": "hi", "hash_function": "MD5"},
        {"kind": "Message", "message": 7},
    ],
)
def test_a_body_of_another_shape_is_refused(body):
    with pytest.raises(ValidationError):
        sign(**body)
