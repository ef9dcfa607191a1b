"""Solana's keypairs: the file of its command line, and the base58 of wallets."""

import json

import pytest
from embit import base58
from hypothesis import given
from hypothesis import strategies as st
from solders.keypair import Keypair

from custody.client.importing.faults import BadPrivateKey, KeyFault
from custody.client.importing.formats import KeyFormat, read_private_key
from custody.wire.algorithms import EDDSA_ED25519, Network
from tests.unit.client.importing.refusals import refused
from tests.unit.client.importing.second_opinion import check_signs

# RFC 8032, section 7.1, test 1, as a keypair
SEED = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
PUBLIC_KEY = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
KEYPAIR = bytes.fromhex(SEED + PUBLIC_KEY)


@given(st.binary(min_size=32, max_size=32))
def test_what_solanas_library_writes_is_read(seed):
    keypair = Keypair.from_seed(seed)
    for text in (keypair.to_json(), str(keypair), f"{keypair}\n", keypair.to_json() + "\n"):
        key = read_private_key(text, KeyFormat.SOLANA)
        assert (key.algorithm, key.secret) == (EDDSA_ED25519, seed)
        assert key.public_key == bytes(keypair.pubkey())


def test_a_keypair_signs_and_is_for_solana_alone():
    key = read_private_key(json.dumps(list(KEYPAIR)), KeyFormat.SOLANA)
    assert (key.secret.hex(), key.public_key.hex()) == (SEED, PUBLIC_KEY)
    check_signs(key)
    assert key.for_wallet(Network.SOLANA) is key
    assert key.for_wallet(Network.SOLANA_DEVNET) is key
    with pytest.raises(BadPrivateKey, match="wrong_network"):
        key.for_wallet(Network.ETHEREUM)


def test_a_seed_with_leading_zeros_is_read():
    """Base58 writes each leading zero as a 1."""
    for zeros in (1, 4, 32):
        keypair = Keypair.from_seed(bytes(zeros) + b"\x11" * (32 - zeros))
        assert str(keypair).startswith("1" * zeros)
        assert read_private_key(str(keypair), KeyFormat.SOLANA).secret == keypair.secret()


@pytest.mark.parametrize("place", range(64))
def test_a_public_half_that_does_not_match_is_refused(place):
    changed = bytearray(KEYPAIR)
    changed[place] ^= 1
    for text in (json.dumps(list(changed)), base58.encode(bytes(changed))):
        refused(text, KeyFormat.SOLANA, KeyFault.PUBLIC_KEY_MISMATCH, "the last 32 bytes")


@pytest.mark.parametrize("size", [0, 31, 32, 33, 63, 65, 96])
def test_another_number_of_bytes_is_refused(size):
    data = (KEYPAIR * 2)[:size]
    refused(json.dumps(list(data)), KeyFormat.SOLANA, KeyFault.WRONG_SIZE, f"not {size}")


@pytest.mark.parametrize("size", [31, 32, 33, 63, 65])
def test_base58_of_another_number_of_bytes_is_refused(size):
    text = base58.encode((KEYPAIR * 2)[:size])
    refused(text, KeyFormat.SOLANA, KeyFault.WRONG_SIZE, f"not {size}")


@pytest.mark.parametrize("item", ["256", "-1", "1.0", "true", "null", '"1"', "[1]", "{}"])
def test_items_that_are_not_bytes_are_refused(item):
    text = "[" + ",".join(["17"] * 63 + [item]) + "]"
    refused(text, KeyFormat.SOLANA, KeyFault.BAD_FORMAT, "not bytes")


@pytest.mark.parametrize("text", ["[", "[1,", "[1]]", "[NaN]", "[" * 60, "[" + "9" * 5000 + "]"])
def test_texts_that_are_not_json_are_refused(text):
    refused(text, KeyFormat.SOLANA, KeyFault.BAD_FORMAT)


@pytest.mark.parametrize("text", ["", "0" * 88, SEED + PUBLIC_KEY, "{}", "1" * 200])
def test_texts_that_are_neither_are_refused(text):
    refused(text, KeyFormat.SOLANA, KeyFault.BAD_FORMAT)


def test_a_password_is_a_mistake():
    text = json.dumps(list(KEYPAIR))
    refused(text, KeyFormat.SOLANA, KeyFault.PASSWORD_NOT_NEEDED, password="correct horse")
