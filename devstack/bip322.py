"""Verification of Taproot wallets' BIP-322 messages, by buidl's transactions, scripts and curve."""

import io

from buidl.bech32 import decode_bech32
from buidl.ecc import S256Point, SchnorrSignature
from buidl.hash import tagged_hash
from buidl.script import P2TRScriptPubKey, Script
from buidl.tx import Tx, TxIn, TxOut
from buidl.witness import Witness

OP_0, OP_RETURN = 0x00, 0x6A
SIGHASH_DEFAULT, SIGHASH_ALL = 0x00, 0x01
SIGNATURE_SIZE = 64
COINBASE_INDEX = 0xFFFFFFFF


class NotSigned(Exception):
    """The signature is not a signature of this message by this address."""


def check_taproot_message(address: str, message: bytes, signature: bytes) -> None:
    """Raise NotSigned unless the witness, serialised, signs the message for the address.

    buidl's own ``verify_input`` mistakes a signature that begins with 0x50 for an annex, and then
    checks nothing. In BIP-341 an annex is only valid in addition to a signature.
    """
    hrp, version, program = decode_bech32(address)
    if hrp not in ("mainnet", "testnet") or (version, len(program)) != (1, 32):
        raise NotSigned(f"{address} is not a Taproot address")
    paid = P2TRScriptPubKey(program)
    tag = tagged_hash(b"BIP0322-signed-message", message)
    challenge = TxIn(bytes(32), COINBASE_INDEX, Script([OP_0, tag]), sequence=0)
    to_spend = Tx(0, [challenge], [TxOut(0, paid)], 0, network="mainnet")
    spending = TxIn(to_spend.hash(), 0, Script(), sequence=0)
    spending._value, spending._script_pubkey = 0, paid
    to_sign = Tx(0, [spending], [TxOut(0, Script([OP_RETURN]))], 0, network="mainnet", segwit=True)
    raw, hash_type = _only_item(signature)
    try:
        parsed = SchnorrSignature.parse(raw)
        is_signed = S256Point.parse_bip340(program).verify_schnorr(
            to_sign.sig_hash(0, hash_type), parsed
        )
    except (ValueError, RuntimeError, IndexError) as error:
        raise NotSigned(str(error)) from None
    if not is_signed:
        raise NotSigned(f"the signature is not {address}'s of this message")


def _only_item(witness: bytes) -> tuple[bytes, int]:
    """Return the signature of a key path spend, and its hash type. Raise NotSigned."""
    stream = io.BytesIO(witness)
    try:
        items = Witness.parse(stream).items
    except (OSError, ValueError, RuntimeError, IndexError) as error:
        raise NotSigned(f"the signature is not a witness: {error}") from None
    if len(items) != 1 or stream.read():
        raise NotSigned(f"the witness has {len(items)} items instead of one signature")
    raw, hash_type = items[0][:SIGNATURE_SIZE], items[0][SIGNATURE_SIZE:]
    if len(raw) != SIGNATURE_SIZE or hash_type not in (b"", bytes([SIGHASH_ALL])):
        raise NotSigned(f"the signature has {len(items[0])} bytes, or another hash type")
    return raw, hash_type[0] if hash_type else SIGHASH_DEFAULT
