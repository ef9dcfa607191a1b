"""Schnorr signatures, Taproot addresses and their signed messages, against published vectors."""

import base64
import csv
from pathlib import Path

import bdkpython as bdk
import pytest
from coincurve import PrivateKey, PublicKeyXOnly
from embit.ec import PrivateKey as EmbitPrivateKey
from embit.networks import NETWORKS
from embit.script import Script
from hypothesis import given, settings
from hypothesis import strategies as st

from custody.wire import bip322
from custody.wire.addresses import address_of
from custody.wire.algorithms import SCHNORR_SECP256K1, HashFunction, Network
from custody.wire.digests import HASHES, NotSignable, digest_of
from custody.wire.requests import SignHash, SignMessage
from custody.wire.signatures import BadSignature, SignatureResult, finish, verify
from devstack.bip322 import NotSigned, check_taproot_message

ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
secrets = st.integers(min_value=1, max_value=ORDER - 1)

BIP340 = list(csv.DictReader(Path(__file__).with_name("bip340.csv").open(newline="")))
GOOD = [row for row in BIP340 if row["verification result"] == "TRUE"]
BAD = [row for row in BIP340 if row["verification result"] == "FALSE"]

# BIP-322's test key, as Bitcoin Core's tests and buidl sign with it for a Taproot address
CORE_ADDRESS = "bc1ppv609nr0vr25u07u95waq5lucwfm6tde4nydujnu8npg4q75mr5sxq8lt3"
CORE_SIGNATURE = base64.b64decode(
    "AUHd69PrJQEv+oKTfZ8l+WROBHuy9HKrbFCJu7U1iK2iiEy1vMU5EfMtjc+VSHM7aU0SDbak5IUZRVno2P5mjSafAQ=="
)
CORE_SECRET = EmbitPrivateKey.from_wif("L3VFeEujGtevx9w18HD1fhRbCH67Az2dpCymeRE1SoPK6XQtaN2k")
P2WPKH_PROGRAM = "bc1q9vza2e8x573nczrlzms0wvx3gsqjx7vavgkx0l"


def x_only(secret: int) -> bytes:
    return PublicKeyXOnly.from_secret(secret.to_bytes(32)).format()


def message(text: str, hash_function: HashFunction | None = None) -> SignMessage:
    return SignMessage(kind="Message", message=text, hash_function=hash_function)


def signed(
    secret: int, request: SignHash | SignMessage, network: Network | None
) -> SignatureResult:
    """What leaves for a request, with libsecp256k1 as the signer."""
    public_key = x_only(secret)
    digest = digest_of(request, SCHNORR_SECP256K1, network, public_key)
    assert digest is not None
    raw = PrivateKey.from_int(secret).sign_schnorr(digest)
    return finish(raw, public_key, SCHNORR_SECP256K1, network, request, digest)


@pytest.mark.parametrize("row", GOOD, ids=lambda row: row["index"])
def test_the_published_signatures_verify_and_leave_as_they_are(row):
    request = SignHash(kind="Hash", hash=bytes.fromhex(row["message"]))
    raw, public_key = bytes.fromhex(row["signature"]), bytes.fromhex(row["public key"])
    result = finish(raw, public_key, SCHNORR_SECP256K1, None, request, request.hash)
    assert (result.r + result.s, result.encoded, result.recid) == (raw, raw, None)
    verify(result, public_key, SCHNORR_SECP256K1, None, request, request.hash)


@pytest.mark.parametrize("row", BAD, ids=lambda row: row["comment"] or row["index"])
def test_what_is_published_as_no_signature_does_not_leave(row):
    request = SignHash(kind="Hash", hash=bytes.fromhex(row["message"]))
    raw, public_key = bytes.fromhex(row["signature"]), bytes.fromhex(row["public key"])
    with pytest.raises(BadSignature):
        finish(raw, public_key, SCHNORR_SECP256K1, None, request, request.hash)


def test_a_signature_is_of_one_key_one_digest_and_one_form():
    request = SignHash(kind="Hash", hash=bytes(range(32)))
    made = signed(5, request, None)
    with pytest.raises(BadSignature):
        verify(made, x_only(6), SCHNORR_SECP256K1, None, request, request.hash)
    with pytest.raises(BadSignature):
        verify(made, x_only(5), SCHNORR_SECP256K1, None, request, bytes(32))
    with pytest.raises(BadSignature):
        verify(made, x_only(5) + b"\x00", SCHNORR_SECP256K1, None, request, request.hash)
    with pytest.raises(BadSignature, match="digest"):
        verify(made, x_only(5), SCHNORR_SECP256K1, None, request, None)
    for change in ({"recid": 0}, {"encoded": bip322.witness(made.encoded)}):
        changed = made.model_copy(update=change)
        with pytest.raises(BadSignature, match="form"):
            verify(changed, x_only(5), SCHNORR_SECP256K1, None, request, request.hash)


@pytest.mark.parametrize(
    ("output_key", "address"),
    [
        # BIP-350, section "Test vectors for v0-v16 native segregated witness addresses"
        (
            "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
            "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
        ),
        # BIP-341, wallet test vectors: with no script, and with one
        (
            "53a1f6e454df1aa2776a2814a721372d6258050de330b3c6d10ee8f4e0dda343",
            "bc1p2wsldez5mud2yam29q22wgfh9439spgduvct83k3pm50fcxa5dps59h4z5",
        ),
        (
            "147c9c57132f6e7ecddba9800bb0c4449251c92a1e60371ee77557b6620f3ea3",
            "bc1pz37fc4cn9ah8anwm4xqqhvxygjf9rjf2resrw8h8w4tmvcs0863sa2e586",
        ),
        # BIP-86, section "Test vectors", the three addresses
        (
            "a60869f0dbcf1dc659c9cecbaf8050135ea9e8cdc487053f1dc6880949dc684c",
            "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr",
        ),
        (
            "a82f29944d65b86ae6b5e5cc75e294ead6c59391a1edc5e016e3498c67fc7bbb",
            "bc1p4qhjn9zdvkux4e44uhx8tc55attvtyu358kutcqkudyccelu0was9fqzwh",
        ),
        (
            "882d74e5d0572d5a816cef0041a96b6c1de832f6f9676d9605c44d5e9a97d3dc",
            "bc1p3qkhfews2uk44qtvauqyr2ttdsw7svhkl9nkm9s9c3x4ax5h60wqwruhk7",
        ),
    ],
)
def test_an_address_is_that_of_the_output_key_which_is_not_tweaked_again(output_key, address):
    found = address_of(Network.BITCOIN, SCHNORR_SECP256K1, bytes.fromhex(output_key))
    assert found == address


def test_what_is_no_point_has_no_address():
    with pytest.raises(ValueError, match="not a public key of Schnorr"):
        address_of(Network.BITCOIN, SCHNORR_SECP256K1, b"\xff" * 32)


@given(secrets)
def test_addresses_are_those_of_bdk_once_the_key_is_tweaked(secret):
    internal = x_only(secret)
    output_key = EmbitPrivateKey(secret.to_bytes(32)).taproot_tweak(b"").xonly()
    descriptor = bdk.Descriptor(f"tr({internal.hex()})", bdk.NetworkKind.MAIN)
    theirs = str(descriptor.derive_address(0, bdk.Network.BITCOIN))
    assert address_of(Network.BITCOIN, SCHNORR_SECP256K1, output_key) == theirs


@pytest.mark.parametrize(
    ("text", "tagged"),
    [  # BIP-322, section "Message hashing"
        ("", "c90c269c4f8fcbe6880f72a721ddfbf1914268a794cbb21cfafee13770ae19f1"),
        ("Hello World", "f0eb03b1a75ac6d9847f55c624a99169b5dccba2a31f5b23bea77ba270de0a7a"),
    ],
)
def test_message_hashes_are_the_published_ones(text, tagged):
    assert bip322.message_hash(text.encode()).hex() == tagged


@pytest.mark.parametrize(
    ("text", "to_spend", "to_sign"),
    [  # BIP-322, section "Transaction Hashes"
        (
            "",
            "c5680aa69bb8d860bf82d4e9cd3504b55dde018de765a91bb566283c545a99a7",
            "1e9654e951a5ba44c8604c4de6c67fd78a27e81dcadcfe1edf638ba3aaebaed6",
        ),
        (
            "Hello World",
            "b79d196740ad5217771c1098fc4a4b51e0535c32236c71f1ea4d61a2d603352b",
            "88737ae86f2077145f93cc4b153ae9a1cb8d56afa511988c149c5c8c9d93bddf",
        ),
    ],
)
def test_the_two_transactions_are_the_published_ones(text, to_spend, to_sign):
    paid = Script.from_address(P2WPKH_PROGRAM)
    assert bip322.to_spend(text.encode(), paid).txid().hex() == to_spend
    assert bip322.to_sign(text.encode(), paid).txid().hex() == to_sign


def test_the_second_library_takes_the_signature_that_bitcoin_cores_tests_take():
    check_taproot_message(CORE_ADDRESS, b"Hello World", CORE_SIGNATURE)
    for other in (b"", b"Hello World - This should fail"):
        with pytest.raises(NotSigned):
            check_taproot_message(CORE_ADDRESS, other, CORE_SIGNATURE)


@settings(max_examples=10)  # the other library is pure Python
@given(secrets, st.binary(max_size=300))
def test_a_wallets_message_is_one_that_another_library_verifies(secret, content):
    request = message("0x" + content.hex())
    made = signed(secret, request, Network.BITCOIN)
    address = address_of(Network.BITCOIN, SCHNORR_SECP256K1, x_only(secret))
    assert made.encoded == bytes([1, 64]) + made.r + made.s
    check_taproot_message(address, content, made.encoded)
    with pytest.raises(NotSigned):
        check_taproot_message(address, content + b"!", made.encoded)


def test_the_second_library_looks_also_at_a_signature_that_begins_like_an_annex():
    """One of 256 does."""
    secret, content = 37, bytes.fromhex("e0d936f204d343eaf344c3da2778a135d439d8ef")
    begins_with_0x50 = bytes.fromhex(
        "0140501e6c6a5e83e4b76ff7a0be4b31dd626f692569b4d06dbe62fff91c8ebfa2a9"
        "b71d7b00231c1f08303d1585b3ece0226ecd9160eb3411c2a26e30bf4e6ee349"
    )
    address = address_of(Network.BITCOIN, SCHNORR_SECP256K1, x_only(secret))
    check_taproot_message(address, content, begins_with_0x50)
    with pytest.raises(NotSigned):
        check_taproot_message(address, content + b"!", begins_with_0x50)


@pytest.mark.parametrize(
    "witness",
    [
        b"",
        b"\x00",
        CORE_SIGNATURE[:-1],
        CORE_SIGNATURE + b"\x00",
        b"\x02" + CORE_SIGNATURE[1:] + b"\x01\x50",
        CORE_SIGNATURE[:-1] + b"\x02",
    ],
)
def test_the_second_library_takes_a_signature_alone(witness):
    with pytest.raises(NotSigned):
        check_taproot_message(CORE_ADDRESS, b"Hello World", witness)


def test_cores_key_signs_for_cores_address():
    tweaked = CORE_SECRET.taproot_tweak(b"")
    secret = int.from_bytes(tweaked.secret)
    assert Script.from_address(CORE_ADDRESS).address(NETWORKS["main"]) == CORE_ADDRESS
    assert address_of(Network.BITCOIN, SCHNORR_SECP256K1, x_only(secret)) == CORE_ADDRESS
    made = signed(secret, message("Hello World"), Network.BITCOIN)
    check_taproot_message(CORE_ADDRESS, b"Hello World", made.encoded)


def test_a_taproot_wallets_digest_hangs_on_its_key():
    request = message("hi")
    ours, other = (
        digest_of(request, SCHNORR_SECP256K1, Network.BITCOIN, x_only(secret)) for secret in (5, 6)
    )
    assert ours != other
    with pytest.raises(NotSignable, match="public key"):
        digest_of(request, SCHNORR_SECP256K1, Network.BITCOIN, None)


@pytest.mark.parametrize("network", [None, Network.BITCOIN])
def test_a_hash_is_signed_as_it_is_and_leaves_as_64_bytes(network):
    request = SignHash(kind="Hash", hash=bytes(range(32)))
    assert digest_of(request, SCHNORR_SECP256K1, network, x_only(5)) == request.hash
    made = signed(5, request, network)
    assert made.encoded == made.r + made.s
    assert PublicKeyXOnly(x_only(5)).verify(made.encoded, request.hash)


@pytest.mark.parametrize("function", list(HashFunction))
def test_a_bare_key_signs_a_message_by_the_named_hash_function(function):
    made = signed(5, message("hi", function), None)
    assert PublicKeyXOnly(x_only(5)).verify(made.encoded, HASHES[function](b"hi"))


def test_a_hash_function_is_for_bare_keys_and_needed_there():
    with pytest.raises(NotSignable, match="needs hash_function"):
        digest_of(message("hi"), SCHNORR_SECP256K1, None, x_only(5))
    with pytest.raises(NotSignable, match="Bitcoin wallet fixes the hash"):
        digest_of(
            message("hi", HashFunction.SHA_256), SCHNORR_SECP256K1, Network.BITCOIN, x_only(5)
        )
