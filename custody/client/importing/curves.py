"""Private keys as numbers, and their public keys, by libraries alone."""

import hashlib

from coincurve import PrivateKey as Secp256k1PrivateKey
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from custody.wire.algorithms import ECDSA_SECP256K1, SCHNORR_SECP256K1, Algorithm, Curve
from custody.wire.points import GROUP_ORDER

SECRET_SIZE = 32
"""In bytes: a scalar of each curve, and a seed of RFC 8032."""


def public_key_of(algorithm: Algorithm, secret: bytes) -> bytes:
    """Return the public key of 32 bytes: a scalar, most significant byte first, or a seed.

    Ed25519 has seeds. A scalar must be from 1 to the order less 1; the libraries raise ValueError
    for others. The public key of Schnorr is the x-coordinate (BIP-340).
    """
    if algorithm.curve is Curve.ED25519:
        edwards = ed25519.Ed25519PrivateKey.from_private_bytes(secret)
        return edwards.public_key().public_bytes_raw()
    if algorithm == ECDSA_SECP256K1:
        return Secp256k1PrivateKey(secret).public_key.format()
    if algorithm == SCHNORR_SECP256K1:
        return Secp256k1PrivateKey(secret).public_key.format()[1:]
    p256 = ec.derive_private_key(int.from_bytes(secret), ec.SECP256R1()).public_key()
    return p256.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)


def scalar_of_seed(seed: bytes) -> int:
    """Return the scalar of an Ed25519 seed (RFC 8032, section 5.1.5), modulo the group's order.

    The base point has that order, so the reduced scalar has the same public key. It is never 0:
    the clamped scalar is a multiple of 8 below 8 times the order, and not 0.
    """
    digest = bytearray(hashlib.sha512(seed).digest()[:32])
    digest[0] &= 0b1111_1000
    digest[31] &= 0b0111_1111
    digest[31] |= 0b0100_0000
    return int.from_bytes(digest, "little") % GROUP_ORDER[Curve.ED25519]
