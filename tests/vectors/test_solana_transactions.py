"""What is a Solana transaction: against solders, which wraps the network's own Rust crates."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import Message, MessageV0, MessageV1, TransactionConfig, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from custody.wire.algorithms import EDDSA_ED25519, Network
from custody.wire.digests import NotSignable
from custody.wire.mistakable import Mistakable, could_be, require_signable
from custody.wire.requests import SignMessage, SignTransaction
from custody.wire.solana import SMALLEST, NoTransaction, is_transaction, read_message

keys = st.binary(min_size=32, max_size=32).map(Pubkey.from_bytes)
hashes = st.binary(min_size=32, max_size=32).map(Hash.from_bytes)
metas = st.builds(AccountMeta, keys, st.booleans(), st.booleans())
instructions = st.lists(
    st.builds(Instruction, keys, st.binary(max_size=300), st.lists(metas, max_size=8)), max_size=5
)
tables = st.lists(
    st.builds(AddressLookupTableAccount, keys, st.lists(keys, min_size=1, max_size=4)), max_size=2
)


def legacy(payer, wanted, blockhash, _):
    return Message.new_with_blockhash(wanted, payer, blockhash)


def version_0(payer, wanted, blockhash, lookups):
    # so that some accounts are looked up: each table has one of an instruction's
    for number, (instruction, table) in enumerate(zip(wanted, lookups, strict=False)):
        found = [*table.addresses, *(meta.pubkey for meta in instruction.accounts)]
        lookups[number] = AddressLookupTableAccount(table.key, found)
    return MessageV0.try_compile(payer, wanted, lookups, blockhash)


def version_1(payer, wanted, blockhash, lookups):
    config = TransactionConfig(compute_unit_limit=200_000) if lookups else None
    return MessageV1.try_compile(payer, wanted, blockhash, config)


made = st.tuples(
    st.sampled_from([legacy, version_0, version_1]), keys, instructions, hashes, tables
)


def message_of(parts: Any) -> Any:
    make, payer, wanted, blockhash, lookups = parts
    # a program that pays is refused by every validator
    wanted = [each for each in wanted if each.program_id != payer]
    return make(payer, wanted, blockhash, lookups)


@given(made, st.binary(max_size=100))
def test_every_transaction_of_solders_is_one_whole_or_unsigned_and_whatever_follows(parts, more):
    message = message_of(parts)
    content = to_bytes_versioned(message)
    found = read_message(content)
    assert found.size == len(content)
    required = message.header.num_required_signatures
    assert found.signers == tuple(bytes(key) for key in message.account_keys[:required])
    whole = bytes(VersionedTransaction.populate(message, [Signature.default()] * required))
    for each in (content, whole, content + more, whole + more):
        assert is_transaction(each)


@given(st.text(max_size=5000))
def test_text_is_no_transaction(text):
    """Any text: its first characters say of how many accounts it would have to be."""
    if text[:1] >= " ":
        assert not is_transaction(text.encode())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"Hello",
        "Grüße, 世界, 👋".encode(),
        b"example.com wants you to sign in with your Solana account:\n" * 200,
        b"\xffsolana offchain\x00" + bytes(100),
        b"\xffsolana offchain\x01" + b"text " * 2000,
        bytes(range(64)),
        bytes(32),
    ],
    ids=range(8),
)
def test_an_ordinary_message_is_no_transaction(content):
    assert not is_transaction(content)
    request = SignMessage(kind="Message", message="0x" + content.hex())
    require_signable(request, EDDSA_ED25519, Network.SOLANA, bytes(32))
    assert could_be(request, EDDSA_ED25519, None) == []


def test_a_version_that_nobody_knows_yet_counts_as_a_transaction_and_no_text_begins_like_one():
    for first in range(0x82, 0xC0):
        assert is_transaction(bytes([first]) + bytes(SMALLEST))
        with pytest.raises(UnicodeDecodeError):
            bytes([first]).decode()
    assert not is_transaction(bytes([0x82]) + bytes(20))


def a_transfer() -> tuple[Keypair, bytes]:
    payer = Keypair()
    order = TransferParams(
        from_pubkey=payer.pubkey(), to_pubkey=Pubkey.new_unique(), lamports=10**9
    )
    message = Message.new_with_blockhash([transfer(order)], payer.pubkey(), Hash.new_unique())
    return payer, bytes(message)


def test_a_transfer_is_not_signed_as_a_message_but_as_a_transaction():
    payer, content = a_transfer()
    public_key = bytes(payer.pubkey())
    for hidden in (content, bytes([0]) + content, content + b"!"):
        request = SignMessage(kind="Message", message="0x" + hidden.hex())
        with pytest.raises(NotSignable, match="use kind Transaction"):
            require_signable(request, EDDSA_ED25519, Network.SOLANA, public_key)
    wanted = SignTransaction(kind="Transaction", transaction=content)
    require_signable(wanted, EDDSA_ED25519, Network.SOLANA, public_key)


def test_a_transaction_is_the_whole_of_one_that_this_key_signs():
    payer, content = a_transfer()
    public_key = bytes(payer.pubkey())
    for wrong, key, text in (
        (content + b"!", public_key, "bytes follow"),
        (b"Hello", public_key, "not a Solana transaction's message"),
        (content, bytes(32), "is not one of its signers"),
    ):
        request = SignTransaction(kind="Transaction", transaction=wrong)
        with pytest.raises(NotSignable, match=text):
            require_signable(request, EDDSA_ED25519, Network.SOLANA, key)
    request = SignTransaction(kind="Transaction", transaction=content)
    with pytest.raises(NotSignable, match="for Solana wallets"):
        require_signable(request, EDDSA_ED25519, None, public_key)


def test_a_bare_key_may_sign_it_and_the_gate_is_told():
    _, content = a_transfer()
    request = SignMessage(kind="Message", message="0x" + content.hex())
    require_signable(request, EDDSA_ED25519, None, bytes(32))
    assert could_be(request, EDDSA_ED25519, None) == [Mistakable.SOLANA_TRANSACTION]


@given(made, st.data())
def test_a_transaction_that_is_cut_short_is_none(parts, data):
    content = to_bytes_versioned(message_of(parts))
    end = data.draw(st.integers(0, len(content) - 1))
    with pytest.raises(NoTransaction):
        read_message(content[:end])
