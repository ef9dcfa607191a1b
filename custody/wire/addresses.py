"""Addresses from public keys."""

import hashlib

from coincurve import PublicKey
from Crypto.Hash import RIPEMD160
from embit import base58, bech32

from custody.wire.algorithms import NETWORK_ALGORITHMS, SCHNORR_SECP256K1, Algorithm, Network
from custody.wire.digests import keccak_256
from custody.wire.public_keys import check_public_key

_PREFIX = {
    Network.BITCOIN: "bc",
    Network.BITCOIN_TESTNET4: "tb",
    Network.BITCOIN_SIGNET: "tb",
}
"""Prefixes of segwit addresses (BIP-173). BIP-94 and BIP-325 keep the prefix of testnet."""


def address_of(network: Network, algorithm: Algorithm, public_key: bytes) -> str:
    """Return the address of a public key. Raise ValueError for bytes that are not a public key.

    The public key has the encoding of its algorithm (PUBLIC_KEY_SIZE). A Schnorr key is the output
    key: it already contains BIP-341's tweak. Coins sent to an address without a key are lost.
    """
    if algorithm not in NETWORK_ALGORITHMS[network]:
        raise ValueError(f"{network.value} has no public key of {algorithm}")
    check_public_key(algorithm, public_key)
    match network.family:
        case Network.ETHEREUM:
            return _ethereum(public_key)
        case Network.BITCOIN if algorithm == SCHNORR_SECP256K1:
            return _p2tr(network, public_key)
        case Network.BITCOIN:
            return _p2wpkh(network, public_key)
        case _:
            return str(base58.encode(public_key))


def _ethereum(public_key: bytes) -> str:
    """Return the last 20 bytes of Keccak-256 over the point (Yellow Paper, appendix F)."""
    point = PublicKey(public_key).format(compressed=False)[1:]
    return eip55(keccak_256(point)[-20:])


def eip55(address: bytes) -> str:
    """Return an address's text; the case of its letters is the checksum of EIP-55."""
    plain = address.hex()
    checksum = keccak_256(plain.encode()).hex()
    return "0x" + "".join(
        digit.upper() if int(nibble, 16) >= 8 else digit
        for digit, nibble in zip(plain, checksum, strict=False)
    )


def _p2wpkh(network: Network, public_key: bytes) -> str:
    """Return the segwit version 0 address of HASH160(public key) (BIP-141, BIP-173)."""
    program = RIPEMD160.new(hashlib.sha256(public_key).digest()).digest()
    return str(bech32.encode(_PREFIX[network], 0, program))


def _p2tr(network: Network, output_key: bytes) -> str:
    """Return the segwit version 1 address of the output key (BIP-341, BIP-350)."""
    return str(bech32.encode(_PREFIX[network], 1, output_key))
