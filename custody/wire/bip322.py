"""Messages that a Taproot wallet signs: BIP-322, format "simple", spent by the key (BIP-341).

Two transactions that no network accepts: ``to_spend`` contains the message and pays nothing to the
wallet's address, ``to_sign`` spends that output. The signature is the witness of ``to_sign``.
"""

import hashlib

from embit.script import Script, Witness
from embit.transaction import SIGHASH, Transaction, TransactionInput, TransactionOutput

_MESSAGE_TAG = hashlib.sha256(b"BIP0322-signed-message").digest()
_NO_TRANSACTION = bytes(32)
_NO_OUTPUT = 0xFFFFFFFF
_OP_0 = b"\x00"
_OP_1 = b"\x51"
_OP_RETURN = b"\x6a"
_PUSH_32 = b"\x20"


def message_hash(message: bytes) -> bytes:
    """Return BIP-340's tagged hash of a message of any size."""
    return hashlib.sha256(_MESSAGE_TAG + _MESSAGE_TAG + message).digest()


def to_spend(message: bytes, wallet: Script) -> Transaction:
    """Return ``to_spend``, which contains the message and pays the wallet."""
    challenge = TransactionInput(
        _NO_TRANSACTION, _NO_OUTPUT, Script(_OP_0 + _PUSH_32 + message_hash(message)), sequence=0
    )
    paid = TransactionOutput(0, wallet)
    return Transaction(version=0, vin=[challenge], vout=[paid], locktime=0)


def to_sign(message: bytes, wallet: Script) -> Transaction:
    """Return ``to_sign``, which spends ``to_spend``."""
    spent = TransactionInput(to_spend(message, wallet).txid(), 0, sequence=0)
    nothing = TransactionOutput(0, Script(_OP_RETURN))
    return Transaction(version=0, vin=[spent], vout=[nothing], locktime=0)


def digest(message: bytes, output_key: bytes) -> bytes:
    """Return the digest of a message: BIP-341's signature hash, SIGHASH_DEFAULT, of ``to_sign``.

    ``output_key`` is the wallet's 32-byte public key.
    """
    wallet = Script(_OP_1 + _PUSH_32 + output_key)
    signature_hash: bytes = to_sign(message, wallet).sighash_taproot(
        0, [wallet], [0], sighash=SIGHASH.DEFAULT
    )
    return signature_hash


def witness(signature: bytes) -> bytes:
    """Return the serialised witness stack (BIP-144); wallets write it as base64."""
    stack: bytes = Witness([signature]).serialize()
    return stack
