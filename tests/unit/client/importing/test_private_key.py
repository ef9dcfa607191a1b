"""What a private key shows, and what it can become: Taproot's output keys and Schnorr keys."""

import hashlib
from dataclasses import FrozenInstanceError

import bdkpython as bdk
import pytest
from buidl.ecc import PrivateKey as BuidlPrivateKey
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nacl.bindings import crypto_scalarmult_ed25519_base_noclamp
from nacl.signing import SigningKey

from custody.client.importing.curves import public_key_of, scalar_of_seed
from custody.client.importing.faults import BadPrivateKey, KeyFault
from custody.client.importing.private_key import PrivateKey
from custody.wire.addresses import address_of
from custody.wire.algorithms import (
    ALGORITHMS,
    ECDSA_SECP256K1,
    ECDSA_SECP256R1,
    EDDSA_ED25519,
    SCHNORR_SECP256K1,
    AddressType,
    Curve,
    Network,
)
from custody.wire.points import GROUP_ORDER
from tests.unit.client.importing.second_opinion import check_signs

ORDER = GROUP_ORDER[Curve.SECP256K1]
scalars = st.integers(1, ORDER - 1)
seeds = st.binary(min_size=32, max_size=32)
# BIP-341, wallet-test-vectors.json, keyPathSpending, input 0: there is no script tree
INTERNAL = "6b973d88838f27366ed61c9ad6367663045cb456e28335c109e30717ae0c6baa"
TWEAKED = 0x2405B971772AD26915C8DCDF10F238753A9B837E5F8E6A86FD7C0CCE5B7296D9
OUTPUT_KEY = "53a1f6e454df1aa2776a2814a721372d6258050de330b3c6d10ee8f4e0dda343"
OUTPUT_ADDRESS = "bc1p2wsldez5mud2yam29q22wgfh9439spgduvct83k3pm50fcxa5dps59h4z5"
# BIP-340, test-vectors.csv, rows 0 to 2: secret key and public key
BIP_340 = [
    (
        "0000000000000000000000000000000000000000000000000000000000000003",
        "f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9",
    ),
    (
        "b7e151628aed2a6abf7158809cf4f3c762e7160f38b4da56a784d9045190cfef",
        "dff1d77f2a671c5f36183726db2341be58feae1da2deced843240f7b502ba659",
    ),
    (
        "c90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b14e5c9",
        "dd308afec5777e13121fa72b9cc1b7cc0139715309b086c960e18fd969774eb8",
    ),
]


def key_of(number: int) -> PrivateKey:
    return PrivateKey(ECDSA_SECP256K1, number.to_bytes(32))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_nothing_secret_is_shown(algorithm):
    secret, chain_code = bytes(range(100, 132)), bytes(range(150, 182))
    key = PrivateKey(algorithm, secret, chain_code=chain_code)
    for text in (repr(key), str(key), f"{[key]}"):
        for hidden in (key.secret, chain_code):
            assert hidden.hex() not in text
            assert repr(hidden)[2:-1] not in text
        assert str(key.scalar) not in text
    assert repr(key.public_key) in repr(key)


def test_a_key_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        key_of(7).secret = bytes(32)  # type: ignore[misc]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_secret_of_another_size_is_refused(algorithm, size):
    with pytest.raises(BadPrivateKey, match=f"32 bytes, not {size}") as caught:
        PrivateKey(algorithm, b"\1" * size)
    assert caught.value.code is KeyFault.WRONG_SIZE


@pytest.mark.parametrize("algorithm", [ECDSA_SECP256K1, ECDSA_SECP256R1, SCHNORR_SECP256K1])
def test_a_number_outside_the_group_is_refused(algorithm):
    for number in (0, GROUP_ORDER[algorithm.curve], 2**256 - 1):
        with pytest.raises(BadPrivateKey, match="not a private key") as caught:
            PrivateKey(algorithm, number.to_bytes(32))
        assert caught.value.code is KeyFault.OUT_OF_RANGE


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_chain_code_of_another_size_is_refused(size):
    with pytest.raises(BadPrivateKey, match="chain code"):
        PrivateKey(ECDSA_SECP256K1, (7).to_bytes(32), chain_code=bytes(size))


# Ed25519


@given(seeds)
@example(bytes(32))
@example(b"\xff" * 32)
def test_the_scalar_of_a_seed_has_the_public_key_of_the_seed(seed):
    scalar = scalar_of_seed(seed)
    assert 0 < scalar < GROUP_ORDER[Curve.ED25519]
    point = crypto_scalarmult_ed25519_base_noclamp(scalar.to_bytes(32, "little"))
    assert point == bytes(SigningKey(seed).verify_key)
    assert point == PrivateKey(EDDSA_ED25519, seed).public_key


def test_the_scalar_is_that_of_rfc_8032():
    """Section 5.1.5: bits 0 to 2 and 255 are cleared, bit 254 is set."""
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    number = int.from_bytes(hashlib.sha512(seed).digest()[:32], "little")
    clamped = (number & ~7 & ~(1 << 255)) | (1 << 254)
    assert scalar_of_seed(seed) == clamped % GROUP_ORDER[Curve.ED25519]


# Taproot


def test_the_output_key_is_that_of_the_vector_of_bip_341():
    key = key_of(int(INTERNAL, 16)).for_wallet(Network.BITCOIN, AddressType.P2TR)
    assert (key.algorithm, key.public_key.hex()) == (SCHNORR_SECP256K1, OUTPUT_KEY)
    assert key.scalar == ORDER - TWEAKED, "the vector's y is odd"
    address = address_of(Network.BITCOIN, SCHNORR_SECP256K1, key.public_key)
    assert address == OUTPUT_ADDRESS
    check_signs(key)


@settings(max_examples=30)
@given(scalars)
@example(1)
@example(ORDER - 1)
def test_the_output_key_is_that_of_two_other_libraries(scalar):
    key, internal = key_of(scalar).taproot_output(), key_of(scalar).public_key[1:]
    tag = hashlib.sha256(b"TapTweak").digest()
    tweak = int.from_bytes(hashlib.sha256(tag + tag + internal).digest())
    tweaked = BuidlPrivateKey(scalar).tweaked(tweak).secret
    assert key.scalar in (tweaked, ORDER - tweaked)
    descriptor = bdk.Descriptor(f"tr({internal.hex()})", bdk.NetworkKind.MAIN)
    address = address_of(Network.BITCOIN, SCHNORR_SECP256K1, key.public_key)
    assert address == str(descriptor.derive_address(0, bdk.Network.BITCOIN))


@given(scalars)
def test_a_key_and_its_negative_have_one_output_key(scalar):
    """An internal key is an x-coordinate (BIP-340)."""
    assert key_of(scalar).taproot_output() == key_of(ORDER - scalar).taproot_output()


def test_an_output_key_is_never_tweaked_again():
    output = key_of(7).taproot_output()
    assert output.for_wallet(Network.BITCOIN, AddressType.P2TR) is output
    with pytest.raises(BadPrivateKey, match="not an internal key"):
        output.taproot_output()


@pytest.mark.parametrize(("secret", "public_key"), BIP_340)
def test_a_bare_schnorr_key_is_not_tweaked(secret, public_key):
    key = key_of(int(secret, 16)).for_algorithm(SCHNORR_SECP256K1)
    assert key.public_key.hex() == public_key
    check_signs(key)
    assert key != key_of(int(secret, 16)).taproot_output()


@given(scalars)
def test_a_schnorr_key_has_the_scalar_of_the_even_y(scalar):
    key, negative = (
        PrivateKey(SCHNORR_SECP256K1, number.to_bytes(32)) for number in (scalar, ORDER - scalar)
    )
    assert key == negative
    assert key.secret in (scalar.to_bytes(32), (ORDER - scalar).to_bytes(32))
    assert public_key_of(ECDSA_SECP256K1, key.secret) == b"\x02" + key.public_key


def test_a_chain_code_stays_with_the_key_that_has_children():
    key = PrivateKey(ECDSA_SECP256K1, (7).to_bytes(32), chain_code=bytes(32))
    assert key.for_wallet(Network.ETHEREUM).chain_code == bytes(32)
    assert key.taproot_output().chain_code is None


# Wallets


@pytest.mark.parametrize(
    ("algorithm", "network", "address_type"),
    [
        (EDDSA_ED25519, Network.ETHEREUM, None),
        (EDDSA_ED25519, Network.BITCOIN, AddressType.P2TR),
        (ECDSA_SECP256R1, Network.ETHEREUM, None),
        (ECDSA_SECP256R1, Network.BITCOIN, AddressType.P2TR),
        (ECDSA_SECP256K1, Network.SOLANA, None),
        (SCHNORR_SECP256K1, Network.BITCOIN, AddressType.P2WPKH),
    ],
)
def test_a_key_of_another_algorithm_than_the_wallets_is_refused(algorithm, network, address_type):
    key = PrivateKey(algorithm, (7).to_bytes(32))
    with pytest.raises(BadPrivateKey, match="unsupported"):
        key.for_wallet(network, address_type)


def test_a_network_without_address_types_has_none():
    with pytest.raises(ValueError, match="address_type"):
        key_of(7).for_wallet(Network.ETHEREUM, AddressType.P2TR)


def test_a_key_without_networks_is_for_each_of_its_curve():
    assert key_of(7).for_wallet(Network.ETHEREUM) == key_of(7).for_wallet(Network.BITCOIN)
