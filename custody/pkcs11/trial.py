"""Every operation that a driver needs, tried on a token, for `hsm-driver try-token`. Workers only.

Keys are session objects, but for one: it shows whether keys can be stored, and is removed again.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pkcs11
from custody.pkcs11 import (
    host_key,
    key_proof,
    master_key_making,
    rewrap_trial,
    token_scheme,
    traits_trial,
    twin_trial,
    wrap_mechanisms,
)
from custody.pkcs11.attacker import LABEL, remove_left_over
from custody.pkcs11.master_key import KEY_BITS, MasterKey, passing_wrapping_key
from custody.pkcs11.messages import Hello, Outcome, TrialPart, TriedStep
from custody.pkcs11.round_trip import Unable, Way, find_way, travel
from custody.pkcs11.session_errors import name_of, raise_if_lost
from custody.pkcs11.token_traits import FIRST_OF_VENDORS
from custody.wire.algorithms import EDDSA_ED25519
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass, Session, TokenFlag
from pkcs11.exceptions import PKCS11Error

NEEDED = (
    Mechanism.AES_KEY_GEN,
    Mechanism.AES_GCM,
    Mechanism.EC_KEY_PAIR_GEN,
    Mechanism.ECDSA,
    Mechanism.EC_EDWARDS_KEY_PAIR_GEN,
    Mechanism.EDDSA,
)
"""Mechanisms beside those that wrap keys."""
MESSAGE_SIZES = (1024, 16 * 1024, 64 * 1024)
"""Bytes of a message that Ed25519 signs: the API takes up to 64 KiB."""

Steps = Iterator[TriedStep]


def try_part(session: Session, hello: Hello, part: TrialPart) -> list[TriedStep]:
    """Do the steps of one part. Raise PKCS11Error if the session is lost."""
    remove_left_over(session)
    return list(_PARTS[part](session, hello))


def _token(session: Session, hello: Hello) -> Steps:
    library = pkcs11.lib(hello.module)
    token = session.token
    yield _said("module", f"{library.manufacturer_id}, {library.library_description}")
    yield _said("module version", _version(library.library_version))
    yield _said("PKCS#11 version", _version(library.cryptoki_version))
    slots = list(library.get_slots(token_present=True))
    yield _said("slots with a token", str(len(slots)))
    yield _said("token", f"{token.label}: {token.manufacturer_id}, {token.model}")
    yield _said("firmware version", _version(token.firmware_version))
    yield _said(
        "token flags", ", ".join(flag.name or "" for flag in TokenFlag if flag & token.flags)
    )
    present = set(token.slot.get_mechanisms())
    for mechanism in (*wrap_mechanisms.usable(), *NEEDED):
        listed = "listed" if mechanism in present else "not listed"
        yield _said(f"mechanism {mechanism.name}", listed)
    others = sorted(int(each) for each in present if int(each) >= FIRST_OF_VENDORS)
    yield _said("vendor's mechanisms", ", ".join(map(hex, others)) or "none")


def _version(version: Any) -> str:
    return ".".join(map(str, version))


def _sessions(session: Session, _: Hello) -> Steps:
    yield TriedStep(name="session: read-write", outcome=Outcome.WORKS, detail="logged in")

    def read_only() -> str:
        session.token.open(rw=False).close()
        return "a second session"

    yield _tried("session: read-only", read_only)

    def stored() -> str:
        key = session.generate_key(
            KeyType.AES,
            KEY_BITS,
            store=True,
            label=LABEL,
            capabilities=MechanismFlag.WRAP | MechanismFlag.UNWRAP,
            template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
        )
        is_local = key[Attribute.LOCAL]
        key.destroy()
        return f"and destroyed; CKA_LOCAL is {is_local}"

    yield _tried("AES-256 key on the token", stored)


def _schemes(session: Session, _: Hello) -> Steps:
    wrapping = passing_wrapping_key(session)
    try:
        for algorithm in token_scheme.SCHEMES:

            def whole(algorithm: Any = algorithm) -> str:
                way = find_way(session, wrapping, algorithm)
                without = ", ".join(sorted(each.name for each in way.without))
                return f"by {way.mechanism.name}{f', without {without}' if without else ''}"

            yield _tried(f"{algorithm} inside", whole)
            for mechanism in wrap_mechanisms.of_new_keys():

                def one(way: Way = Way(algorithm, mechanism)) -> str:  # noqa: B008
                    travel(session, wrapping, way)
                    return "generate, wrap, unwrap with all attributes, sign, verify, destroy"

                yield _tried(f"{algorithm} {mechanism.name}", one)
    finally:
        wrapping.destroy()
    yield from _message_sizes(session)


def _message_sizes(session: Session) -> Steps:
    for size in MESSAGE_SIZES:

        def sign(size: int = size) -> str:
            with token_scheme.generated(session, EDDSA_ED25519) as (_, private, _):
                token_scheme.sign_in_token(private, EDDSA_ED25519, bytes(size))
            return "signed"

        yield _tried(f"{EDDSA_ED25519} message of {size} bytes", sign)


def _hardening(session: Session, _: Hello) -> Steps:
    for rule, refusal in master_key_making.try_rules(session):
        outcome = Outcome.WORKS if refusal is None else Outcome.REFUSED
        yield TriedStep(name=f"master key: {rule}", outcome=outcome, detail=refusal or "")


def _proofs(session: Session, _: Hello) -> Steps:
    def known_key() -> str:
        session.create_object(
            {
                Attribute.CLASS: ObjectClass.SECRET_KEY,
                Attribute.KEY_TYPE: KeyType.AES,
                Attribute.VALUE: os.urandom(KEY_BITS // 8),
                Attribute.TOKEN: False,
                Attribute.SENSITIVE: True,
                Attribute.EXTRACTABLE: True,
            }
        ).destroy()
        return "not needed"

    yield _tried("C_CreateObject of a secret key", known_key)
    wrapping = passing_wrapping_key(session)
    try:
        yield _proof(session, MasterKey("trial", 1, wrapping, is_host=False), "wraps")
    finally:
        wrapping.destroy()
    encrypting: Any = session.generate_key(
        KeyType.AES,
        KEY_BITS,
        store=False,
        capabilities=MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT,
        template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
    )
    host = MasterKey("trial-host", 1, encrypting, is_host=True)

    def our_nonce() -> str:
        if host_key.unseal(host, host_key.seal(host, b"trial", b"trial"), b"trial") != b"trial":
            raise Unable("the token decrypts to other bytes")
        return "with a nonce of the host"

    try:
        yield _tried("AES-GCM", our_nonce)
        yield _proof(session, host, "encrypts")
    finally:
        encrypting.destroy()


def _proof(session: Session, master: MasterKey, uses: str) -> TriedStep:
    def prove() -> str:
        proof = key_proof.make_proof(session, master)
        if proof is None:
            raise Unable("the token cannot make one")
        return f"{proof.mechanism}{f', {proof.algorithm}' if proof.algorithm else ''}"

    return _tried(f"proof of a key that {uses}", prove)


_PARTS: dict[TrialPart, Callable[[Session, Hello], Steps]] = {
    TrialPart.TOKEN: _token,
    TrialPart.SETTINGS: lambda session, _: traits_trial.steps(session),
    TrialPart.SESSIONS: _sessions,
    TrialPart.SCHEMES: _schemes,
    TrialPart.HARDENING: _hardening,
    TrialPart.PROOFS: _proofs,
    TrialPart.TWIN: twin_trial.steps,
    TrialPart.REWRAP: rewrap_trial.steps,
}


def _said(name: str, detail: str) -> TriedStep:
    return TriedStep(name=name, outcome=Outcome.SAID, detail=detail)


def _tried(name: str, do: Callable[[], str]) -> TriedStep:
    try:
        return TriedStep(name=name, outcome=Outcome.WORKS, detail=do())
    except PKCS11Error as error:
        raise_if_lost(error)
        return TriedStep(name=name, outcome=Outcome.REFUSED, detail=name_of(error))
    except (Unable, ValueError) as error:
        return TriedStep(name=name, outcome=Outcome.REFUSED, detail=str(error))
