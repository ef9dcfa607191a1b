"""A key of one algorithm on its whole way: generated, wrapped, unwrapped, used. Workers only."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from custody.pkcs11 import token_scheme, unwrap_template, wrap_mechanisms
from custody.pkcs11.endings import Step
from custody.pkcs11.faults import FAULTS, destroy
from custody.pkcs11.master_key import WrappingKey, passing_wrapping_key
from custody.pkcs11.session_errors import is_loss, name_of, number_of, raise_unless_refusal
from custody.wire.algorithms import Algorithm, Scheme
from custody.wire.requests import SignHash, SignMessage
from custody.wire.signatures import BadSignature, finish
from pkcs11 import Attribute, Mechanism, Session
from pkcs11.exceptions import PKCS11Error
from pkcs11.types import VerifyMixin

PROBE_TEXT = "custody capability probe"
PROBE_DIGEST = hashlib.sha256(PROBE_TEXT.encode()).digest()

TRIES = 3
"""How often an algorithm is tried while the answers say nothing certain."""


class Unable(Exception):
    """The token does not do one of the steps; the text says what it answered."""


class Uncertain(Unable):
    """The token gave the same answer in every try. It does not say that the token cannot."""


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


def find_way(
    session: Session,
    wrapping: WrappingKey,
    algorithm: Algorithm,
    mechanisms: Sequence[Mechanism] | None = None,
) -> Way:
    """Return the first wrap mechanism with which a key survives the round trip.

    ``mechanisms``: those that are tried, in order; None for those of new keys. After an answer that
    says nothing certain, everything is tried again. Raises Unable, which names every refusal;
    PKCS11Error if such answers differ or the session is lost; SessionLost.
    """
    mechanisms = wrap_mechanisms.of_new_keys() if mechanisms is None else mechanisms
    errors: list[PKCS11Error] = []
    for _ in range(TRIES):
        try:
            return _find_way(session, wrapping, algorithm, mechanisms)
        except PKCS11Error as error:
            FAULTS.note(Step.GENERATE, error)
            errors.append(error)
            if is_loss(error):
                raise
    if len({number_of(error) for error in errors}) > 1:
        raise errors[-1]
    raise Uncertain(
        f"the token answered {name_of(errors[-1])} {TRIES} times, which does not say that it "
        "cannot do this"
    )


def _find_way(
    session: Session,
    wrapping: WrappingKey,
    algorithm: Algorithm,
    mechanisms: Sequence[Mechanism],
) -> Way:
    """Try the mechanisms once. Raises Unable, PKCS11Error, SessionLost."""
    refusals = []
    try:
        with token_scheme.generated(session, algorithm) as (public, private, public_key):
            pair = _Pair(algorithm, public, private, public_key)
            for mechanism in mechanisms:
                refusal = _refusal(wrapping, pair, Way(algorithm, mechanism))
                if refusal is None:
                    return Way(algorithm, mechanism)
                way = _way_without(session, pair, mechanism)
                if way is not None and _refusal(wrapping, pair, way) is None:
                    return way
                refusals.append(f"{mechanism.name}: {refusal}")
    except PKCS11Error as error:
        raise_unless_refusal(error)
        raise Unable(f"generate: {name_of(error)}") from None
    except ValueError as error:
        raise Unable(f"generate: {error}") from None
    raise Unable("; ".join(refusals))


def travel(session: Session, wrapping: WrappingKey, way: Way) -> None:
    """Have a new key go the way. Raises as ``find_way`` does."""
    try:
        with token_scheme.generated(session, way.algorithm) as (public, private, public_key):
            refusal = _refusal(wrapping, _Pair(way.algorithm, public, private, public_key), way)
    except PKCS11Error as error:
        raise_unless_refusal(error)
        refusal = name_of(error)
    if refusal is not None:
        raise Unable(f"{way.algorithm}: {refusal}")


def refused_part(session: Session, way: Way) -> str:
    """Return which part of the way the token refuses, for people. Raises as ``find_way`` does.

    PKCS#11 does not say which attribute of a template a token refuses, so each is left out once.
    """
    indifferent = passing_wrapping_key(session)
    try:
        if _goes(session, indifferent, way):
            return "an attribute that the master key insists on (CKA_UNWRAP_TEMPLATE)"
        for attribute in unwrap_template.optional():
            fewer = Way(way.algorithm, way.mechanism, way.without | {attribute})
            if _goes(session, indifferent, fewer):
                return f"the attribute CKA_{attribute.name}"
    finally:
        destroy(indifferent)
    names = ", ".join(f"CKA_{attribute.name}" for attribute in unwrap_template.ATTRIBUTES)
    return f"the mechanism CKM_{way.mechanism.name}, or several of the attributes {names}"


def _goes(session: Session, wrapping: WrappingKey, way: Way) -> bool:
    try:
        travel(session, wrapping, way)
    except Unable:
        return False
    return True


def _way_without(session: Session, pair: _Pair, mechanism: Mechanism) -> Way | None:
    """Return the way in which the token accepts most attributes; None if no way works.

    Tried with a wrapping key that insists on nothing.
    """
    indifferent = passing_wrapping_key(session)
    try:
        refused = frozenset(unwrap_template.optional())
        if _refusal(indifferent, pair, Way(pair.algorithm, mechanism, refused)) is not None:
            return None
        for attribute in unwrap_template.optional():
            fewer = Way(pair.algorithm, mechanism, refused - {attribute})
            if _refusal(indifferent, pair, fewer) is None:
                refused = fewer.without
    finally:
        destroy(indifferent)
    return Way(pair.algorithm, mechanism, refused)


def _refusal(wrapping: WrappingKey, pair: _Pair, way: Way) -> str | None:
    """Return the token's refusal to wrap, unwrap or sign; None if all works.

    Raise PKCS11Error or SessionLost after any other answer.
    """
    try:
        wrapped = wrapping.wrap_key(pair.private, mechanism=way.mechanism)
        raw = _sign_unwrapped(wrapping, wrapped, way)
        _verify(pair, raw)
    except PKCS11Error as error:
        raise_unless_refusal(error)
        return name_of(error)
    except BadSignature as error:
        return str(error)
    return None


def _sign_unwrapped(wrapping: WrappingKey, wrapped: bytes, way: Way) -> bytes:
    key = token_scheme.unwrap(wrapping, way.algorithm, wrapped, way.mechanism, way.without)
    try:
        return token_scheme.sign_in_token(key, way.algorithm, _data(way.algorithm))
    finally:
        destroy(key)


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
