"""Addresses against published vectors and second implementations."""

import bdkpython as bdk
import pytest
from bitcoin.core import Hash160
from bitcoin.wallet import P2WPKHBitcoinAddress
from coincurve import PrivateKey
from eth_keys import datatypes as eth_keys
from hypothesis import given
from hypothesis import strategies as st
from solders.pubkey import Pubkey

from custody.wire.addresses import address_of, eip55
from custody.wire.algorithms import (
    ECDSA_SECP256K1,
    ECDSA_SECP256R1,
    EDDSA_ED25519,
    NETWORK_ALGORITHMS,
    SCHNORR_SECP256K1,
    Network,
)
from tests.made_up_keys import made_up_key

ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
secp256k1_secrets = st.integers(min_value=1, max_value=ORDER - 1)


def compressed(secret: int) -> bytes:
    return PrivateKey.from_int(secret).public_key.format()


@pytest.mark.parametrize(
    "text",
    [  # EIP-55, section "Test Cases"
        "0x52908400098527886E0F7030069857D2E4169EE7",
        "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
        "0xde709f2102306220921060314715629080e2fb77",
        "0x27b1fdb04752bbc536007a920d24acb045561c26",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ],
)
def test_eip55_checksums_are_those_of_the_specification(text):
    assert eip55(bytes.fromhex(text[2:])) == text


@pytest.mark.parametrize(
    ("secret", "address"),
    [
        # the web3.js documentation of eth.accounts.privateKeyToAccount
        (
            0x4C0883A69102937D6231471B5DBB6204FE5129617082792AE468D01A3F362318,
            "0x2c7536E3605D9C16a7a3D7b1898e529396a65c23",
        ),
        # go-ethereum, crypto/crypto_test.go
        (
            0x289C2857D4598E37FB9647507E47A309D6133539BF21A8B9CB6DF88FD5232032,
            "0x970E8128AB834E8EAC17Ab8E3812F010678CF791",
        ),
    ],
)
def test_ethereum_addresses_are_the_published_ones(secret, address):
    assert address_of(Network.ETHEREUM, ECDSA_SECP256K1, compressed(secret)) == address


@pytest.mark.parametrize(
    ("public_key", "address"),
    [
        # BIP-173, section "Examples"
        (
            "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
            "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
        ),
        # BIP-84, section "Test vectors", accounts 0'/0/0 and 0'/0/1
        (
            "0330d54fd0dd420a6e5f8d3624f5f3482cae350f79d5f0753bf5beef9c2d91af3c",
            "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu",
        ),
        (
            "03e775fd51f0dfb8cd865d9ff1cca2a158cf651fe997fdc9fee9c1d3b5e995ea77",
            "bc1qnjg0jd8228aq7egyzacy8cys3knf9xvrerkf9g",
        ),
    ],
)
def test_p2wpkh_addresses_are_the_published_ones(public_key, address):
    assert address_of(Network.BITCOIN, ECDSA_SECP256K1, bytes.fromhex(public_key)) == address


def test_a_solana_address_is_the_base58_of_the_key():
    # RFC 8032's first key
    key = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    assert address_of(Network.SOLANA, EDDSA_ED25519, key) == str(Pubkey.from_bytes(key))


@given(secp256k1_secrets)
def test_ethereum_addresses_are_those_of_eth_keys(secret):
    theirs = eth_keys.PrivateKey(secret.to_bytes(32)).public_key.to_checksum_address()
    assert address_of(Network.ETHEREUM, ECDSA_SECP256K1, compressed(secret)) == theirs


@given(secp256k1_secrets)
def test_p2wpkh_addresses_are_those_of_python_bitcoinlib(secret):
    public_key = compressed(secret)
    theirs = P2WPKHBitcoinAddress.from_bytes(0, Hash160(public_key))
    assert address_of(Network.BITCOIN, ECDSA_SECP256K1, public_key) == str(theirs)


@given(secp256k1_secrets)
def test_p2wpkh_addresses_are_those_of_bdk(secret):
    public_key = compressed(secret)
    descriptor = bdk.Descriptor(f"wpkh({public_key.hex()})", bdk.NetworkKind.MAIN)
    theirs = descriptor.derive_address(0, bdk.Network.BITCOIN)
    assert address_of(Network.BITCOIN, ECDSA_SECP256K1, public_key) == str(theirs)


@given(st.integers(1, 2**256 - 1))
def test_solana_addresses_are_those_of_solders(secret):
    public_key = made_up_key(EDDSA_ED25519, secret)
    assert address_of(Network.SOLANA, EDDSA_ED25519, public_key) == str(
        Pubkey.from_bytes(public_key)
    )


@pytest.mark.parametrize(
    ("network", "algorithm"),
    [(network, algorithm) for network in Network for algorithm in NETWORK_ALGORITHMS[network]],
)
@pytest.mark.parametrize(
    "public_key",
    [
        b"",
        bytes(31),
        bytes(33),
        b"\x02" + b"\xff" * 32,  # no point of secp256k1
        PrivateKey.from_int(1).public_key.format(compressed=False),
    ],
    ids=["empty", "short", "zero", "off-curve", "uncompressed"],
)
def test_what_is_no_public_key_of_the_network_has_no_address(network, algorithm, public_key):
    with pytest.raises(ValueError, match="public key"):
        address_of(network, algorithm, public_key)


@pytest.mark.parametrize(
    ("network", "algorithm", "public_key"),
    [
        (Network.ETHEREUM, SCHNORR_SECP256K1, compressed(1)[1:]),
        (Network.SOLANA, ECDSA_SECP256K1, compressed(1)),
        (Network.BITCOIN, ECDSA_SECP256R1, compressed(1)),
    ],
)
def test_a_network_has_no_addresses_of_keys_that_do_not_sign_on_it(network, algorithm, public_key):
    with pytest.raises(ValueError, match="has no public key of"):
        address_of(network, algorithm, public_key)
