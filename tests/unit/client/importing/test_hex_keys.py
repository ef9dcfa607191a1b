"""Hex: exactly 32 bytes, from 1 to the order less 1, and for Ed25519 any."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.client.importing.faults import BadPrivateKey, KeyFault
from custody.client.importing.formats import KeyFormat, read_private_key
from custody.client.importing.private_key import PrivateKey
from custody.client.importing.texts import HEX_ALGORITHM
from custody.wire.algorithms import ECDSA_SECP256K1, ECDSA_SECP256R1, EDDSA_ED25519, Curve
from custody.wire.points import GROUP_ORDER
from tests.unit.client.importing.refusals import refused
from tests.unit.client.importing.second_opinion import check_signs

SCALARS = (Curve.SECP256K1, Curve.SECP256R1)
VECTORS = [
    # SEC 2, section 2.4.1: the base point
    (
        Curve.SECP256K1,
        "0000000000000000000000000000000000000000000000000000000000000001",
        "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
    ),
    # RFC 6979, appendix A.2.5: P-256
    (
        Curve.SECP256R1,
        "C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721",
        "0360fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6",
    ),
    # RFC 8032, section 7.1, tests 1 to 3
    (
        Curve.ED25519,
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    ),
    (
        Curve.ED25519,
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
    ),
    (
        Curve.ED25519,
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
    ),
]


def read_hex(text: str, curve: Curve) -> PrivateKey:
    return read_private_key(text, KeyFormat.HEX, curve=curve)


@pytest.mark.parametrize(("curve", "secret", "public_key"), VECTORS)
def test_the_published_private_keys_have_their_public_keys(curve, secret, public_key):
    key = read_hex(secret, curve)
    assert key.public_key == bytes.fromhex(public_key)
    assert key.secret == bytes.fromhex(secret)
    assert (key.networks, key.chain_code) == (None, None)
    check_signs(key)


@given(st.sampled_from(sorted(HEX_ALGORITHM)), st.data())
def test_every_key_is_read_right_with_and_without_0x(curve, data):
    scalar = data.draw(st.integers(1, GROUP_ORDER[curve] - 1))
    for text in (f"{scalar:064x}", f"0x{scalar:064X}", f" {scalar:064x}\n"):
        key = read_hex(text, curve)
        assert (key.algorithm, key.secret) == (HEX_ALGORITHM[curve], scalar.to_bytes(32))


@pytest.mark.parametrize("curve", HEX_ALGORITHM)
@pytest.mark.parametrize("zeros", [1, 2, 31])
def test_leading_zeros_are_part_of_the_key(curve, zeros):
    text = "00" * zeros + "17" * (32 - zeros)
    key = read_hex(text, curve)
    assert key.secret.hex() == text
    check_signs(key)


@pytest.mark.parametrize("curve", SCALARS)
def test_the_largest_private_key_is_the_order_less_1(curve):
    largest = GROUP_ORDER[curve] - 1
    key = read_hex(f"{largest:064x}", curve)
    assert key.scalar == largest
    check_signs(key)


@pytest.mark.parametrize("curve", SCALARS)
def test_0_is_refused(curve):
    refused("00" * 32, KeyFormat.HEX, KeyFault.OUT_OF_RANGE, "0 is not", curve=curve)


@pytest.mark.parametrize("curve", SCALARS)
@pytest.mark.parametrize("above", [0, 1, 2**31])
def test_the_order_and_more_is_refused(curve, above):
    text = f"{GROUP_ORDER[curve] + above:064x}"
    refused(text, KeyFormat.HEX, KeyFault.OUT_OF_RANGE, "not below the order", curve=curve)
    refused("ff" * 32, KeyFormat.HEX, KeyFault.OUT_OF_RANGE, "not below the order", curve=curve)


@pytest.mark.parametrize("text", ["00" * 32, "ff" * 32])
def test_any_32_bytes_are_a_seed_of_ed25519(text):
    """RFC 8032, section 5.1.5."""
    key = read_hex(text, Curve.ED25519)
    assert (key.algorithm, key.secret.hex()) == (EDDSA_ED25519, text)
    check_signs(key)


@pytest.mark.parametrize("curve", HEX_ALGORITHM)
@pytest.mark.parametrize("digits", [0, 1, 62, 63, 65, 66, 128])
def test_another_number_of_digits_is_refused(curve, digits):
    text = ("1234567890abcdef" * 8)[:digits]
    for written in (text, f"0x{text}"):
        refused(written, KeyFormat.HEX, KeyFault.WRONG_SIZE, f"has {digits}", curve=curve)


@pytest.mark.parametrize("text", ["0X" + "17" * 32, "17 " * 32, "g7" * 32, "0x0x" + "17" * 31])
def test_other_characters_are_refused(text):
    refused(text, KeyFormat.HEX, KeyFault.BAD_FORMAT, "not hex digits", curve=Curve.SECP256K1)


def test_digits_of_other_scripts_are_refused():
    arabic = "١" * 64
    refused(arabic, KeyFormat.HEX, KeyFault.BAD_FORMAT, "ASCII", curve=Curve.SECP256K1)


def test_hex_needs_a_curve():
    refused("17" * 32, KeyFormat.HEX, KeyFault.UNSUPPORTED, "give the curve")


def test_a_password_for_hex_is_a_mistake():
    refused(
        "17" * 32,
        KeyFormat.HEX,
        KeyFault.PASSWORD_NOT_NEEDED,
        curve=Curve.SECP256K1,
        password="correct horse",
    )


def test_the_public_key_that_the_caller_expects_is_checked():
    key = read_hex("17" * 32, Curve.ED25519)
    again = read_private_key(
        "17" * 32, KeyFormat.HEX, curve=Curve.ED25519, public_key=key.public_key
    )
    assert again == key
    refused(
        "18" * 32,
        KeyFormat.HEX,
        KeyFault.PUBLIC_KEY_MISMATCH,
        curve=Curve.ED25519,
        public_key=key.public_key,
    )


def test_the_same_32_bytes_are_other_keys_on_other_curves():
    keys = [read_hex("17" * 32, curve) for curve in HEX_ALGORITHM]
    assert [key.algorithm for key in keys] == [ECDSA_SECP256K1, ECDSA_SECP256R1, EDDSA_ED25519]
    assert len({key.public_key for key in keys}) == 3


@pytest.mark.parametrize(
    ("form", "why"),
    [("keystore", "password_needed"), ("pkcs8", "not PKCS#8"), ("hex", "not hex digits"),
     ("wiff", "'wiff' is not a valid KeyFormat")],
)  # fmt: skip
def test_the_name_of_a_format_means_that_format(form: Any, why: str):
    with pytest.raises((BadPrivateKey, ValueError), match=why):
        read_private_key("{}", form, curve=Curve.SECP256K1)
