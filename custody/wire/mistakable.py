"""Other meanings that the bytes of a message may have, above all a transaction. Pure.

The networks give messages a form that no transaction has, Solana excepted:

- Ethereum hashes EIP-191's prefix and the message. A transaction begins with an RLP list, or with
its type and a list (EIP-2718); no type is 0x19. - Bitcoin p2wpkh hashes BIP-137's magic and the
message. At the place of "coin Signed Message:", BIP-143 has a hash of the inputs, and the older
format has an input's txid. - Bitcoin p2tr signs a BIP-322 transaction, whose input no block can
contain. - Solana has no such form: Ed25519 signs the message's bytes. So messages that are
transactions are refused.

A bare key has no network, so its messages may mean anything. The gate is told the possible
meanings.
"""

import hashlib
from enum import StrEnum

from custody.wire.algorithms import (
    ECDSA_SECP256K1,
    EDDSA_ED25519,
    SCHNORR_SECP256K1,
    Algorithm,
    HashFunction,
    Network,
)
from custody.wire.digests import NotSignable
from custody.wire.requests import SignMessage, SignRequest, SignTransaction
from custody.wire.solana import NoTransaction, is_transaction, read_message

TAPROOT_SIGHASH = hashlib.sha256(b"TapSighash").digest() * 2
"""The prefix of a transaction's hash in BIP-341 (BIP-340, section "Tagged hashes")."""
EIP_191, EIP_712 = b"\x19E", b"\x19\x01"
RLP_LIST, RLP_LONG_LIST = 0xC0, 0xF7


class Mistakable(StrEnum):
    """Meanings that the same bytes have elsewhere, with the same hash function."""

    SOLANA_TRANSACTION = "SolanaTransaction"
    ETHEREUM_TRANSACTION = "EthereumTransaction"
    """Also an authorisation of EIP-7702, which has the same form."""
    ETHEREUM_MESSAGE = "EthereumMessage"
    """EIP-191, version 0x45."""
    ETHEREUM_TYPED_DATA = "EthereumTypedData"
    """EIP-712, for example a permit to move tokens."""
    BITCOIN_TRANSACTION = "BitcoinTransaction"


def require_signable(
    request: SignRequest, algorithm: Algorithm, network: Network | None, public_key: bytes | None
) -> None:
    """Raise NotSignable for a transaction sent as a Message, and for an invalid Transaction.

    A Transaction must be the complete message of a transaction, and the key must be one of its
    signers. Otherwise the signature would authorise nothing.
    """
    if isinstance(request, SignTransaction):
        _require_solana_transaction(request.content, network, public_key)
    elif (
        isinstance(request, SignMessage)
        and network is not None
        and network.family is Network.SOLANA
        and algorithm == EDDSA_ED25519
        and is_transaction(request.content)
    ):
        raise NotSignable(
            "the message is a Solana transaction, so its signature would authorise that "
            "transaction: to sign a transaction, use kind Transaction"
        )


def _require_solana_transaction(
    content: bytes, network: Network | None, public_key: bytes | None
) -> None:
    if network is None or network.family is not Network.SOLANA:
        raise NotSignable(
            "kind Transaction is for Solana wallets: other networks sign a transaction's hash, "
            "with kind Hash"
        )
    try:
        found = read_message(content)
    except NoTransaction as error:
        raise NotSignable(f"transaction: not a Solana transaction's message: {error}") from None
    if found.size != len(content):
        raise NotSignable(
            "transaction: bytes follow the transaction's message: give the message alone, without "
            "the signatures"
        )
    if public_key not in found.signers:
        raise NotSignable("transaction: the wallet's key is not one of its signers")


def could_be(
    request: SignMessage, algorithm: Algorithm, network: Network | None
) -> list[Mistakable]:
    """Return other meanings of a bare key's message; none for a wallet's message."""
    if network is not None:
        return []
    content = request.content
    match algorithm, request.hash_function:
        case algorithm, None if algorithm == EDDSA_ED25519 and is_transaction(content):
            return [Mistakable.SOLANA_TRANSACTION]
        case algorithm, HashFunction.KECCAK_256 if algorithm == ECDSA_SECP256K1:
            return _on_ethereum(content)
        case algorithm, HashFunction.SHA_256 if algorithm == SCHNORR_SECP256K1:
            if content.startswith(TAPROOT_SIGHASH):
                return [Mistakable.BITCOIN_TRANSACTION]
    return []


def _on_ethereum(content: bytes) -> list[Mistakable]:
    if content.startswith(EIP_712):
        return [Mistakable.ETHEREUM_TYPED_DATA]
    if content.startswith(EIP_191):
        return [Mistakable.ETHEREUM_MESSAGE]
    is_typed = content[:1] < b"\x80" and _is_rlp_list(content[1:])  # EIP-2718; EIP-7702
    return [Mistakable.ETHEREUM_TRANSACTION] if is_typed or _is_rlp_list(content) else []


def _is_rlp_list(content: bytes) -> bool:
    """Return True if the bytes are exactly one RLP list (Yellow Paper, appendix B)."""
    if not content or content[0] < RLP_LIST:
        return False
    if content[0] <= RLP_LONG_LIST:
        return len(content) == 1 + content[0] - RLP_LIST
    of_length = content[0] - RLP_LONG_LIST
    return len(content) == 1 + of_length + int.from_bytes(content[1 : 1 + of_length])
