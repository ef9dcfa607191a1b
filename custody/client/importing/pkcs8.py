"""Private keys as PKCS#8 (RFC 5958, RFC 8410) or SEC 1 (section C.4; RFC 5915), PEM or DER."""

import base64
import binascii
import re

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
)

from custody.client.importing import der
from custody.client.importing.curves import SECRET_SIZE
from custody.client.importing.faults import BadPrivateKey, KeyFault
from custody.client.importing.private_key import PrivateKey
from custody.wire.algorithms import ECDSA_SECP256K1, ECDSA_SECP256R1, EDDSA_ED25519, Algorithm

OPENSSL_CURVE: dict[Algorithm, ec.EllipticCurve] = {
    ECDSA_SECP256K1: ec.SECP256K1(),
    ECDSA_SECP256R1: ec.SECP256R1(),
}
ALGORITHM = {curve.name: algorithm for algorithm, curve in OPENSSL_CURVE.items()}
PEM = b"-----BEGIN "
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)
_SEC1 = b"EC PRIVATE KEY"
_LABELS = (b"PRIVATE KEY", b"ENCRYPTED PRIVATE KEY", _SEC1)
_PARAMETERS = b"EC PARAMETERS"
"""Openssl ecparam writes them in front of the key, which names its curve as well."""
MAX_DER = 4096
"""Bytes of a private key's file as DER; those of the curves here have a few hundred. The library
checks the primes of an RSA key of any size, which takes minutes for 64 KiB, before it says that it
is one."""
MAX_BLOCKS = 2
"""The parameters and the key. The end of each block is searched for in all that follows."""


def read_pkcs8(data: bytes, password: bytes | None) -> PrivateKey:
    """Return the key of a file. Raise BadPrivateKey."""
    if PEM in data:
        return _read_pem(data, password)
    return _read_der(data, password)


def encode_pkcs8(key: PrivateKey) -> bytes:
    """Return the key as DER of PKCS#8, not encrypted, as a PKCS#11 token unwraps it. SECRET.

    The octets of the number have the size of the order (SEC 1, section C.4), with leading zeros.
    Raises ValueError for a Schnorr key: PKCS#8 does not tell it from ECDSA, so a token would sign
    with the wrong scheme. Raises BadPrivateKey as ``require_form_for_hsm`` does.
    """
    key.require_form_for_hsm()
    private_key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey
    if key.algorithm == EDDSA_ED25519:
        private_key = Ed25519PrivateKey.from_private_bytes(key.secret)
    elif key.algorithm in OPENSSL_CURVE:
        private_key = ec.derive_private_key(key.scalar, OPENSSL_CURVE[key.algorithm])
    else:
        raise ValueError(f"there is no PKCS#8 of a key of {key.algorithm}")
    return private_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def _read_pem(data: bytes, password: bytes | None) -> PrivateKey:
    begins = data.count(PEM)
    found = _BLOCK.findall(data) if begins <= MAX_BLOCKS else []
    blocks = [block for block in found if block[0] != _PARAMETERS]
    if len(blocks) != 1 or begins > len(found):
        raise _bad("a PEM file with one private key, and nothing else, is needed")
    label, body = blocks[0]
    if label not in _LABELS:
        raise BadPrivateKey(
            KeyFault.UNSUPPORTED,
            "the PEM block is not PRIVATE KEY, ENCRYPTED PRIVATE KEY or EC PRIVATE KEY",
        )
    if len(body) > 2 * MAX_DER:  # with base64 and headers
        raise _too_large()
    if not (label == _SEC1 and body.lstrip().startswith(b"Proc-Type:")):
        return _read_der(_decoded(body), password)
    # the encryption of old PEM files derives its key by one round of MD5: never costly
    try:
        loaded = load_pem_private_key(data, password or None)
    except (TypeError, ValueError, UnsupportedAlgorithm, InternalError):
        raise _not_decrypted(password) from None
    return _key_of(loaded)


def _decoded(body: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(body.split()), validate=True)
    except binascii.Error:
        raise _bad("the PEM block is not base64") from None


def _read_der(data: bytes, password: bytes | None) -> PrivateKey:
    if len(data) > MAX_DER:
        raise _too_large()
    try:
        if der.is_encrypted(data):
            der.check_cost(data)
            return _read_encrypted(data, password)
        content = der.parts(data)
    except ValueError:
        raise _bad("the data is not PKCS#8 or SEC 1") from None
    if password is not None:
        raise BadPrivateKey(
            KeyFault.PASSWORD_NOT_NEEDED, "the private key is not encrypted: give no password"
        )
    try:
        key = _key_of(load_der_private_key(content.der, None))
    except (TypeError, ValueError, InternalError):
        raise _fault_of(content.der) from None
    except UnsupportedAlgorithm:
        raise _unsupported() from None
    if content.public_key is not None:
        _check_public_key(key, content.public_key)
    return key


def _read_encrypted(data: bytes, password: bytes | None) -> PrivateKey:
    try:
        return _key_of(load_der_private_key(data, password or None))
    except (TypeError, ValueError, UnsupportedAlgorithm, InternalError):
        raise _not_decrypted(password) from None


def _key_of(loaded: object) -> PrivateKey:
    if isinstance(loaded, Ed25519PrivateKey):
        return PrivateKey(EDDSA_ED25519, loaded.private_bytes_raw())
    if isinstance(loaded, ec.EllipticCurvePrivateKey) and loaded.curve.name in ALGORITHM:
        scalar = loaded.private_numbers().private_value
        return PrivateKey(ALGORITHM[loaded.curve.name], scalar.to_bytes(SECRET_SIZE))
    raise _unsupported()


def _check_public_key(key: PrivateKey, embedded: bytes) -> None:
    """Raise BadPrivateKey unless the public key of PKCS#8 version 2 is that of the key."""
    if key.algorithm in OPENSSL_CURVE:
        try:
            point = ec.EllipticCurvePublicKey.from_encoded_point(
                OPENSSL_CURVE[key.algorithm], embedded
            )
        except ValueError:
            raise _mismatch() from None
        embedded = point.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    if embedded != key.public_key:
        raise _mismatch()


def _fault_of(content: bytes) -> BadPrivateKey:
    """Return why the library refuses a key that is not encrypted."""
    try:
        octets = der.octets_of_ec_key(content)
        for algorithm in OPENSSL_CURVE:
            PrivateKey(algorithm, octets)
    except ValueError:
        return _bad("the data is not a private key in PKCS#8 or SEC 1")
    except BadPrivateKey as fault:
        return fault
    return _mismatch()


def _mismatch() -> BadPrivateKey:
    return BadPrivateKey(
        KeyFault.PUBLIC_KEY_MISMATCH,
        "the public key inside the file is not that of its private key",
    )


def _not_decrypted(password: bytes | None) -> BadPrivateKey:
    if not password:
        return BadPrivateKey(KeyFault.PASSWORD_NEEDED, "the private key is encrypted")
    return BadPrivateKey(
        KeyFault.WRONG_PASSWORD,
        "the file does not decrypt to a valid private key: the password is wrong, or the file is "
        "damaged",
    )


def _unsupported() -> BadPrivateKey:
    return BadPrivateKey(
        KeyFault.UNSUPPORTED,
        "the private key is not of secp256k1, P-256 or Ed25519, or its curve has no name",
    )


def _too_large() -> BadPrivateKey:
    return _bad(f"a private key of secp256k1, P-256 or Ed25519 has at most {MAX_DER} bytes")


def _bad(reason: str) -> BadPrivateKey:
    return BadPrivateKey(KeyFault.BAD_FORMAT, reason)
