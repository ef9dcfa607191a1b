"""Which master keys let their keys out to the next master key, really tried. Workers only.

With session keys alone: a stored key is neither needed nor touched.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from custody.pkcs11 import token_scheme, wrap_mechanisms
from custody.pkcs11.faults import destroy
from custody.pkcs11.login import CannotStart
from custody.pkcs11.master_key import WrappingKey, find_master_keys, passing_wrapping_key
from custody.pkcs11.master_key_making import strongest_key
from custody.pkcs11.messages import REWRAP_STEP, Hello, Outcome, TriedStep
from custody.pkcs11.round_trip import Unable, Way, find_way
from custody.pkcs11.session_errors import name_of, raise_if_lost
from pkcs11 import Session
from pkcs11.exceptions import PKCS11Error

OPTION = "a key of generate --rewrappable"


def steps(session: Session, hello: Hello) -> Iterator[TriedStep]:
    """Try each master key that wraps, and a new one. Raise PKCS11Error if the session is lost."""
    for master in find_master_keys(session, hello.master_key_label).masters:
        if not master.is_host:
            yield _tried(session, master.name, master.key)
    try:
        rewrappable = strongest_key(session, is_host=False, rewrappable=True)
    except CannotStart as error:
        name = REWRAP_STEP + OPTION
        yield TriedStep(name=name, outcome=Outcome.SAID, detail=f"not tried: {error.what}")
        return
    try:
        yield _tried(session, OPTION, rewrappable)
    finally:
        destroy(rewrappable)


def _tried(session: Session, of: str, old: WrappingKey) -> TriedStep:
    name = REWRAP_STEP + of
    new = passing_wrapping_key(session)
    try:
        for algorithm in token_scheme.SCHEMES:
            with suppress(Unable):
                way = find_way(session, old, algorithm, wrap_mechanisms.of_any_key())
                detail = f"{algorithm} by {way.mechanism.name}"
                refusal = _refusal(session, old, new, way)
                if refusal is None:
                    return TriedStep(name=name, outcome=Outcome.WORKS, detail=detail)
                detail = f"locked: the token answered {refusal} to {detail}"
                return TriedStep(name=name, outcome=Outcome.REFUSED, detail=detail)
    finally:
        destroy(new)
    return TriedStep(name=name, outcome=Outcome.SAID, detail="not tried: it wraps no key")


def _refusal(session: Session, old: WrappingKey, new: WrappingKey, way: Way) -> str | None:
    """Wrap a new key by ``old``, and then by ``new``. Return the token's answer if it refuses."""
    with token_scheme.generated(session, way.algorithm) as (_, private, _):
        wrapped = old.wrap_key(private, mechanism=way.mechanism)
    try:
        key: Any = token_scheme.unwrap(
            old, way.algorithm, wrapped, way.mechanism, way.without, extractable=True
        )
    except PKCS11Error as error:
        raise_if_lost(error)
        return name_of(error)
    try:
        new.wrap_key(key, mechanism=way.mechanism)
    except PKCS11Error as error:
        raise_if_lost(error)
        return name_of(error)
    finally:
        destroy(key)
    return None
