"""What a message to sign could be elsewhere: a network's form sets its messages apart."""

import hashlib
import importlib
from typing import Any

import pytest
from eth_account._utils.legacy_transactions import serializable_unsigned_transaction_from_dict
from eth_account.messages import encode_typed_data
from hypothesis import given
from hypothesis import strategies as st

from custody.wire import bip322
from custody.wire.algorithms import (
    ECDSA_SECP256K1,
    ECDSA_SECP256R1,
    SCHNORR_SECP256K1,
    Algorithm,
    HashFunction,
    Network,
)
from custody.wire.digests import digest_of, keccak_256
from custody.wire.mistakable import TAPROOT_SIGHASH, Mistakable, could_be
from custody.wire.requests import SignMessage

rlp = importlib.import_module("rlp")
TO, VALUE, GAS, NONCE, CHAIN = b"\x11" * 20, 10**18, 21_000, 7, 1
TRANSFER: dict[str, Any] = {
    "to": "0x" + TO.hex(),
    "value": VALUE,
    "gas": GAS,
    "nonce": NONCE,
    "chainId": CHAIN,
}
FEES = {"maxFeePerGas": 10**9, "maxPriorityFeePerGas": 1, "type": 2}
TRANSACTIONS = [
    (  # EIP-155
        {**TRANSFER, "gasPrice": 10**9},
        rlp.encode([NONCE, 10**9, GAS, TO, VALUE, b"", CHAIN, 0, 0]),
    ),
    (  # EIP-2930
        {**TRANSFER, "gasPrice": 10**9, "accessList": [], "type": 1},
        b"\x01" + rlp.encode([CHAIN, NONCE, 10**9, GAS, TO, VALUE, b"", []]),
    ),
    *(  # EIP-1559; a short one and a long one
        (
            {**TRANSFER, **FEES, "data": "0x" + data.hex()},
            b"\x02" + rlp.encode([CHAIN, NONCE, 1, 10**9, GAS, TO, VALUE, data, []]),
        )
        for data in (b"", b"\xab" * 900)
    ),
]
"""As eth_account takes them, and what Ethereum hashes of each."""
PERMIT = {
    "types": {
        "EIP712Domain": [{"name": "name", "type": "string"}],
        "Permit": [{"name": "value", "type": "uint256"}],
    },
    "primaryType": "Permit",
    "domain": {"name": "token"},
    "message": {"value": 1},
}


def message(content: bytes, function: HashFunction | None = None) -> SignMessage:
    return SignMessage(kind="Message", message="0x" + content.hex(), hash_function=function)


def meanings(content: bytes, algorithm: Algorithm, function: HashFunction) -> list[Mistakable]:
    return could_be(message(content, function), algorithm, None)


@pytest.mark.parametrize(("transaction", "content"), TRANSACTIONS, ids=range(4))
def test_a_bare_keys_message_under_keccak_may_be_a_transaction_of_ethereum(transaction, content):
    unsigned = serializable_unsigned_transaction_from_dict(transaction)
    assert keccak_256(content) == unsigned.hash()
    found = meanings(content, ECDSA_SECP256K1, HashFunction.KECCAK_256)
    assert found == [Mistakable.ETHEREUM_TRANSACTION]
    for function in (HashFunction.SHA_256, HashFunction.SHA3_256):
        assert meanings(content, ECDSA_SECP256K1, function) == []
    assert meanings(content, ECDSA_SECP256R1, HashFunction.KECCAK_256) == []


def test_a_bare_keys_message_under_keccak_may_be_typed_data_or_a_message_of_ethereum():
    typed = encode_typed_data(full_message=PERMIT)
    content = b"\x19" + typed.version + typed.header + typed.body
    found = meanings(content, ECDSA_SECP256K1, HashFunction.KECCAK_256)
    assert found == [Mistakable.ETHEREUM_TYPED_DATA]
    content = b"\x19Ethereum Signed Message:\n5hello"
    found = meanings(content, ECDSA_SECP256K1, HashFunction.KECCAK_256)
    assert found == [Mistakable.ETHEREUM_MESSAGE]


@given(st.text(min_size=1))
def test_plain_text_under_keccak_is_nothing_else(text):
    if text[0] >= " " and len(text.encode()) > 2:
        content = ("- " + text).encode()
        assert meanings(content, ECDSA_SECP256K1, HashFunction.KECCAK_256) == []


@pytest.mark.parametrize(("transaction", "content"), TRANSACTIONS, ids=range(4))
def test_an_ethereum_wallet_signs_a_transaction_as_a_message_only_behind_eip_191s_prefix(
    transaction, content
):
    request = message(content)
    unsigned = serializable_unsigned_transaction_from_dict(transaction)
    assert digest_of(request, ECDSA_SECP256K1, Network.ETHEREUM, None) != unsigned.hash()
    assert could_be(request, ECDSA_SECP256K1, Network.ETHEREUM) == []


def test_a_bitcoin_wallet_hashes_a_message_behind_bip_137s_magic():
    """BIP-143's first 36 bytes are a version and the double SHA-256 of all outpoints.

    With the magic at their place, outpoints would be needed whose hash begins with 20 given bytes.
    """
    magic = b"\x18Bitcoin Signed Message:\n"
    inner = hashlib.sha256(hashlib.sha256(magic + b"\x05hello").digest()).digest()
    assert digest_of(message(b"hello"), ECDSA_SECP256K1, Network.BITCOIN, None) == inner
    assert len(magic) - 4 >= 20


def test_a_taproot_wallets_message_is_of_a_transaction_that_no_block_can_have():
    """to_sign spends to_spend, whose own input is none: no such txid is ever on the chain."""
    key = bytes.fromhex("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
    for content in (b"hello", TAPROOT_SIGHASH + bytes(100)):
        expected = bip322.digest(content, key)
        assert digest_of(message(content), SCHNORR_SECP256K1, Network.BITCOIN, key) == expected
        assert expected != hashlib.sha256(content).digest()


def test_a_bare_schnorr_keys_message_under_sha_256_may_be_a_taproot_transaction():
    content = TAPROOT_SIGHASH + bytes(175)
    found = meanings(content, SCHNORR_SECP256K1, HashFunction.SHA_256)
    assert found == [Mistakable.BITCOIN_TRANSACTION]
    assert meanings(content, SCHNORR_SECP256K1, HashFunction.KECCAK_256) == []
    assert meanings(b"hello", SCHNORR_SECP256K1, HashFunction.SHA_256) == []
