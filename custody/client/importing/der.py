"""What the DER of a private key says about itself: its shape, and the work it asks for."""

from typing import Any, NamedTuple

from Crypto.Util.asn1 import (
    DerBitString,
    DerObjectId,
    DerOctetString,
    DerSequence,
)

from custody.client.importing.costs import check_iterations, check_scrypt
from custody.client.importing.faults import BadPrivateKey, KeyFault

PBES2, PBKDF2 = "1.2.840.113549.1.5.13", "1.2.840.113549.1.5.12"  # RFC 8018, appendix C
SCRYPT = "1.3.6.1.4.1.11591.4.11"  # RFC 7914, section 7
PBES1 = ("1.2.840.113549.1.5.", "1.2.840.113549.1.12.1.")
"""Prefixes of the older schemes, which have a salt and a count (RFC 8018, A.3; RFC 7292, C)."""
SEQUENCE_TAG = 0x30
PUBLIC_KEY_TAG = 0x81
"""``[1] IMPLICIT`` in OneAsymmetricKey (RFC 5958, section 2)."""


class Parts(NamedTuple):
    """``der``: PKCS#8 version 1 or SEC 1. ``public_key``: that of PKCS#8 version 2, or None."""

    der: bytes
    public_key: bytes | None


def sequence(der: object) -> list[int | bytes]:
    """Return the elements of a SEQUENCE: numbers, and the DER of others. Raise ValueError."""
    if not isinstance(der, bytes):
        raise ValueError("not DER")  # every fault of a file is a ValueError
    found = _decoded(DerSequence(), der)
    if len(found) < 2:
        raise ValueError("fewer elements than any part of a private key has")
    return [found[index] for index in range(len(found))]


def is_encrypted(der: bytes) -> bool:
    """Return whether this is an EncryptedPrivateKeyInfo (RFC 5958). Raise ValueError."""
    return not isinstance(sequence(der)[0], int)


def check_cost(der: bytes) -> None:
    """Raise BadPrivateKey if the decryption of an EncryptedPrivateKeyInfo would be costly.

    Raises ValueError for DER that is not one.
    """
    scheme, parameters = _algorithm(sequence(der)[0])
    if scheme == PBES2:
        derivation, parameters = _algorithm(sequence(parameters)[0])
        if derivation == SCRYPT:
            n, r, p = _numbers(sequence(parameters)[1:4])
            return check_scrypt(n, r, p)
        if derivation != PBKDF2:
            raise _unknown()
    elif not scheme.startswith(PBES1):
        raise _unknown()
    (iterations,) = _numbers(sequence(parameters)[1:2])
    return check_iterations(iterations)


def parts(der: bytes) -> Parts:
    """Take the attributes and the public key out of PKCS#8 version 2, which others do not read.

    Raises ValueError.
    """
    elements = sequence(der)
    if elements[0] != 1 or len(elements) < 3 or not _is_sequence(elements[1]):
        return Parts(der, None)
    without = DerSequence([0, *elements[1:3]]).encode()  # type: ignore[list-item]  # takes bytes
    for element in elements[3:]:
        if isinstance(element, bytes) and element[0] == PUBLIC_KEY_TAG:
            found = _decoded(DerBitString(implicit=1), element).value
            return Parts(without, bytes(found))
    return Parts(without, None)


def octets_of_ec_key(der: bytes) -> bytes:
    """Return the octets of the number in PKCS#8 or SEC 1, of any size. Raise ValueError."""
    elements = sequence(der)
    if _is_sequence(elements[1]):
        if len(elements) < 3:
            raise ValueError("PKCS#8 without a private key")
        elements = sequence(_octets(elements[2]))
    return _octets(elements[1])


def _decoded(kind: Any, der: bytes) -> Any:
    """Decode DER as this kind. Raise ValueError: the library has IndexError for empty parts."""
    try:
        return kind.decode(der, strict=True)
    except IndexError:
        raise ValueError("an empty part of DER") from None


def _octets(element: object) -> bytes:
    if not isinstance(element, bytes):
        raise ValueError("not an OCTET STRING")  # as in sequence
    return bytes(_decoded(DerOctetString(), element).payload)


def _algorithm(der: object) -> tuple[str, object]:
    """Return object identifier and parameters of an AlgorithmIdentifier. Raise ValueError."""
    identifier, parameters = sequence(der)
    if not isinstance(identifier, bytes):
        raise ValueError("not an OBJECT IDENTIFIER")  # as in sequence
    return str(_decoded(DerObjectId(), identifier).value), parameters


def _numbers(elements: list[int | bytes]) -> list[int]:
    return [each for each in elements if isinstance(each, int)]


def _is_sequence(element: object) -> bool:
    return isinstance(element, bytes) and element[0] == SEQUENCE_TAG


def _unknown() -> BadPrivateKey:
    return BadPrivateKey(
        KeyFault.UNSUPPORTED, "the file is encrypted in a way that is not supported"
    )
