"""Addresses from public keys."""

import hashlib

from coincurve import PublicKey
from Crypto.Hash import RIPEMD160
from embit import base58, bech32

from wire.algorithms import NETWORK_ALGORITHM, PUBLIC_KEY_SIZE, Network
from wire.digests import keccak_256


def address_of(network: Network, public_key: bytes) -> str:
    """Address of a compressed SEC1 (secp256k1) or 32-byte raw (Ed25519) public key.

    Raises ValueError for anything else: what is sent to an address of no key is lost.
    """
    size = PUBLIC_KEY_SIZE[NETWORK_ALGORITHM[network]]
    if len(public_key) != size:
        raise ValueError(
            f"a public key of {network.value} has {size} bytes, this one {len(public_key)}"
        )
    match network:
        case Network.ETHEREUM:
            return _ethereum(public_key)
        case Network.BITCOIN:
            return _p2wpkh(public_key)
        case Network.SOLANA:
            return str(base58.encode(public_key))


def _ethereum(public_key: bytes) -> str:
    """The last 20 bytes of Keccak-256 over the point (Yellow Paper, appendix F)."""
    point = PublicKey(public_key).format(compressed=False)[1:]
    return eip55(keccak_256(point)[-20:])


def eip55(address: bytes) -> str:
    """Text of an address, with the EIP-55 checksum in the case of its letters."""
    plain = address.hex()
    checksum = keccak_256(plain.encode()).hex()
    return "0x" + "".join(
        digit.upper() if int(nibble, 16) >= 8 else digit
        for digit, nibble in zip(plain, checksum, strict=False)
    )


def _p2wpkh(public_key: bytes) -> str:
    """Segwit version 0 program of HASH160(public key), mainnet (BIP-141, BIP-173)."""
    compressed = PublicKey(public_key).format()
    program = RIPEMD160.new(hashlib.sha256(compressed).digest()).digest()
    return str(bech32.encode("bc", 0, program))
