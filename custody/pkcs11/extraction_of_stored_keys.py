"""Attempts to unwrap a stored key as something that gives it away. Workers only.

Each says how it succeeded, or raises Refused or PKCS11Error. To have the token unwrap a key as what
no stored key may be counts as success, whatever more can be done with the result: the text says
what was.
"""

import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pkcs11
from custody.pkcs11 import token_scheme
from custody.pkcs11.attacker import (
    LABEL,
    Attacker,
    Refused,
    StoredKey,
    change,
    copy,
    first_that_works,
    forced,
    read_secret_of,
    words,
)
from custody.pkcs11.login import name_of, slot_of
from pkcs11 import KDF, Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.exceptions import PKCS11Error

Changes = Mapping[Attribute, Any]

READABLE: tuple[Changes, ...] = (
    {Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True},
    {Attribute.SENSITIVE: False},
    {Attribute.SENSITIVE: pkcs11.DEFAULT, Attribute.EXTRACTABLE: pkcs11.DEFAULT},
)
PUBLIC: tuple[Changes, ...] = (
    {Attribute.TOKEN: True, Attribute.PRIVATE: False},
    {Attribute.PRIVATE: False},
)
SECRET_TYPES = (KeyType.GENERIC_SECRET, KeyType.AES, KeyType.DES3, KeyType.DES2)
PRIVATE_TYPES = (KeyType.RSA, KeyType.DSA, KeyType.DH, KeyType.EC, KeyType.EC_EDWARDS)
NOT_OF_SECRETS: Changes = {
    Attribute.SIGN_RECOVER: pkcs11.DEFAULT,
    Attribute.ALLOWED_MECHANISMS: pkcs11.DEFAULT,
    Attribute.COPYABLE: pkcs11.DEFAULT,
}
OTHER_USES: tuple[Changes, ...] = (
    {Attribute.DERIVE: True},
    {Attribute.DECRYPT: True},
    {Attribute.UNWRAP: True},
    {Attribute.SIGN_RECOVER: True},
)
LOOSE: tuple[Changes, ...] = (
    {},
    {Attribute.MODIFIABLE: True},
    {Attribute.COPYABLE: True},
    {Attribute.MODIFIABLE: True, Attribute.COPYABLE: True},
    {Attribute.MODIFIABLE: pkcs11.DEFAULT, Attribute.COPYABLE: pkcs11.DEFAULT},
)
OUTSIDER = "custody.pkcs11.outsider"
OUTSIDER_SECONDS = 20


def unwrap_readable(attacker: Attacker) -> str:
    stored = attacker.stored_key()
    return first_that_works(
        (words(changes), partial(_unwrapped, attacker, stored, changes, _value))
        for changes in READABLE
    )


def _value(key: Any) -> str:
    try:
        return f"{len(read_secret_of(key))} bytes read"
    except PKCS11Error as error:
        raise Refused(f"unwrapped, but not read: {name_of(error)}") from error


def unwrap_public(attacker: Attacker) -> str:
    """Try CKA_PRIVATE=false: every process can use such an object on the token without login."""
    stored = attacker.stored_key()

    def use(key: Any) -> str:
        if not key[Attribute.TOKEN]:
            return "public, until the session ends"
        return _without_login(attacker, stored)

    return first_that_works(
        (words(changes), partial(_unwrapped, attacker, stored, changes, use)) for changes in PUBLIC
    )


def _without_login(attacker: Attacker, stored: StoredKey) -> str:
    """Use the key as a process without the PIN does."""
    hello = attacker.hello
    mechanism = token_scheme.SCHEMES[stored.way.algorithm].mechanism.name
    try:
        done = subprocess.run(
            [
                sys.executable,
                "-P",
                "-m",
                OUTSIDER,
                hello.module,
                str(slot_of(attacker.session)),
                LABEL,
                mechanism,
            ],
            capture_output=True,
            text=True,
            timeout=OUTSIDER_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "public on the token; a process without login got no answer"
    if done.returncode:
        return "public on the token; a process without login could not use it"
    return f"public on the token; a process without login {done.stdout.strip()}"


def unwrap_on_token(attacker: Attacker) -> str:
    stored = attacker.stored_key()
    changes = {Attribute.TOKEN: True}
    return first_that_works(
        [(words(changes), partial(_unwrapped, attacker, stored, changes, lambda _: None))]
    )


def unwrap_as_secret(attacker: Attacker) -> str:
    """Try to unwrap it as a secret key, which can be read, derived from or used otherwise."""
    stored = attacker.stored_key()
    return first_that_works(
        (
            f"as {key_type.name}",
            partial(
                _unwrapped,
                attacker,
                stored,
                {**looser, **readable},
                _use_of_secret,
                ObjectClass.SECRET_KEY,
                key_type,
            ),
        )
        for key_type in SECRET_TYPES
        for readable in ({}, *READABLE)
        for looser in ({}, NOT_OF_SECRETS)
    )


def _use_of_secret(key: Any) -> str:
    try:
        return f"{len(read_secret_of(key))} bytes read"
    except PKCS11Error:
        return "not read, but a secret key now"


def unwrap_as_other_type(attacker: Attacker) -> str:
    stored = attacker.stored_key()
    return first_that_works(
        (
            f"as {key_type.name}",
            partial(
                _unwrapped,
                attacker,
                stored,
                changes,
                lambda _: None,
                ObjectClass.PRIVATE_KEY,
                key_type,
            ),
        )
        for key_type in PRIVATE_TYPES
        if key_type is not stored.key_type
        for changes in ({}, {Attribute.DERIVE: True})
    )


def unwrap_for_other_use(attacker: Attacker) -> str:
    stored = attacker.stored_key()
    return first_that_works(
        (words(changes), partial(_unwrapped, attacker, stored, changes, lambda _: None))
        for changes in OTHER_USES
    )


def derive_by_unwrapped_key(attacker: Attacker) -> str:
    """ECDH (PKCS#11 3.1, section 6.3.18): with DERIVE allowed, left out, and forbidden."""
    stored = attacker.stored_key()
    derived = partial(_derive, stored)
    return first_that_works(
        (
            words(changes) or "though forbidden",
            partial(_unwrapped, attacker, stored, changes, derived),
        )
        for changes in (
            {Attribute.DERIVE: True},
            {Attribute.DERIVE: True, Attribute.ALLOWED_MECHANISMS: [Mechanism.ECDH1_DERIVE]},
            {Attribute.DERIVE: True, Attribute.ALLOWED_MECHANISMS: pkcs11.DEFAULT},
            {Attribute.DERIVE: pkcs11.DEFAULT, Attribute.ALLOWED_MECHANISMS: pkcs11.DEFAULT},
            {},
        )
    )


def _derive(stored: StoredKey, key: Any) -> str:
    secret = forced(key, "DeriveMixin").derive_key(
        KeyType.GENERIC_SECRET,
        256,
        capabilities=MechanismFlag(0),
        mechanism=Mechanism.ECDH1_DERIVE,
        mechanism_param=(KDF.NULL, None, stored.point),
        template={Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True},
    )
    try:
        return f"{len(read_secret_of(secret))} bytes of a shared secret"
    finally:
        secret.destroy()


def unwrap_extractable(attacker: Attacker) -> str:
    stored = attacker.stored_key()

    def wrap_again(key: Any) -> str:
        own = attacker.own_key()
        try:
            own.wrap_key(key, mechanism=stored.way.mechanism)
        except PKCS11Error as error:
            raise Refused(f"unwrapped, but not wrapped again: {name_of(error)}") from error
        finally:
            own.destroy()
        return "wrapped by a key whose value is known"

    return first_that_works(
        (words(changes), partial(_unwrapped, attacker, stored, changes, wrap_again))
        for changes in ({Attribute.EXTRACTABLE: True}, {Attribute.EXTRACTABLE: pkcs11.DEFAULT})
    )


def change_unwrapped_key(attacker: Attacker) -> str:
    stored = attacker.stored_key()
    return first_that_works(
        (
            words(changes) or "as the driver unwraps it",
            partial(_unwrapped, attacker, stored, changes, _loosen),
        )
        for changes in LOOSE
    )


def _loosen(key: Any) -> str:
    return first_that_works(
        (
            ("reading it", partial(_value, key)),
            ("setting EXTRACTABLE", partial(change, key, {Attribute.EXTRACTABLE: True})),
            ("setting SENSITIVE", partial(change, key, {Attribute.SENSITIVE: False})),
            ("setting DERIVE", partial(change, key, {Attribute.DERIVE: True})),
            ("copying it as extractable", partial(copy, key, {Attribute.EXTRACTABLE: True})),
            ("copying it onto the token", partial(copy, key, {Attribute.TOKEN: True})),
            ("copying it as public", partial(copy, key, {Attribute.PRIVATE: False})),
        )
    )


def _unwrapped(
    attacker: Attacker,
    stored: StoredKey,
    changes: Changes,
    use: Callable[[Any], str | None],
    object_class: ObjectClass = ObjectClass.PRIVATE_KEY,
    key_type: KeyType | None = None,
) -> str | None:
    """Unwrap the key, use it, destroy it. Raises Refused or PKCS11Error."""
    key = attacker.unwrap(stored, changes, object_class, key_type)
    try:
        return use(key)
    finally:
        key.destroy()
