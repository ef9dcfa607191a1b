"""What this token can do, found out by doing it with session objects. Workers only."""

import hashlib
from collections.abc import Collection

from pkcs11 import Mechanism, Session
from pkcs11.exceptions import PKCS11Error
from pkcs11.types import VerifyMixin

from hsm_driver.hsm import host_key, token_scheme
from hsm_driver.hsm.login import name_of
from hsm_driver.hsm.master_key import MasterKey, WrappingKey, newest, passing_wrapping_key
from hsm_driver.hsm.messages import Capability, Probed
from hsm_driver.hsm.session_errors import SESSION_LOST
from wire.algorithms import Algorithm, Protection, Scheme
from wire.requests import SignHash, SignMessage
from wire.signatures import BadSignature, finish

PROBE_TEXT = "custody capability probe"
PROBE_DIGEST = hashlib.sha256(PROBE_TEXT.encode()).digest()


class Unable(Exception):
    """The token does not do one of the steps, and says why."""


def probe(
    session: Session, masters: list[MasterKey], host_algorithms: Collection[Algorithm]
) -> Probed:
    """Try every algorithm inside, and those that fail there on the host where that is allowed.

    Raises PKCS11Error only when the session itself is gone.
    """
    capabilities = []
    why_not = {}
    master = newest(masters, is_host=False)
    wrapping = passing_wrapping_key(session) if master is None else master.key
    try:
        for algorithm in token_scheme.SCHEMES:
            try:
                mechanism = _probe_inside(session, wrapping, algorithm)
                capabilities.append(_capability(algorithm, Protection.HSM, mechanism.name))
                continue
            except Unable as reason:
                why_not[str(algorithm)] = str(reason)
            if algorithm not in host_algorithms:
                continue
            try:
                _probe_host_key(masters)
                capabilities.append(_capability(algorithm, Protection.HOST, host_key.MECHANISM))
            except Unable as reason:
                why_not[str(algorithm)] += f"; {reason}"
    finally:
        if master is None:
            wrapping.destroy()
    return Probed(capabilities=capabilities, why_not=why_not)


def _capability(algorithm: Algorithm, protection: Protection, mechanism: str) -> Capability:
    return Capability(algorithm=algorithm, protection=protection, mechanism=mechanism)


def _probe_inside(session: Session, wrapping: WrappingKey, algorithm: Algorithm) -> Mechanism:
    """The first wrap mechanism with which a key survives the whole way. Raises Unable."""
    refusals = []
    try:
        with token_scheme.generated(session, algorithm) as (public, private, public_key):
            for mechanism in token_scheme.WRAP_MECHANISMS:
                try:
                    wrapped = wrapping.wrap_key(private, mechanism=mechanism)
                    raw = _sign_unwrapped(wrapping, algorithm, wrapped, mechanism)
                    _verify(public, public_key, algorithm, raw)
                except SESSION_LOST:
                    raise
                except (PKCS11Error, BadSignature) as error:
                    refusals.append(f"{mechanism.name}: {_why(error)}")
                else:
                    return mechanism
    except SESSION_LOST:
        raise
    except (PKCS11Error, ValueError) as error:
        raise Unable(f"generate: {_why(error)}") from None
    raise Unable("; ".join(refusals))


def _why(error: Exception) -> str:
    return name_of(error) if isinstance(error, PKCS11Error) else str(error)


def _sign_unwrapped(
    wrapping: WrappingKey, algorithm: Algorithm, wrapped: bytes, mechanism: Mechanism
) -> bytes:
    key = token_scheme.unwrap(wrapping, algorithm, wrapped, mechanism)
    try:
        return token_scheme.sign(key, algorithm, _data(algorithm))
    finally:
        key.destroy()


def _data(algorithm: Algorithm) -> bytes:
    return PROBE_DIGEST if algorithm.scheme is Scheme.ECDSA else PROBE_TEXT.encode()


def _verify(public: VerifyMixin, public_key: bytes, algorithm: Algorithm, raw: bytes) -> None:
    """By the token, and by the same check that every signature passes before it leaves."""
    data = _data(algorithm)
    public.verify(data, raw, mechanism=token_scheme.SCHEMES[algorithm].mechanism)
    if algorithm.scheme is Scheme.ECDSA:
        finish(raw, public_key, algorithm, None, SignHash(kind="Hash", hash=data), data)
    else:
        message = SignMessage(kind="Message", message=PROBE_TEXT)
        finish(raw, public_key, algorithm, None, message, None)


def _probe_host_key(masters: list[MasterKey]) -> None:
    """That the second AES key encrypts and decrypts with associated data. Raises Unable."""
    master = newest(masters, is_host=True)
    if master is None:
        raise Unable("host signing: there is no master key yet")
    try:
        sealed = host_key.seal(master, PROBE_DIGEST, b"probe")
        if host_key.unseal(master, sealed, b"probe") != PROBE_DIGEST:
            raise Unable("host signing: the token decrypts to something else than was encrypted")
    except SESSION_LOST:
        raise
    except PKCS11Error as error:
        raise Unable(f"host signing: {_why(error)}") from None
