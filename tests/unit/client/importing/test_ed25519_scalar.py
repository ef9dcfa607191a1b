"""Ed25519 keys without a seed, as signers make them: scalars, which only signers take in again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_scalarmult_ed25519_base_noclamp

from custody.client.import_operations import import_key, import_wallet
from custody.client.importing.curves import scalar_of_seed
from custody.client.importing.faults import BadPrivateKey, KeyFault
from custody.client.importing.formats import KeyFormat, read_private_key
from custody.client.importing.pkcs8 import encode_pkcs8
from custody.client.importing.private_key import PrivateKey
from custody.client.importing.sealed_key import seal_key
from custody.wire.algorithms import ECDSA_SECP256K1, EDDSA_ED25519, Curve, Network
from custody.wire.points import GROUP_ORDER
from tests.unit.client.importing.refusals import refused
from tests.unit.client.importing.test_hex_keys import VECTORS
from tests.unit.client.importing.test_sealed_key import of_driver, of_signers, open_all

SCALAR = KeyFormat.ED25519_SCALAR
ORDER = GROUP_ORDER[Curve.ED25519]
OF_RFC_8032 = [vector[1:] for vector in VECTORS if vector[0] is Curve.ED25519]
EIGHT = f"{8:064x}"


@pytest.mark.parametrize(("seed", "public_key"), OF_RFC_8032)
def test_the_scalars_of_the_published_seeds_have_their_public_keys(seed, public_key):
    scalar = scalar_of_seed(bytes.fromhex(seed))
    key = read_private_key(f"{scalar:064x}", SCALAR)
    assert (key.algorithm, key.scalar) == (EDDSA_ED25519, scalar)
    assert key.public_key.hex() == public_key
    assert (key.networks, key.chain_code) == (None, None)


@given(st.integers(1, ORDER - 1))
def test_every_scalar_is_read_with_the_most_significant_digit_first(scalar):
    for text in (f"{scalar:064x}", f"0x{scalar:064X}", f" {scalar:064x}\n"):
        key = read_private_key(text, SCALAR)
        assert key.scalar == scalar
        little_endian = scalar.to_bytes(32, "little")
        assert key.public_key == crypto_scalarmult_ed25519_base_noclamp(little_endian)
        assert key.for_wallet(Network.SOLANA) is key


def test_0_the_order_and_more_are_refused():
    refused("00" * 32, SCALAR, KeyFault.OUT_OF_RANGE, "0 is not")
    for number in (ORDER, ORDER + 1, 2**256 - 1):
        refused(f"{number:064x}", SCALAR, KeyFault.OUT_OF_RANGE, "not below the order")


@pytest.mark.parametrize("digits", [0, 62, 63, 65, 128])
def test_another_number_of_digits_is_refused(digits):
    refused(("01234567" * 16)[:digits], SCALAR, KeyFault.WRONG_SIZE, f"has {digits}")


def test_a_seed_is_not_taken_for_a_scalar_where_the_public_key_is_expected():
    seed, public_key = EIGHT, read_private_key(EIGHT, KeyFormat.HEX, curve=Curve.ED25519).public_key
    refused(seed, SCALAR, KeyFault.PUBLIC_KEY_MISMATCH, public_key=public_key)


def test_neither_another_curve_nor_a_password_goes_with_it():
    refused(EIGHT, SCALAR, KeyFault.UNSUPPORTED, "ed25519", curve=Curve.SECP256K1)
    refused(EIGHT, SCALAR, KeyFault.PASSWORD_NOT_NEEDED, password="correct horse")
    with pytest.raises(ValueError, match="never have a seed"):
        PrivateKey(ECDSA_SECP256K1, (8).to_bytes(32), is_seedless=True)


def test_each_signer_opens_its_sub_share():
    key = read_private_key(EIGHT, SCALAR)
    imported = seal_key(key, of_signers(EDDSA_ED25519))
    assert imported.public_key == key.public_key
    open_all(imported, EDDSA_ED25519)


def test_no_hsm_gets_it_as_if_it_were_a_seed():
    key = read_private_key(EIGHT, SCALAR)
    for attempt in (
        lambda: encode_pkcs8(key),
        lambda: seal_key(key, of_driver(EDDSA_ED25519)),
        # before anything is sent
        lambda: next(import_wallet(key, Network.SOLANA)),
        lambda: next(import_key(key)),
    ):
        with pytest.raises(BadPrivateKey, match="scalar without a seed") as caught:
            attempt()
        assert caught.value.code is KeyFault.UNSUPPORTED


def test_nothing_secret_is_shown():
    key = read_private_key(f"{2**240 + 7:064x}", SCALAR)
    assert str(2**240 + 7) not in repr(key)
    assert key.secret.hex() not in repr(key)
    assert repr(key.secret)[2:-1] not in repr(key)
