"""Digests against published vectors and second implementations."""

import hashlib

import pytest
from bitcoin.signmessage import BitcoinMessage
from eth_account.messages import _hash_eip191_message, encode_defunct
from eth_utils.crypto import keccak as eth_keccak
from hypothesis import given
from hypothesis import strategies as st

from custody.wire.algorithms import (
    ECDSA_SECP256K1,
    ECDSA_SECP256R1,
    EDDSA_ED25519,
    HashFunction,
    Network,
)
from custody.wire.digests import HASHES, NotSignable, bip137, digest_of, eip191, keccak_256
from custody.wire.requests import SignHash, SignMessage


def message(text: str, hash_function: HashFunction | None = None) -> SignMessage:
    return SignMessage(kind="Message", message=text, hash_function=hash_function)


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        # the web3.js documentation of eth.accounts.sign
        ("Some data", "1da44b586eb0729ff70a73c326926f6ed5a25f5b056e7f47fbc6e58d86871655"),
        # the ethers documentation of hashMessage
        ("Hello World", "a1de988600a42c4b4ab089b619297c17d53cffae5d5120d82d8a92d0bb3b78f2"),
        ("", "5f35dce98ba4fba25530a026ed80b2cecdaa31091ba4958b99b52ea1d068adad"),
    ],
)
def test_eip191_digests_are_the_published_ones(text, digest):
    assert eip191(text.encode()).hex() == digest


@pytest.mark.parametrize(
    ("text", "digest"),
    [  # bitcoinjs-message, test/fixtures.json, "magicHash"
        ("", "80e795d4a4caadd7047af389d9f7f220562feb6196032e2131e10563352c4bcc"),
        ("Vires is Numeris", "f8a5affbef4a3241b19067aa694562f64f513310817297089a8929a930f4f933"),
    ],
)
def test_bip137_digests_are_the_published_ones(text, digest):
    assert bip137(text.encode()).hex() == digest


@pytest.mark.parametrize(
    ("function", "digest"),
    [  # of "abc": FIPS 180-4, FIPS 202 (NIST example values); Keccak team's KAT
        (
            HashFunction.SHA_256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
        (
            HashFunction.SHA3_256,
            "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
        ),
        (
            HashFunction.KECCAK_256,
            "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45",
        ),
    ],
)
def test_hash_functions_are_the_published_ones(function, digest):
    assert HASHES[function](b"abc").hex() == digest


@given(st.binary(max_size=300))
def test_keccak_is_that_of_eth_utils(data):
    assert keccak_256(data) == eth_keccak(data)


@given(st.binary(max_size=1200))
def test_eip191_is_that_of_eth_account(content):
    assert eip191(content) == _hash_eip191_message(encode_defunct(primitive=content))


@given(st.text(max_size=300))
def test_bip137_is_that_of_python_bitcoinlib(text):
    assert bip137(text.encode()) == BitcoinMessage(text).GetHash()


@pytest.mark.parametrize("size", [0xFC, 0xFD, 0xFFFF, 0x10000])
def test_bip137_sizes_are_those_of_python_bitcoinlib_at_every_step_of_the_encoding(size):
    text = "a" * size
    assert bip137(text.encode()) == BitcoinMessage(text).GetHash()


def test_a_hash_is_signed_as_it_is_by_every_ecdsa_key():
    request = SignHash(kind="Hash", hash=bytes(range(32)))
    for network in (None, Network.ETHEREUM, Network.BITCOIN):
        assert digest_of(request, ECDSA_SECP256K1, network, None) == bytes(range(32))
    assert digest_of(request, ECDSA_SECP256R1, None, None) == bytes(range(32))


def test_a_wallet_fixes_the_digest_of_a_message():
    assert digest_of(message("hi"), ECDSA_SECP256K1, Network.ETHEREUM, None) == eip191(b"hi")
    assert digest_of(message("hi"), ECDSA_SECP256K1, Network.BITCOIN, None) == bip137(b"hi")
    assert digest_of(message("hi"), EDDSA_ED25519, Network.SOLANA, None) is None


def test_hex_messages_are_the_bytes_and_not_the_text():
    assert digest_of(message("0x6869"), ECDSA_SECP256K1, Network.ETHEREUM, None) == eip191(b"hi")


@pytest.mark.parametrize("algorithm", [ECDSA_SECP256K1, ECDSA_SECP256R1])
@pytest.mark.parametrize("function", list(HashFunction))
def test_a_bare_ecdsa_key_signs_by_the_named_hash_function(algorithm, function):
    names = {"SHA-256": "sha256", "SHA3-256": "sha3_256"}
    digest = digest_of(message("hi", function), algorithm, None, None)
    if function in names:
        assert digest == hashlib.new(names[function], b"hi").digest()
    else:
        assert digest == eth_keccak(b"hi")


@pytest.mark.parametrize(
    ("request_", "algorithm", "network", "reason"),
    [
        (SignHash(kind="Hash", hash=bytes(32)), EDDSA_ED25519, None, "messages, not hashes"),
        (SignHash(kind="Hash", hash=bytes(32)), EDDSA_ED25519, Network.SOLANA, "not hashes"),
        (message("hi", HashFunction.SHA_256), EDDSA_ED25519, None, "leave hash_function out"),
        (message("hi"), ECDSA_SECP256K1, None, "needs hash_function"),
        (message("hi"), ECDSA_SECP256R1, None, "needs hash_function"),
        (
            message("hi", HashFunction.SHA_256),
            ECDSA_SECP256K1,
            Network.ETHEREUM,
            "Ethereum wallet fixes the hash",
        ),
        (
            message("hi", HashFunction.SHA_256),
            ECDSA_SECP256K1,
            Network.BITCOIN,
            "Bitcoin wallet fixes the hash",
        ),
    ],
)
def test_requests_that_make_no_sense_for_the_key_are_not_signable(
    request_, algorithm, network, reason
):
    with pytest.raises(NotSignable, match=reason):
        digest_of(request_, algorithm, network, None)
