"""Somebody with the PIN and the database, on a session of the token. Workers only.

What an attacker stores on the token carries one label, so that a later start finds what a killed
one has left.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from custody.pkcs11 import token_scheme, unwrap_template, wrap_mechanisms
from custody.pkcs11.master_key import KEY_BITS, MasterKey
from custody.pkcs11.messages import Hello
from custody.pkcs11.round_trip import Unable, Way, find_way
from custody.pkcs11.session_errors import is_loss, is_refusal, name_of
from pkcs11 import Attribute, KeyType, MechanismFlag, ObjectClass, Session, _pkcs11
from pkcs11.exceptions import PKCS11Error

LABEL = "custody-doctor-attempt"
Gained = TypeVar("Gained")
OWN_KEY = hashlib.sha256(b"custody extraction attempt").digest()


class Refused(Exception):
    """The token did not let the key out; the text says what it answered."""


class CannotTry(Refused):
    """There is nothing to try the attempt on: this says nothing about the token."""


@dataclass(frozen=True)
class StoredKey:
    """A key of this attempt alone, wrapped as the database would hold it."""

    way: Way
    wrapped: bytes
    point: bytes
    """CKA_EC_POINT of its public key."""

    @property
    def key_type(self) -> KeyType:
        return token_scheme.SCHEMES[self.way.algorithm].key_type


class Attacker:
    """The start of every attempt. ``own``: a session key whose value the attacker knows."""

    def __init__(
        self, session: Session, hello: Hello, wrapping: MasterKey, hosts: list[MasterKey]
    ) -> None:
        self.session = session
        self.hello = hello
        self.wrapping = wrapping
        self.masters = [wrapping, *hosts]

    def own_key(self) -> Any:
        return self.session.create_object(
            {
                Attribute.CLASS: ObjectClass.SECRET_KEY,
                Attribute.KEY_TYPE: KeyType.AES,
                Attribute.VALUE: OWN_KEY[: KEY_BITS // 8],
                Attribute.TOKEN: False,
                Attribute.WRAP: True,
                Attribute.DECRYPT: True,
            }
        )

    def stored_key(self) -> StoredKey:
        """Wrap a key to try the attempts on. Raise CannotTry if the token wraps none."""
        for algorithm in token_scheme.SCHEMES:
            with suppress(Unable):
                # the key may be of a version that was made for another mechanism
                mechanisms = wrap_mechanisms.of_any_key()
                way = find_way(self.session, self.wrapping.key, algorithm, mechanisms)
                with token_scheme.generated(self.session, algorithm) as (public, private, _):
                    wrapped = self.wrapping.key.wrap_key(private, mechanism=way.mechanism)
                    return StoredKey(way, wrapped, public[Attribute.EC_POINT])
        raise CannotTry("the token wraps no key to try it on")

    def unwrap(
        self,
        stored: StoredKey,
        changes: Mapping[Attribute, Any],
        object_class: ObjectClass = ObjectClass.PRIVATE_KEY,
        key_type: KeyType | None = None,
    ) -> Any:
        """Unwrap as the driver does, but for some attributes. The caller destroys the key."""
        template = {**unwrap_template.call_template(stored.way.without), **changes}
        # SoftHSM accepts no attribute of an object after this one
        template[Attribute.MODIFIABLE] = template.pop(Attribute.MODIFIABLE)
        return self.wrapping.key.unwrap_key(
            object_class,
            stored.key_type if key_type is None else key_type,
            stored.wrapped,
            label=LABEL,
            mechanism=stored.way.mechanism,
            capabilities=MechanismFlag.SIGN,
            template=template,
        )


def remove_left_over(session: Session) -> None:
    """Destroy what an attempt that was killed has left on the token."""
    for left in list(session.get_objects({Attribute.LABEL: LABEL, Attribute.TOKEN: True})):
        left.destroy()


def answered(attempt: Callable[[], Gained]) -> Gained:
    """Do an attempt, and once more after an error that says nothing certain.

    A passing error must not be taken for a refusal: the attempt might succeed.
    """
    try:
        return attempt()
    except PKCS11Error as error:
        if is_loss(error) or is_refusal(error):
            raise
        return attempt()


def first_that_works(ways: Iterable[tuple[str, Callable[[], object]]]) -> str:
    """Return the result of the first attempt without an error.

    Raises Refused with the answers when there is none.
    """
    answers = set()
    for name, way in ways:
        try:
            gained = answered(way)
        except Refused as refused:
            answers.add(str(refused))
        except PKCS11Error as error:
            if is_loss(error):
                raise
            answers.add(name_of(error))
        else:
            return f"{name}: {gained}" if isinstance(gained, str) else name
    raise Refused(", ".join(sorted(answers)))


def forced(key: Any, mixin: str) -> Any:
    """Return the key with python-pkcs11's methods for a use that its attributes forbid."""
    uses = getattr(_pkcs11, mixin)
    if isinstance(key, uses):
        return key
    return type(f"Forced{mixin}", (uses, type(key)), {})(key.wrapper)


def read_secret_of(key: Any) -> bytes:
    value: bytes = key[Attribute.VALUE]
    return value


def change(key: Any, changes: Mapping[Attribute, bool]) -> None:
    """Set attributes, and set them back."""
    for attribute, value in changes.items():
        key[attribute] = value
        key[attribute] = not value


def copy(key: Any, changes: Mapping[Attribute, bool]) -> None:
    key.copy({Attribute.LABEL: LABEL, **changes}).destroy()


def words(changes: Mapping[Attribute, Any]) -> str:
    return ", ".join(f"{attribute.name}={value}" for attribute, value in changes.items())
