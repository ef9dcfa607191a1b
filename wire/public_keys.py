"""Whether bytes are a public key."""

from coincurve import PublicKey, PublicKeyXOnly
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from wire.algorithms import (
    ECDSA_SECP256K1,
    ECDSA_SECP256R1,
    PUBLIC_KEY_SIZE,
    SCHNORR_SECP256K1,
    Algorithm,
)


def check_public_key(algorithm: Algorithm, public_key: bytes) -> None:
    """ValueError unless the bytes are a public key of the algorithm, in the form of its own."""
    size = PUBLIC_KEY_SIZE[algorithm]
    if len(public_key) != size:
        raise ValueError(
            f"a public key of {algorithm} has {size} bytes, this one {len(public_key)}"
        )
    try:
        _parse(algorithm, public_key)
    except ValueError:
        raise ValueError(f"the public key is none of {algorithm}") from None


def _parse(algorithm: Algorithm, public_key: bytes) -> None:
    if algorithm == ECDSA_SECP256K1:
        PublicKey(public_key)
    elif algorithm == SCHNORR_SECP256K1:
        PublicKeyXOnly(public_key)
    elif algorithm == ECDSA_SECP256R1:
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public_key)
    else:
        ed25519.Ed25519PublicKey.from_public_bytes(public_key)
