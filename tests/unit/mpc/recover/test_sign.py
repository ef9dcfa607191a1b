"""Signatures with a recovered key, checked by second implementations."""

import csv
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import nacl.bindings
import nacl.signing
import pytest
from buidl.ecc import S256Point, SchnorrSignature
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_keys import datatypes
from hypothesis import given, settings
from hypothesis import strategies as st
from solders.hash import Hash
from solders.message import Message
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import TransferParams, transfer

from custody.wire.algorithms import SCHNORR_SECP256K1, Curve, HashFunction, Network
from custody.wire.derivation import child_public_key
from custody.wire.points import GROUP_ORDER, multiple_of_base
from custody.wire.requests import SignHash
from devstack.bip322 import check_taproot_message
from mpc.recover.private_key import PrivateKey
from mpc.recover.signing import sign, sign_ed25519
from tests.unit.mpc.layer4.share_copies import KEY_ID
from tests.unit.mpc.native.keys import DKLS, ED25519, TAPROOT, key
from tests.unit.mpc.recover.bucket import write_copies

DIGEST = hashlib.sha256(b"a transaction").digest()
ORDER = GROUP_ORDER[Curve.SECP256K1]
VECTORS = Path(__file__).parents[3] / "vectors" / "bip340.csv"


@pytest.fixture
def signed(command):
    def run(*words):
        done = command("sign", str(KEY_ID), *words, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    return run


def raw(said: dict[str, Any]) -> bytes:
    return bytes.fromhex(said["r"][2:] + said["s"][2:])


def recovered_key(said: dict[str, Any], digest: bytes) -> bytes:
    signature = datatypes.Signature(raw(said) + bytes([said["recid"]]))
    found = signature.recover_public_key_from_msg_hash(digest)
    return bytes(found.to_compressed_bytes())


def test_an_ethereum_message(folder, signed):
    write_copies(folder, key(DKLS), network=Network.ETHEREUM)
    said = signed("--message", "move it all")
    signer = Account.recover_message(encode_defunct(text="move it all"), signature=said["encoded"])
    point = datatypes.PublicKey.from_compressed_bytes(key(DKLS)[1].public_key)
    assert signer == point.to_checksum_address()


def test_the_hash_of_a_transaction_with_low_s(folder, signed):
    write_copies(folder, key(DKLS), network=Network.ETHEREUM)
    said = signed("--hash", "0x" + DIGEST.hex())
    assert recovered_key(said, DIGEST) == key(DKLS)[1].public_key
    assert int(said["s"], 16) <= ORDER // 2


def test_with_a_derived_key(folder, signed):
    write_copies(folder, key(DKLS))
    said = signed("--hash", "0x" + DIGEST.hex(), "--path", "m/0/5", "--network", "bitcoin")
    share = key(DKLS)[1]
    child = child_public_key(share.public_key, share.chain_code, (0, 5))
    assert recovered_key(said, DIGEST) == child
    assert said["public_key"] == "0x" + child.hex()


def test_a_taproot_transaction_hash_and_message(folder, signed):
    write_copies(folder, key(TAPROOT), network=Network.BITCOIN)
    said = signed("--hash", "0x" + DIGEST.hex())
    point = S256Point.parse_bip340(key(TAPROOT)[1].public_key)
    assert point.verify_schnorr(DIGEST, SchnorrSignature.parse(raw(said)))
    said = signed("--message", "proof of funds")
    witness = bytes.fromhex(said["encoded"][2:])
    from buidl.script import P2TRScriptPubKey

    address = P2TRScriptPubKey(key(TAPROOT)[1].public_key).address()
    check_taproot_message(address, b"proof of funds", witness)


def test_a_solana_transaction(folder, signed):
    write_copies(folder, key(ED25519), network=Network.SOLANA)
    payer = Pubkey.from_bytes(key(ED25519)[1].public_key)
    paid = transfer(
        TransferParams(from_pubkey=payer, to_pubkey=Pubkey.new_unique(), lamports=1_000)
    )
    message = Message.new_with_blockhash([paid], payer, Hash.new_unique())
    said = signed("--transaction", "0x" + bytes(message).hex())
    assert Signature.from_bytes(raw(said)).verify(payer, bytes(message))


def test_a_message_of_a_bare_key(folder, signed):
    write_copies(folder, key(ED25519))
    said = signed("--message", "0x00ff")
    nacl.signing.VerifyKey(key(ED25519)[1].public_key).verify(b"\0\xff", raw(said))


def test_a_table_for_people(folder, command):
    write_copies(folder, key(ED25519))
    done = command("sign", str(KEY_ID), "--message", "hello")
    assert done.exit_code == 0
    (shown,) = re.findall(r"encoded +(?:0x)?([0-9a-f]{128})$", done.stdout, re.MULTILINE)
    nacl.signing.VerifyKey(key(ED25519)[1].public_key).verify(b"hello", bytes.fromhex(shown))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "nothing to sign, or several things"),
        (["--message", "x", "--hash", "0x00"], "nothing to sign, or several things"),
        (["--hash", "0x00"], "must be 32 bytes"),
        (["--hash", "0x" + "00" * 32], "signs messages, not hashes"),
        (["--message", "x", "--network", "Solana"], "--network is for a derived key"),
        (["--message", "x", "--path", "m/0", "--network", "Doge"], "Doge is not a network"),
        (["--message", "x", "--hash-function", "MD5"], "hash_function"),
    ],
)
def test_what_cannot_be_signed_is_refused(words, why, folder, command):
    write_copies(folder, key(ED25519))
    done = command("sign", str(KEY_ID), *words)
    assert done.exit_code == 1
    assert why in done.output


# Ed25519 from a scalar: RFC 8032 is followed with a prefix of our own, so the vectors of its
# section 7.1 fix keys and verification, not the nonces.
RFC_8032 = [
    # secret key, public key, message: section 7.1, TEST 1 and TEST 2
    ("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
     "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", ""),
    ("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
     "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72"),
]  # fmt: skip


@pytest.mark.parametrize(("seed", "public_key", "message"), RFC_8032)
def test_the_scalar_of_an_rfc_8032_key_signs_for_it(seed, public_key, message):
    digest = bytearray(hashlib.sha512(bytes.fromhex(seed)).digest()[:32])
    digest[0] &= 248
    digest[31] = digest[31] & 127 | 64
    scalar = int.from_bytes(digest, "little") % GROUP_ORDER[Curve.ED25519]
    point = bytes.fromhex(public_key)
    assert multiple_of_base(Curve.ED25519, scalar) == point
    content = bytes.fromhex(message)
    signature = sign_ed25519(scalar, point, content)
    nacl.signing.VerifyKey(point).verify(content, signature)


@pytest.mark.parametrize(("seed", "public_key", "message"), RFC_8032)
def test_with_the_prefix_of_the_seed_the_signature_is_the_one_of_the_rfc(
    seed, public_key, message, monkeypatch
):
    """All steps but the prefix are those of section 5.1.6: libsodium makes the same bytes."""
    hashed = hashlib.sha512(bytes.fromhex(seed)).digest()
    digest = bytearray(hashed[:32])
    digest[0] &= 248
    digest[31] = digest[31] & 127 | 64
    scalar = int.from_bytes(digest, "little") % GROUP_ORDER[Curve.ED25519]
    monkeypatch.setattr("mpc.recover.signing.nonce_prefix", lambda secret: hashed[32:])
    content, point = bytes.fromhex(message), bytes.fromhex(public_key)
    expected = nacl.signing.SigningKey(bytes.fromhex(seed)).sign(content).signature
    assert sign_ed25519(scalar, point, content) == expected


@given(
    scalar=st.integers(1, GROUP_ORDER[Curve.ED25519] - 1),
    message=st.binary(max_size=200),
)
@settings(max_examples=50, deadline=None)
def test_any_scalar_signs_any_message(scalar, message):
    point = multiple_of_base(Curve.ED25519, scalar)
    nacl.signing.VerifyKey(point).verify(message, sign_ed25519(scalar, point, message))


def test_nonces_differ_between_messages_and_between_keys():
    scalars = (5, 6)
    nonces = {
        sign_ed25519(scalar, multiple_of_base(Curve.ED25519, scalar), message)[:32]
        for scalar in scalars
        for message in (b"one", b"two")
    }
    assert len(nonces) == 4


def test_the_private_keys_of_bip_340s_vectors_sign():
    with VECTORS.open() as file:
        rows = [row for row in csv.DictReader(file) if row["secret key"]]
    assert len(rows) >= 4
    for row in rows:
        public_key = bytes.fromhex(row["public key"])
        content = bytes.fromhex(row["message"])
        if len(content) != 32:
            continue
        private_key = PrivateKey(
            SCHNORR_SECP256K1, None, public_key, None, int(row["secret key"], 16)
        )
        request = SignHash(kind="Hash", hash=content)
        _, result = sign(private_key, request)
        point = S256Point.parse_bip340(public_key)
        assert point.verify_schnorr(content, SchnorrSignature.parse(result.encoded))


def test_a_bare_ecdsa_key_needs_the_hash_function(folder, command, signed):
    write_copies(folder, key(DKLS))
    done = command("sign", str(KEY_ID), "--message", "hello")
    assert done.exit_code == 1
    assert "needs hash_function" in done.output
    said = signed("--message", "hello", "--hash-function", HashFunction.SHA_256.value)
    assert recovered_key(said, hashlib.sha256(b"hello").digest()) == key(DKLS)[1].public_key
