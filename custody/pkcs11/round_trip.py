"""A key of one algorithm on its whole way: generated, wrapped, unwrapped, used. Workers only."""

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from custody.pkcs11 import token_scheme, unwrap_template
from custody.pkcs11.login import name_of
from custody.pkcs11.master_key import WrappingKey, passing_wrapping_key
from custody.pkcs11.session_errors import SESSION_LOST
from custody.wire.algorithms import Algorithm, Scheme
from custody.wire.requests import SignHash, SignMessage
from custody.wire.signatures import BadSignature, finish
from pkcs11 import Attribute, Mechanism, Session
from pkcs11.exceptions import PKCS11Error
from pkcs11.types import VerifyMixin

PROBE_TEXT = "custody capability probe"
PROBE_DIGEST = hashlib.sha256(PROBE_TEXT.encode()).digest()


class Unable(Exception):
    """The token does not do one of the steps; the text says what it answered."""


@dataclass(frozen=True)
class Way:
    """The way in which a token wraps keys of one algorithm.

    ``without``: the attributes that it refuses when it unwraps them.
    """

    algorithm: Algorithm
    mechanism: Mechanism
    without: frozenset[Attribute] = frozenset()


@dataclass(frozen=True)
class _Pair:
    """A generated key pair, to try things on."""

    algorithm: Algorithm
    public: Any
    private: Any
    public_key: bytes


def find_way(session: Session, wrapping: WrappingKey, algorithm: Algorithm) -> Way:
    """Return the first wrap mechanism with which a key survives the round trip.

    Raises Unable, and PKCS11Error only when the session is lost.
    """
    refusals = []
    try:
        with token_scheme.generated(session, algorithm) as (public, private, public_key):
            pair = _Pair(algorithm, public, private, public_key)
            for mechanism in token_scheme.WRAP_MECHANISMS:
                refusal = _refusal(wrapping, pair, Way(algorithm, mechanism))
                if refusal is None:
                    return Way(algorithm, mechanism)
                way = _way_without(session, pair, mechanism)
                if way is not None and _refusal(wrapping, pair, way) is None:
                    return way
                refusals.append(f"{mechanism.name}: {refusal}")
    except SESSION_LOST:
        raise
    except (PKCS11Error, ValueError) as error:
        raise Unable(f"generate: {why(error)}") from None
    raise Unable("; ".join(refusals))


def travel(session: Session, wrapping: WrappingKey, way: Way) -> None:
    """Have a new key go the way. Raises Unable, and PKCS11Error when the session is lost."""
    with token_scheme.generated(session, way.algorithm) as (public, private, public_key):
        refusal = _refusal(wrapping, _Pair(way.algorithm, public, private, public_key), way)
    if refusal is not None:
        raise Unable(f"{way.algorithm}: {refusal}")


def why(error: Exception) -> str:
    return name_of(error) if isinstance(error, PKCS11Error) else str(error)


def _way_without(session: Session, pair: _Pair, mechanism: Mechanism) -> Way | None:
    """Return the way in which the token accepts most attributes; None if no way works.

    Tried with a wrapping key that insists on nothing.
    """
    indifferent = passing_wrapping_key(session)
    try:
        refused = frozenset(unwrap_template.OPTIONAL)
        if _refusal(indifferent, pair, Way(pair.algorithm, mechanism, refused)) is not None:
            return None
        for attribute in unwrap_template.OPTIONAL:
            fewer = Way(pair.algorithm, mechanism, refused - {attribute})
            if _refusal(indifferent, pair, fewer) is None:
                refused = fewer.without
    finally:
        indifferent.destroy()
    return Way(pair.algorithm, mechanism, refused)


def _refusal(wrapping: WrappingKey, pair: _Pair, way: Way) -> str | None:
    """Return the token's error of wrapping, unwrapping or signing; None if all works."""
    try:
        wrapped = wrapping.wrap_key(pair.private, mechanism=way.mechanism)
        raw = _sign_unwrapped(wrapping, wrapped, way)
        _verify(pair, raw)
    except SESSION_LOST:
        raise
    except (PKCS11Error, BadSignature) as error:
        return why(error)
    return None


def _sign_unwrapped(wrapping: WrappingKey, wrapped: bytes, way: Way) -> bytes:
    key = token_scheme.unwrap(wrapping, way.algorithm, wrapped, way.mechanism, way.without)
    try:
        return token_scheme.sign_in_token(key, way.algorithm, _data(way.algorithm))
    finally:
        with suppress(PKCS11Error):
            key.destroy()


def _data(algorithm: Algorithm) -> bytes:
    return PROBE_DIGEST if algorithm.scheme is Scheme.ECDSA else PROBE_TEXT.encode()


def _verify(pair: _Pair, raw: bytes) -> None:
    """By the token, and by the same check that every signature passes before it leaves."""
    algorithm, data = pair.algorithm, _data(pair.algorithm)
    public: VerifyMixin = pair.public
    public.verify(data, raw, mechanism=token_scheme.SCHEMES[algorithm].mechanism)
    if algorithm.scheme is Scheme.ECDSA:
        finish(raw, pair.public_key, algorithm, None, SignHash(kind="Hash", hash=data), data)
    else:
        message = SignMessage(kind="Message", message=PROBE_TEXT)
        finish(raw, pair.public_key, algorithm, None, message, None)
