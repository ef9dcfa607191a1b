"""Addresses from public keys."""

import hashlib

from coincurve import PublicKey
from Crypto.Hash import RIPEMD160
from embit import base58, bech32

from wire.algorithms import Network
from wire.digests import keccak_256


def address_of(network: Network, public_key: bytes) -> str:
    """Address of a compressed SEC1 (secp256k1) or 32-byte raw (Ed25519) public key."""
    match network:
        case Network.ETHEREUM:
            return _ethereum(public_key)
        case Network.BITCOIN:
            return _p2wpkh(public_key)
        case Network.SOLANA:
            return str(base58.encode(public_key))


def _ethereum(public_key: bytes) -> str:
    """The last 20 bytes of Keccak-256 over the point, with the EIP-55 checksum in its case."""
    point = PublicKey(public_key).format(compressed=False)[1:]
    plain = keccak_256(point)[-20:].hex()
    checksum = keccak_256(plain.encode()).hex()
    return "0x" + "".join(
        digit.upper() if int(nibble, 16) >= 8 else digit
        for digit, nibble in zip(plain, checksum, strict=False)
    )


def _p2wpkh(public_key: bytes) -> str:
    """Segwit version 0 program of HASH160(public key), mainnet (BIP-141, BIP-173)."""
    program = RIPEMD160.new(hashlib.sha256(public_key).digest()).digest()
    return str(bech32.encode("bc", 0, program))
