"""Check that bytes are a public key: a valid point in its only encoding.

Every model of custody/wire/ checks its public keys here, so readers of a model need no check.
"""

from typing import Annotated

from coincurve import PublicKey, PublicKeyXOnly
from cryptography.hazmat.primitives.asymmetric import ec
from nacl.bindings import crypto_core_ed25519_is_valid_point
from pydantic import AfterValidator

from custody.wire.algorithms import (
    ECDSA_SECP256K1,
    ECDSA_SECP256R1,
    PUBLIC_KEY_SIZE,
    SCHNORR_SECP256K1,
    Algorithm,
)
from custody.wire.encoding import HexBytes

ED25519_SIZE = 32


def check_public_key(algorithm: Algorithm, public_key: bytes) -> None:
    """Raise ValueError unless the bytes are a public key of the algorithm, in its encoding.

    Compressed SEC1 for ECDSA, the x-coordinate (BIP-340) for Schnorr: these curves have prime
    order, and the point at infinity has no such form. Ed25519 as in ``check_ed25519``.
    """
    size = PUBLIC_KEY_SIZE[algorithm]
    if len(public_key) != size:
        raise ValueError(f"a public key of {algorithm} has {size} bytes, not {len(public_key)}")
    try:
        _check_point(algorithm, public_key)
    except ValueError:
        raise ValueError(
            f"these {size} bytes are not a public key of {algorithm}: not a point of the curve, of "
            "small order, or not in the canonical form"
        ) from None


def check_ed25519(public_key: bytes) -> bytes:
    """Return the same bytes, if they are a public key of Ed25519.

    Raises ValueError unless they are a point of the curve, in its canonical form (RFC 8032,
    section 5.1.3) and of the group of prime order without the neutral element. Under a point of
    small order anybody can sign.
    """
    if len(public_key) != ED25519_SIZE:
        raise ValueError(f"an Ed25519 public key has {ED25519_SIZE} bytes, not {len(public_key)}")
    if not crypto_core_ed25519_is_valid_point(bytes(public_key)):
        raise ValueError(
            "these 32 bytes are not an Ed25519 public key: not a point of the curve, of small or "
            "mixed order, or not in the canonical form"
        )
    return public_key


IdentityKey = Annotated[HexBytes, AfterValidator(check_ed25519)]
"""A node's Ed25519 public key, as 0x-hex."""


def _check_point(algorithm: Algorithm, public_key: bytes) -> None:
    if algorithm == ECDSA_SECP256K1:
        PublicKey(public_key)
    elif algorithm == SCHNORR_SECP256K1:
        PublicKeyXOnly(public_key)
    elif algorithm == ECDSA_SECP256R1:
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public_key)
    else:
        check_ed25519(public_key)
