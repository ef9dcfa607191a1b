"""Signatures with a recovered private key, in the form in which the API returns them."""

import hashlib
import os

from coincurve import PrivateKey as Secp256k1PrivateKey
from nacl.bindings import (
    crypto_core_ed25519_scalar_add,
    crypto_core_ed25519_scalar_mul,
    crypto_core_ed25519_scalar_reduce,
    crypto_scalarmult_ed25519_base_noclamp,
)

from custody.wire.algorithms import Scheme
from custody.wire.digests import digest_of
from custody.wire.requests import SignHash, SignRequest
from custody.wire.signatures import RAW_SIZE, SignatureResult, finish
from mpc.recover.private_key import PrivateKey

NONCE_PREFIX_DOMAIN = b"custody recovered Ed25519 key, prefix of nonces v1"


def sign(key: PrivateKey, request: SignRequest) -> tuple[bytes | None, SignatureResult]:
    """Return digest and verified signature. The digest of Ed25519 is None.

    Raise NotSignable if the key cannot sign such a request, or BadSignature.
    """
    digest = digest_of(request, key.algorithm, key.network, key.public_key)
    if digest is None:
        assert not isinstance(request, SignHash)
        raw = sign_ed25519(key.scalar, key.public_key, request.content)
    elif key.algorithm.scheme is Scheme.SCHNORR:
        raw = Secp256k1PrivateKey(key.big_endian).sign_schnorr(digest, os.urandom(32))
    else:  # deterministic (RFC 6979), and libsecp256k1 returns low s
        raw = Secp256k1PrivateKey(key.big_endian).sign_recoverable(digest, hasher=None)[:RAW_SIZE]
    return digest, finish(raw, key.public_key, key.algorithm, key.network, request, digest)


def sign_ed25519(scalar: int, public_key: bytes, message: bytes) -> bytes:
    """Sign with a bare scalar by RFC 8032, section 5.1.6, steps 2 to 6.

    No library of ours signs with a scalar. Step 1 takes scalar and prefix from the seed's hash. A
    recovered key has no seed, so the prefix is hashed from the scalar. Nonces are secret and
    different for each message, as in step 2. The caller verifies the signature.
    """
    secret = scalar.to_bytes(32, "little")
    nonce = crypto_core_ed25519_scalar_reduce(
        hashlib.sha512(nonce_prefix(secret) + message).digest()
    )
    point = crypto_scalarmult_ed25519_base_noclamp(nonce)
    challenge = crypto_core_ed25519_scalar_reduce(
        hashlib.sha512(point + public_key + message).digest()
    )
    response = crypto_core_ed25519_scalar_add(
        nonce, crypto_core_ed25519_scalar_mul(challenge, secret)
    )
    return bytes(point + response)


def nonce_prefix(secret: bytes) -> bytes:
    """Return the secret 32 bytes that nonces are hashed from, together with the message."""
    return hashlib.sha512(NONCE_PREFIX_DOMAIN + secret).digest()[32:]
