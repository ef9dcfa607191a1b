"""The opening of what applications have encrypted to an import key. Workers only.

Inside the token: the import key unwraps an AES key, and that key unwraps the private key, as a
session object that is sensitive and extractable, so that the master key can wrap it. On the host
(host signing): the import key decrypts the AES key in the token, and the host does the rest.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import pkcs11
from custody.pkcs11 import token_scheme, wrap_mechanisms
from custody.pkcs11.endings import Step
from custody.pkcs11.errors import BadImport, HsmFailure, SchemeUnsupported
from custody.pkcs11.faults import FAULTS, destroy
from custody.pkcs11.import_format import (
    AES_BYTES,
    NOT_ITS_KEY,
    WrappedImport,
    made_up_key,
    read_private_key,
    seal,
)
from custody.pkcs11.import_pair import ImportPair
from custody.pkcs11.return_codes import Kind
from custody.pkcs11.round_trip import PROBE_DIGEST
from custody.pkcs11.session_errors import SessionLost, is_refusal, kind_of_error, name_of
from custody.pkcs11.unwrap_template import NOT_OF_PRIVATE_KEYS
from custody.wire.algorithms import Algorithm, Protection, Scheme
from custody.wire.imports import Wrapping
from custody.wire.requests import SignHash, SignMessage
from custody.wire.signatures import BadSignature, finish
from pkcs11 import MGF, Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.exceptions import PKCS11Error

_OAEP = {
    Wrapping.RSA_OAEP_AES_KWP_SHA256: (Mechanism.SHA256, MGF.SHA256, None),
    Wrapping.RSA_OAEP_AES_KWP_SHA1: (Mechanism.SHA_1, MGF.SHA1, None),
}
"""The parameters of OAEP, in the order of trial. SoftHSM 2 has SHA-1 only."""
_KWP = ("AES_KEY_WRAP_KWP", "AES_KEY_WRAP_PAD")
"""The names under which tokens have AES-KWP (custody.pkcs11.token_traits)."""

Opened = TypeVar("Opened")


@dataclass(frozen=True)
class AnnouncedKey:
    """A private key that is wrapped for an import key, and announced by its public key."""

    pair: ImportPair
    wrapping: Wrapping
    wrapped: WrappedImport
    algorithm: Algorithm
    public_key: bytes


def find_wrapping(
    pair: ImportPair, algorithm: Algorithm, protection: Protection, wrap: Callable[[Any], object]
) -> Wrapping:
    """Return the first way in which the token opens a made-up key, and then wraps it.

    ``wrap`` wraps a private key by the master key that wraps the imported one. Raise HsmFailure.
    """
    errors: list[PKCS11Error] = []
    for wrapping in _OAEP:
        try:
            _open_made_up(pair, wrapping, algorithm, protection, wrap)
        except PKCS11Error as error:
            _raise_if_lost(Step.UNWRAP, error)
            errors.append(error)
        else:
            return wrapping
    answers = ", then ".join(map(name_of, errors))
    reason = f"the token opens no {algorithm} key that is encrypted to an import key ({answers})"
    raise SchemeUnsupported(reason) if all(map(is_refusal, errors)) else HsmFailure(reason)


def _open_made_up(
    pair: ImportPair,
    wrapping: Wrapping,
    algorithm: Algorithm,
    protection: Protection,
    wrap: Callable[[Any], object] = lambda _: None,
) -> None:
    """Do all that an import does, with a key that protects nothing.

    Raise PKCS11Error, HsmFailure or SessionLost.
    """
    pkcs8, public_key = made_up_key(algorithm)
    wrapped = seal(pair.public, wrapping, pkcs8)
    made_up = AnnouncedKey(pair, wrapping, wrapped, algorithm, public_key)
    if protection is Protection.HOST:
        _read(_decrypt(made_up), made_up)
        return
    key = _unwrap(made_up)
    try:
        _sign(key, algorithm, public_key)
        wrap(key)
    except (BadSignature, ValueError):
        raise HsmFailure("the token signs wrongly with a key that it has unwrapped") from None
    finally:
        destroy(key)


def open_inside(announced: AnnouncedKey) -> Any:
    """Return the private key as a session object that can be wrapped. The caller destroys it.

    Raise BadImport unless it signs for the announced public key; HsmFailure; SessionLost.
    """
    return _opened(
        Step.UNWRAP,
        lambda: _unwrap_and_sign(announced),
        lambda: _open_made_up(
            announced.pair, announced.wrapping, announced.algorithm, Protection.HSM
        ),
    )


def _unwrap_and_sign(announced: AnnouncedKey) -> Any:
    """Return the private key after its first signature. Raise as ``_require_signs``, _unwrap."""
    key = _unwrap(announced)
    try:
        _require_signs(key, announced.algorithm, announced.public_key)
    except BaseException:
        destroy(key)
        raise
    return key


def open_on_host(announced: AnnouncedKey) -> bytes:
    """Return the private key in clear, as ``host_signing`` has it. Raise as ``open_inside``."""
    transport_key = _opened(
        Step.DECRYPT,
        lambda: _decrypt(announced),
        lambda: _open_made_up(
            announced.pair, announced.wrapping, announced.algorithm, Protection.HOST
        ),
    )
    return _read(transport_key, announced)


def _read(transport_key: bytes, announced: AnnouncedKey) -> bytes:
    """Return the private key, decrypted on the host. Raise BadImport."""
    return read_private_key(
        transport_key, announced.wrapped.private_key, announced.algorithm, announced.public_key
    )


class _CannotSign(Exception):
    """The token answered the first signature of an unwrapped key with an error, which is noted."""


def _opened(step: Step, attempt: Callable[[], Opened], prove: Callable[[], None]) -> Opened:
    """Return what an attempt returns. After an error, open a made-up key to find what is at fault.

    If that opens, attempt once more before the wrapped key is refused for good: the error may have
    been the token's. The reason is the same for all that the token refuses. What opened, and is not
    the announced key, has another reason. A sender of changed ciphertexts learns one of both for
    each import key, since the import ends.
    """
    opened = _attempted(step, attempt)
    if opened is not None:
        return opened
    try:
        prove()
    except PKCS11Error as error:
        _raise_if_lost(step, error)
        raise HsmFailure(
            f"the token opens nothing with this import key: it answered {name_of(error)}"
        ) from None
    opened = _attempted(step, attempt)
    if opened is not None:
        return opened
    raise BadImport(
        "the token cannot open the wrapped key: it is damaged, encrypted to another import key, or "
        "not the PKCS#8 of a private key of this curve"
    )


def _attempted(step: Step, attempt: Callable[[], Opened]) -> Opened | None:
    """Return what an attempt returns; None after an error of the token. Raise SessionLost."""
    try:
        return attempt()
    except PKCS11Error as error:
        _raise_if_lost(step, error)
    except _CannotSign:
        pass
    return None


def _raise_if_lost(step: Step, error: PKCS11Error) -> None:
    """Note an error. Raise SessionLost if the session is lost.

    Tokens answer damaged data with any other error, also with one about the device.
    """
    FAULTS.note(step, error)
    if kind_of_error(error) is Kind.SESSION:
        raise SessionLost(f"cannot open a key with an import key: {name_of(error)}") from None


def _unwrap(announced: AnnouncedKey) -> Any:
    """Return the private key as a session object. Raise PKCS11Error or SessionLost."""
    pair, wrapped = announced.pair, announced.wrapped
    transport_key = pair.private.unwrap_key(
        ObjectClass.SECRET_KEY,
        KeyType.AES,
        wrapped.transport_key,
        mechanism=Mechanism.RSA_PKCS_OAEP,
        mechanism_param=_OAEP[announced.wrapping],
        capabilities=MechanismFlag.UNWRAP,
        template=_TRANSPORT_TEMPLATE,
    )
    try:
        _require_aes_256(transport_key)
        key = transport_key.unwrap_key(
            ObjectClass.PRIVATE_KEY,
            token_scheme.SCHEMES[announced.algorithm].key_type,
            wrapped.private_key,
            mechanism=_kwp(pair),
            capabilities=MechanismFlag.SIGN,
            template=_PRIVATE_KEY_TEMPLATE,
        )
    finally:
        destroy(transport_key)
    if not isinstance(key, pkcs11.types.SignMixin):
        destroy(key)
        raise SessionLost("the token does not say what it has unwrapped")
    return key


_TRANSPORT_TEMPLATE: dict[Attribute, Any] = {
    Attribute.TOKEN: False,
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    # python-pkcs11 would ask for these
    Attribute.ENCRYPT: pkcs11.DEFAULT,
    Attribute.DECRYPT: pkcs11.DEFAULT,
    Attribute.WRAP: pkcs11.DEFAULT,
    Attribute.SIGN: pkcs11.DEFAULT,
    Attribute.VERIFY: pkcs11.DEFAULT,
}


_PRIVATE_KEY_TEMPLATE: dict[Attribute, Any] = {
    # never CKA_WRAP_WITH_TRUSTED: the master key, which has no CKA_TRUSTED, wraps this object
    **NOT_OF_PRIVATE_KEYS,
    Attribute.TOKEN: False,
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: True,
}


def _require_aes_256(key: Any) -> None:
    """Raise BadImport for an AES key of another length. SoftHSM does not say the length: 0."""
    if key[Attribute.VALUE_LEN] not in (0, AES_BYTES):
        raise BadImport(f"the AES key has {key[Attribute.VALUE_LEN]} bytes, not {AES_BYTES}")


def _kwp(pair: ImportPair) -> Mechanism:
    """Return the mechanism of AES-KWP that the token has."""
    token = pair.private.session.token
    for name in _KWP:
        mechanism = wrap_mechanisms.of_stored_key(name)
        if mechanism is not None and wrap_mechanisms.refusal_of(token, name) is None:
            return mechanism
    raise SchemeUnsupported("the token has no AES-KWP, with which private keys are imported")


def _decrypt(announced: AnnouncedKey) -> bytes:
    transport_key: bytes = announced.pair.private.decrypt(
        announced.wrapped.transport_key,
        mechanism=Mechanism.RSA_PKCS_OAEP,
        mechanism_param=_OAEP[announced.wrapping],
    )
    return transport_key


def _require_signs(key: Any, algorithm: Algorithm, public_key: bytes) -> None:
    """Raise BadImport unless the key signs for the public key."""
    try:
        _sign(key, algorithm, public_key)
    except PKCS11Error as error:
        _raise_if_lost(Step.SIGN, error)
        raise _CannotSign from None
    except (BadSignature, ValueError):
        raise BadImport(NOT_ITS_KEY) from None


def _sign(key: Any, algorithm: Algorithm, public_key: bytes) -> None:
    """Sign and verify; the signature stays here. Raise PKCS11Error, BadSignature or ValueError."""
    is_ecdsa = algorithm.scheme is Scheme.ECDSA
    message = SignMessage(kind="Message", message="0x" + PROBE_DIGEST.hex())
    request = SignHash(kind="Hash", hash=PROBE_DIGEST) if is_ecdsa else message
    raw = token_scheme.sign_in_token(key, algorithm, PROBE_DIGEST)
    finish(raw, public_key, algorithm, None, request, PROBE_DIGEST if is_ecdsa else None)
