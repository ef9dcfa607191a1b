"""The format in which an application wraps a private key for an import, as the host reads it.

It is that of CKM_RSA_AES_KEY_WRAP (PKCS#11 3.1, section 6.1.21): an AES-256 key under RSAES-OAEP
(RFC 8017, section 7.1), then the PKCS#8 of the private key under AES-KWP (NIST SP 800-38F, section
6.3). Runs in worker processes only: ``read_private_key`` has the key in clear (host signing).
"""

import secrets
from dataclasses import dataclass

from coincurve import PrivateKey as Secp256k1PrivateKey
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.keywrap import (
    aes_key_unwrap_with_padding,
    aes_key_wrap_with_padding,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from custody.pkcs11 import host_signing
from custody.pkcs11.errors import BadImport
from custody.wire.algorithms import ECDSA_SECP256K1, ECDSA_SECP256R1, EDDSA_ED25519, Algorithm
from custody.wire.imports import Wrapping

AES_BYTES = 32
KWP_BLOCK = 8
"""AES-KWP makes a whole number of such blocks, at least three."""
OAEP_HASH = {
    Wrapping.RSA_OAEP_AES_KWP_SHA256: SHA256(),
    Wrapping.RSA_OAEP_AES_KWP_SHA1: SHA1(),  # noqa: S303 - in OAEP, no collision matters
}

_CURVES: dict[Algorithm, type[ec.EllipticCurve]] = {
    ECDSA_SECP256K1: ec.SECP256K1,
    ECDSA_SECP256R1: ec.SECP256R1,
}

NOT_A_KEY = "the wrapped bytes are not the PKCS#8 of a private key"


@dataclass(frozen=True)
class WrappedImport:
    """``transport_key``: the AES key under RSA. ``private_key``: the PKCS#8 under the AES key."""

    transport_key: bytes
    private_key: bytes


def split(wrapped: bytes, rsa_bytes: int) -> WrappedImport:
    """Split what an application has wrapped. Raise BadImport for an impossible length."""
    parts = WrappedImport(wrapped[:rsa_bytes], wrapped[rsa_bytes:])
    size = len(parts.private_key)
    if size < 3 * KWP_BLOCK or size % KWP_BLOCK:
        raise BadImport(
            f"the wrapped key has {len(wrapped)} bytes. It must be {rsa_bytes} bytes of RSA-OAEP, "
            f"then AES-KWP, which has a multiple of {KWP_BLOCK} bytes"
        )
    return parts


def seal(public_key: rsa.RSAPublicKey, wrapping: Wrapping, pkcs8: bytes) -> WrappedImport:
    """Wrap a private key as an application does: for a trial of the token."""
    hash_function = OAEP_HASH[wrapping]
    oaep = padding.OAEP(padding.MGF1(hash_function), hash_function, label=None)
    aes = secrets.token_bytes(AES_BYTES)
    return WrappedImport(public_key.encrypt(aes, oaep), aes_key_wrap_with_padding(aes, pkcs8))


def made_up_key(algorithm: Algorithm) -> tuple[bytes, bytes]:
    """Return the PKCS#8 of a new key that protects nothing, and its public key."""
    private_key, public_key = host_signing.generate(algorithm)
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    if algorithm == EDDSA_ED25519:
        key = ed25519.Ed25519PrivateKey.from_private_bytes(private_key)
    else:
        key = ec.derive_private_key(int.from_bytes(private_key), _CURVES[algorithm]())
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()), public_key


def read_private_key(
    transport_key: bytes, wrapped: bytes, algorithm: Algorithm, public_key: bytes
) -> bytes:
    """Return the private key as ``host_signing`` has it, 32 bytes. Raise BadImport.

    The key must be of the algorithm, and that of the announced public key.
    """
    if len(transport_key) != AES_BYTES:
        raise BadImport(f"the AES key has {len(transport_key)} bytes, not {AES_BYTES}")
    try:
        pkcs8 = aes_key_unwrap_with_padding(transport_key, wrapped)
        key = load_der_private_key(pkcs8, password=None)
    except Exception:  # whatever a parser makes of foreign bytes: InternalError for a short seed
        raise BadImport(NOT_A_KEY) from None
    secret, found = _secret_and_public_key(key, algorithm)
    if found != public_key:
        raise BadImport(NOT_ITS_KEY)
    return secret


NOT_ITS_KEY = "the wrapped key is not the private key of the announced public key"


def _secret_and_public_key(key: object, algorithm: Algorithm) -> tuple[bytes, bytes]:
    if algorithm == EDDSA_ED25519 and isinstance(key, ed25519.Ed25519PrivateKey):
        return key.private_bytes_raw(), key.public_key().public_bytes_raw()
    curve = _CURVES.get(algorithm)
    if curve is None or not isinstance(key, ec.EllipticCurvePrivateKey):
        raise BadImport(f"the wrapped key is not a key of {algorithm}")
    if not isinstance(key.curve, curve):
        raise BadImport(f"the wrapped key is on another curve than {algorithm}")
    scalar = key.private_numbers().private_value.to_bytes(host_signing.SECRET_SIZE)
    if algorithm == ECDSA_SECP256K1:
        return scalar, Secp256k1PrivateKey(scalar).public_key.format()
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    return scalar, point
