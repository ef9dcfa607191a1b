"""BIP-322 messages of Taproot wallets, verified by buidl: its own transactions, scripts, curve."""

import io

from buidl.bech32 import decode_bech32
from buidl.hash import tagged_hash
from buidl.script import P2TRScriptPubKey, Script
from buidl.tx import Tx, TxIn, TxOut
from buidl.witness import Witness

OP_0, OP_RETURN = 0x00, 0x6A
COINBASE_INDEX = 0xFFFFFFFF


class NotSigned(Exception):
    """The signature is none of this message by this address."""


def check_taproot_message(address: str, message: bytes, signature: bytes) -> None:
    """Raise NotSigned unless the witness, serialised, signs the message for the address."""
    hrp, version, program = decode_bech32(address)
    if (hrp, version, len(program)) != ("mainnet", 1, 32):
        raise NotSigned(f"{address} is no Taproot address")
    paid = P2TRScriptPubKey(program)
    tag = tagged_hash(b"BIP0322-signed-message", message)
    challenge = TxIn(bytes(32), COINBASE_INDEX, Script([OP_0, tag]), sequence=0)
    to_spend = Tx(0, [challenge], [TxOut(0, paid)], 0, network="mainnet")
    spending = TxIn(to_spend.hash(), 0, Script(), sequence=0)
    spending._value, spending._script_pubkey = 0, paid
    spending.witness = Witness.parse(io.BytesIO(signature))
    to_sign = Tx(0, [spending], [TxOut(0, Script([OP_RETURN]))], 0, network="mainnet", segwit=True)
    try:
        is_signed = to_sign.verify_input(0)
    except (ValueError, RuntimeError, IndexError) as error:
        raise NotSigned(str(error)) from None
    if not is_signed:
        raise NotSigned(f"the signature is not {address}'s of this message")
