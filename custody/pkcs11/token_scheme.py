"""Key pairs inside the token: generated, wrapped, unwrapped, used, destroyed. Workers only."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from coincurve import PublicKey as Secp256k1PublicKey
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from custody.pkcs11.faults import destroy
from custody.pkcs11.master_key import WrappingKey
from custody.pkcs11.session_errors import SessionLost, is_refusal
from custody.pkcs11.unwrap_template import call_template, extractable_template
from custody.wire.algorithms import ECDSA_SECP256K1, ECDSA_SECP256R1, EDDSA_ED25519, Algorithm
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass, Session
from pkcs11.exceptions import PKCS11Error
from pkcs11.types import PrivateKey, PublicKey, SignMixin
from pkcs11.util.ec import encode_named_curve_parameters

UNCOMPRESSED_SIZE = 65
ED25519_SIZE = 32
DER_OCTET_STRING = 0x04
DER_BIT_STRING = 0x03


@dataclass(frozen=True)
class TokenScheme:
    """An algorithm in PKCS#11's terms. ``curve_parameters``: CKA_EC_PARAMS, in order of trial."""

    key_type: KeyType
    curve_parameters: tuple[bytes, ...]
    mechanism: Mechanism


SCHEMES = {
    ECDSA_SECP256K1: TokenScheme(
        KeyType.EC, (encode_named_curve_parameters("secp256k1"),), Mechanism.ECDSA
    ),
    ECDSA_SECP256R1: TokenScheme(
        KeyType.EC, (encode_named_curve_parameters("secp256r1"),), Mechanism.ECDSA
    ),
    EDDSA_ED25519: TokenScheme(
        KeyType.EC_EDWARDS,
        (
            b"\x06\x03\x2b\x65\x70",  # the OID 1.3.101.112 (RFC 8410)
            b"\x13\x0cedwards25519",  # PrintableString (PKCS#11 3.1, section 6.3.10)
        ),
        Mechanism.EDDSA,
    ),
}


@contextmanager
def generated(
    session: Session, algorithm: Algorithm, *, only_trusted: bool = False
) -> Iterator[tuple[Any, Any, bytes]]:
    """Generate a key pair; yield both objects and the encoded public key, and destroy them.

    ``only_trusted``: the private key has CKA_WRAP_WITH_TRUSTED. No key of ours can wrap it then:
    only the security officer can set CKA_TRUSTED, and does not see private keys.
    """
    more = {Attribute.WRAP_WITH_TRUSTED: True} if only_trusted else {}
    public, private = _generate(session, SCHEMES[algorithm], more)
    try:
        yield public, private, encode_public_key(algorithm, public[Attribute.EC_POINT])
    finally:
        destroy(private, public)


def _generate(session: Session, scheme: TokenScheme, more: dict[Attribute, Any]) -> tuple[Any, Any]:
    *others, last = scheme.curve_parameters
    for parameters in others:
        try:
            return _generate_with(session, scheme, parameters, more)
        except PKCS11Error as error:
            if not is_refusal(error):
                raise
    return _generate_with(session, scheme, last, more)


def _generate_with(
    session: Session, scheme: TokenScheme, parameters: bytes, more: dict[Attribute, Any]
) -> tuple[Any, Any]:
    domain = session.create_domain_parameters(
        scheme.key_type, {Attribute.EC_PARAMS: parameters}, local=True
    )
    public, private = domain.generate_keypair(
        store=False,
        capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
        private_template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: True, **more},
    )
    if not (isinstance(private, PrivateKey) and isinstance(public, PublicKey)):
        raise SessionLost("the token does not say what it has generated")
    return public, private


def unwrap(
    master: WrappingKey,
    algorithm: Algorithm,
    wrapped: bytes,
    mechanism: Mechanism,
    without: Collection[Attribute] = (),
    *,
    extractable: bool = False,
) -> Any:
    """Return the private key as a session object that can only sign; the caller destroys it.

    ``without``: the attributes that this token refuses when it unwraps. ``extractable``: another
    key can then wrap the object, which stays sensitive; a locked master key refuses this. Raise
    PKCS11Error, or SessionLost if the token made an object and does not answer what it is.
    """
    key = master.unwrap_key(
        ObjectClass.PRIVATE_KEY,
        SCHEMES[algorithm].key_type,
        wrapped,
        mechanism=mechanism,
        capabilities=MechanismFlag.SIGN,
        template=extractable_template(without) if extractable else call_template(without),
    )
    if not isinstance(key, SignMixin):
        destroy(key)
        raise SessionLost("the token does not say what it has unwrapped")
    return key


def sign_in_token(key: Any, algorithm: Algorithm, data: bytes) -> bytes:
    """Return r and s (PKCS#11 3.1, section 6.3.1), or the 64 bytes of RFC 8032."""
    signature: bytes = key.sign(data, mechanism=SCHEMES[algorithm].mechanism)
    return signature


def encode_public_key(algorithm: Algorithm, point: bytes) -> bytes:
    """Compressed SEC1 or 32 raw bytes from CKA_EC_POINT. ValueError: not a point of the curve.

    PKCS#11 asks for a DER OCTET STRING around it; some tokens leave that out or use BIT STRING.
    """
    size = ED25519_SIZE if algorithm == EDDSA_ED25519 else UNCOMPRESSED_SIZE
    wrappings = (
        b"",
        bytes([DER_OCTET_STRING, size]),
        bytes([DER_BIT_STRING, size + 1, 0]),
    )
    for wrapping in wrappings:
        if len(point) == len(wrapping) + size and point.startswith(wrapping):
            return _compress(algorithm, point[len(wrapping) :])
    raise ValueError(f"CKA_EC_POINT of {algorithm} has an unknown form, {len(point)} bytes long")


def _compress(algorithm: Algorithm, point: bytes) -> bytes:
    if algorithm == EDDSA_ED25519:
        return point
    if algorithm == ECDSA_SECP256K1:
        return Secp256k1PublicKey(point).format()
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    return key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
