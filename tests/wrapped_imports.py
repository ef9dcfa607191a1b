"""Private keys as an application wraps them for an import, also wrong ones; by other libraries."""

import secrets

from Crypto.Cipher import PKCS1_OAEP
from Crypto.Hash import SHA1, SHA256
from Crypto.PublicKey import RSA
from Crypto.Util.asn1 import DerObjectId, DerOctetString, DerSequence
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding

from custody.wire.algorithms import ECDSA_SECP256K1, ECDSA_SECP256R1, EDDSA_ED25519, Algorithm
from custody.wire.imports import Wrapping

CURVE_OID = {ECDSA_SECP256K1: "1.3.132.0.10", ECDSA_SECP256R1: "1.2.840.10045.3.1.7"}
ORDER = {
    ECDSA_SECP256K1: 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141,
    ECDSA_SECP256R1: 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
}
"""Of SEC 2, sections 2.4.1 and 2.4.2."""


def pkcs8(algorithm: Algorithm, secret: bytes) -> bytes:
    """PKCS#8 (RFC 5958) of a scalar (RFC 5915) or seed (RFC 8410), whatever its value or length."""
    if algorithm == EDDSA_ED25519:
        identifier = DerSequence([DerObjectId("1.3.101.112")])
        inner = DerOctetString(secret).encode()
    else:
        curve = DerObjectId(CURVE_OID[algorithm])
        identifier = DerSequence([DerObjectId("1.2.840.10045.2.1"), curve])
        inner = DerSequence([1, DerOctetString(secret)]).encode()
    return bytes(DerSequence([0, identifier, DerOctetString(inner)]).encode())


def wrapped(
    import_key: bytes, wrapping: Wrapping, content: bytes, *, aes: bytes | None = None
) -> bytes:
    """Return the content, wrapped to the RSA key."""
    key = secrets.token_bytes(32) if aes is None else aes
    hash_function = SHA1 if wrapping is Wrapping.RSA_OAEP_AES_KWP_SHA1 else SHA256
    oaep = PKCS1_OAEP.new(RSA.import_key(import_key), hashAlgo=hash_function)
    return oaep.encrypt(key) + aes_key_wrap_with_padding(key, content)
