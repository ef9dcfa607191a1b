"""What this token does where tokens differ, for `doctor` and `hsm-driver try-token`. Workers only.

One step for each setting of TokenTraits, with the value in use and the token's answer.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from custody.pkcs11 import host_key, token_scheme, wrap_mechanisms
from custody.pkcs11.faults import destroy
from custody.pkcs11.login import slot_of
from custody.pkcs11.master_key import KEY_BITS, MasterKey, WrappingKey, passing_wrapping_key
from custody.pkcs11.messages import Outcome, TriedStep
from custody.pkcs11.return_codes import NUMBER_OF
from custody.pkcs11.round_trip import Unable, Way, find_way
from custody.pkcs11.session_errors import name_of, number_of, raise_if_lost
from custody.pkcs11.token_traits import LOST_WITHOUT, STANDARD_MECHANISMS, in_use
from pkcs11 import Attribute, KeyType, MechanismFlag, Session, TokenFlag
from pkcs11.exceptions import PKCS11Error

NOT_TRUSTED = NUMBER_OF["CKR_WRAPPING_KEY_HANDLE_INVALID"]
"""Kryoptic's answer to a wrapping key without CKA_TRUSTED. Elsewhere it means a lost session."""


def steps(session: Session) -> Iterator[TriedStep]:
    """Try each trait. Raise PKCS11Error if the session is lost."""
    serial = bytes(session.token.serial).decode("ascii", "backslashreplace")
    yield TriedStep(name="serial", outcome=Outcome.SAID, detail=serial)
    yield TriedStep(name="slot", outcome=Outcome.SAID, detail=str(slot_of(session)))
    yield _wrap_mechanisms(session)
    yield _sessions(session)
    yield _login(session)
    yield _master_key_without()
    yield _gcm_iv(session)
    yield _wrap_with_trusted(session)


def _wrap_mechanisms(session: Session) -> TriedStep:
    token = session.token
    names = in_use().wrap_mechanisms or tuple(STANDARD_MECHANISMS)
    refusals = {name: wrap_mechanisms.refusal_of(token, name) for name in names}
    said = [name if why is None else f"{name}: {why}" for name, why in refusals.items()]
    outcome = Outcome.WORKS if None in refusals.values() else Outcome.REFUSED
    return TriedStep(name="wrap_mechanisms", outcome=outcome, detail="; ".join(said))


def _sessions(session: Session) -> TriedStep:
    refusal = _refusal_of_read_only(session)
    if in_use().sessions == "read-write":
        also = "opens read-only sessions too" if refusal is None else f"else {refusal}"
        return TriedStep(name="sessions", outcome=Outcome.WORKS, detail=f"read-write; {also}")
    if refusal is None:
        return TriedStep(name="sessions", outcome=Outcome.WORKS, detail="read-only")
    detail = f'read-only: {refusal}. Set sessions = "read-write"'
    return TriedStep(name="sessions", outcome=Outcome.REFUSED, detail=detail)


def _refusal_of_read_only(session: Session) -> str | None:
    try:
        session.token.open(rw=False).close()
    except PKCS11Error as error:
        raise_if_lost(error)
        return name_of(error)
    return None


def _login(session: Session) -> TriedStep:
    flags = session.token.flags
    needed = "asks for a login" if flags & TokenFlag.LOGIN_REQUIRED else "asks for no login"
    path = " at its own keypad" if flags & TokenFlag.PROTECTED_AUTHENTICATION_PATH else ""
    said = f"{in_use().login}; the token {needed}{path}"
    return TriedStep(name="login", outcome=Outcome.SAID, detail=said)


def _master_key_without() -> TriedStep:
    lost = [f"{name}: {LOST_WITHOUT[name]}" for name in in_use().master_key_without]
    said = "; ".join(lost) or "nothing: a new master key gets each attribute that the token takes"
    return TriedStep(name="master_key_without", outcome=Outcome.SAID, detail=said)


def _gcm_iv(session: Session) -> TriedStep:
    """Encrypt under an IV, by the setting. A token without AES-GCM only says so."""
    key: Any = None
    try:
        key = session.generate_key(
            KeyType.AES,
            KEY_BITS,
            store=False,
            capabilities=MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT,
            template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
        )
        works = host_key.travels(MasterKey("trial", 1, key, is_host=True))
    except PKCS11Error as error:
        raise_if_lost(error)
        detail = f"no host signing: AES-GCM answered {name_of(error)}"
        return TriedStep(name="gcm_iv", outcome=Outcome.SAID, detail=detail)
    except host_key.NonceReplaced as replaced:
        return TriedStep(name="gcm_iv", outcome=Outcome.REFUSED, detail=str(replaced))
    finally:
        if key is not None:
            destroy(key)
    if not works:
        detail = "the token decrypts to other bytes: it may choose the IV and not tell which"
        return TriedStep(name="gcm_iv", outcome=Outcome.REFUSED, detail=detail)
    chooses = "the token chooses the IV" if in_use().gcm_iv == "token" else "the token takes ours"
    return TriedStep(name="gcm_iv", outcome=Outcome.WORKS, detail=f"{in_use().gcm_iv}; {chooses}")


def _wrap_with_trusted(session: Session) -> TriedStep:
    """Say whether unwrapped keys get the attribute, and what it does to a key that is wrapped."""
    name = "wrap_with_trusted"
    if not in_use().wrap_with_trusted:
        return TriedStep(name=name, outcome=Outcome.SAID, detail="off")
    ways = []
    wrapping = passing_wrapping_key(session)
    try:
        for algorithm in token_scheme.SCHEMES:
            with suppress(Unable):
                ways.append(find_way(session, wrapping, algorithm))
        refusals = [each for each in ways if Attribute.WRAP_WITH_TRUSTED in each.without]
        if refusals:
            names = ", ".join(str(each.algorithm) for each in refusals)
            detail = f"the token refuses it for {names}. Take the setting out"
            return TriedStep(name=name, outcome=Outcome.REFUSED, detail=detail)
        effects = [_effect_of_wrap_with_trusted(session, wrapping, way) for way in ways[:1]]
    finally:
        destroy(wrapping)
    detail = "; ".join(["unwrapped keys have it", *effects])
    return TriedStep(name=name, outcome=Outcome.WORKS, detail=detail)


def _effect_of_wrap_with_trusted(session: Session, wrapping: WrappingKey, way: Way) -> str:
    """Try to wrap a new key that has the attribute by a key that is not trusted."""
    try:
        with token_scheme.generated(session, way.algorithm, only_trusted=True) as (_, private, _):
            wrapping.wrap_key(private, mechanism=way.mechanism)
    except PKCS11Error as error:
        if number_of(error) != NOT_TRUSTED:
            raise_if_lost(error)
        return f"new keys cannot have it, because the token then answers {name_of(error)}"
    return "the token does not enforce it: a key that is not trusted wraps a key that has it"
