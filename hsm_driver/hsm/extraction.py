"""Extractions of keys, really tried on the token's own master keys. Workers only.

Nothing is left behind: what a successful attempt made is destroyed, what it changed is set back.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass, Session, _pkcs11
from pkcs11.exceptions import PKCS11Error

from hsm_driver.hsm import token_scheme
from hsm_driver.hsm.login import name_of
from hsm_driver.hsm.master_key import KEY_BITS, MasterKey
from hsm_driver.hsm.messages import Extracted
from hsm_driver.hsm.session_errors import SESSION_LOST

LOOSENED: tuple[Mapping[Attribute, bool], ...] = (
    {Attribute.DECRYPT: True},
    {Attribute.EXTRACTABLE: True},
    {Attribute.SENSITIVE: False},
    {Attribute.MODIFIABLE: True},
)
OPEN = {Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True}
DECRYPT_MECHANISMS = (
    Mechanism.AES_ECB,
    Mechanism.AES_KEY_WRAP,
    Mechanism.AES_KEY_WRAP_PAD,
    Mechanism.AES_KEY_WRAP_KWP,
)
AES_BLOCK = 16
OWN_KEY = hashlib.sha256(b"custody extraction attempt").digest()


class Refused(Exception):
    """The token did not let the key out; the text says what it answered."""


class Attacker:
    """Somebody with the PIN. Every method says how the key came out, or raises Refused."""

    def __init__(self, session: Session, wrapping: MasterKey, hosts: list[MasterKey]) -> None:
        self._session = session
        self._wrapping = wrapping
        self._masters = [wrapping, *hosts]
        self.attempts: dict[str, Callable[[], str]] = {
            "read-master-key": self.read_master_key,
            "wrap-master-key": self.wrap_master_key,
            "change-master-key": self.change_master_key,
            "copy-master-key": self.copy_master_key,
            "decrypt-stored-key": self.decrypt_stored_key,
            "unwrap-readable": self.unwrap_readable,
            "unwrap-as-secret": self.unwrap_as_secret,
            "unwrap-extractable": self.unwrap_extractable,
            "change-unwrapped-key": self.change_unwrapped_key,
        }

    def read_master_key(self) -> str:
        return _first_that_works(
            (master.name, partial(_read, master.key)) for master in self._masters
        )

    def wrap_master_key(self) -> str:
        own = self._own_key()
        try:
            return _first_that_works(
                (master.name, partial(own.wrap_key, master.key, mechanism=Mechanism.AES_KEY_WRAP))
                for master in self._masters
            )
        finally:
            own.destroy()

    def change_master_key(self) -> str:
        return _first_that_works(
            (f"{master.name} with {_words(change)}", partial(_set, master.key, change))
            for master in self._masters
            for change in self._loosened(master)
        )

    def copy_master_key(self) -> str:
        return _first_that_works(
            (f"{master.name} with {_words(change)}", partial(_copy, master.key, change))
            for master in self._masters
            for change in self._loosened(master)
        )

    def _loosened(self, master: MasterKey) -> list[Mapping[Attribute, bool]]:
        """A host key decrypts anyway: that is what it is for."""
        return [
            change for change in LOOSENED if not (master.is_host and Attribute.DECRYPT in change)
        ]

    def decrypt_stored_key(self) -> str:
        _, wrapped, _ = self._stored_key()
        implementation: Any = _pkcs11
        forced: Any = type(
            "ForcedToDecrypt", (implementation.DecryptMixin, type(self._wrapping.key)), {}
        )(self._wrapping.key.wrapper)
        blocks = wrapped[: len(wrapped) - len(wrapped) % AES_BLOCK]
        return _first_that_works(
            (
                mechanism.name,
                partial(
                    forced.decrypt,
                    blocks if mechanism is Mechanism.AES_ECB else wrapped,
                    mechanism=mechanism,
                ),
            )
            for mechanism in DECRYPT_MECHANISMS
        )

    def unwrap_readable(self) -> str:
        key_type, wrapped, mechanism = self._stored_key()
        key = self._unwrap(ObjectClass.PRIVATE_KEY, key_type, wrapped, mechanism, OPEN)
        return self._read_and_destroy(key)

    def unwrap_as_secret(self) -> str:
        _, wrapped, mechanism = self._stored_key()
        key = self._unwrap(ObjectClass.SECRET_KEY, KeyType.GENERIC_SECRET, wrapped, mechanism, OPEN)
        return self._read_and_destroy(key)

    def unwrap_extractable(self) -> str:
        key_type, wrapped, mechanism = self._stored_key()
        extractable = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: True}
        key = self._unwrap(ObjectClass.PRIVATE_KEY, key_type, wrapped, mechanism, extractable)
        own = self._own_key()
        try:
            own.wrap_key(key, mechanism=mechanism)
        except PKCS11Error as error:
            raise Refused(f"unwrapped, but not wrapped again: {name_of(error)}") from error
        finally:
            own.destroy()
            key.destroy()
        return "wrapped by a key whose value is known"

    def change_unwrapped_key(self) -> str:
        key_type, wrapped, mechanism = self._stored_key()
        closed = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}
        key = self._unwrap(ObjectClass.PRIVATE_KEY, key_type, wrapped, mechanism, closed)
        try:
            return _first_that_works(
                (
                    ("reading it", partial(_read, key)),
                    ("setting EXTRACTABLE", partial(_set, key, {Attribute.EXTRACTABLE: True})),
                    ("setting SENSITIVE", partial(_set, key, {Attribute.SENSITIVE: False})),
                    ("copying it", partial(_copy, key, {Attribute.EXTRACTABLE: True})),
                )
            )
        finally:
            key.destroy()

    def _stored_key(self) -> tuple[KeyType, bytes, Mechanism]:
        """A key as the database would hold it. Raises Refused where the token makes none."""
        for algorithm in token_scheme.SCHEMES:
            for mechanism in token_scheme.WRAP_MECHANISMS:
                with (
                    suppress(PKCS11Error),
                    token_scheme.generated(self._session, algorithm) as (_, private, _public),
                ):
                    wrapped: bytes = self._wrapping.key.wrap_key(private, mechanism=mechanism)
                    return token_scheme.SCHEMES[algorithm].key_type, wrapped, mechanism
        raise Refused("the token wraps no key to try it on")

    def _unwrap(
        self,
        object_class: ObjectClass,
        key_type: KeyType,
        wrapped: bytes,
        mechanism: Mechanism,
        loosened: Mapping[Attribute, bool],
    ) -> Any:
        is_private = object_class is ObjectClass.PRIVATE_KEY
        template = {**token_scheme.UNWRAPPED_TEMPLATE, **loosened}
        return self._wrapping.key.unwrap_key(
            object_class,
            key_type,
            wrapped,
            mechanism=mechanism,
            capabilities=MechanismFlag.SIGN if is_private else MechanismFlag(0),
            template=template,
        )

    def _read_and_destroy(self, key: Any) -> str:
        try:
            return f"{len(key[Attribute.VALUE])} bytes read"
        except PKCS11Error as error:
            raise Refused(f"unwrapped, but not read: {name_of(error)}") from error
        finally:
            key.destroy()

    def _own_key(self) -> Any:
        """A session key whose value the attacker knows."""
        return self._session.create_object(
            {
                Attribute.CLASS: ObjectClass.SECRET_KEY,
                Attribute.KEY_TYPE: KeyType.AES,
                Attribute.VALUE: OWN_KEY[: KEY_BITS // 8],
                Attribute.TOKEN: False,
                Attribute.WRAP: True,
                Attribute.DECRYPT: True,
            }
        )


def _first_that_works(ways: Iterable[tuple[str, Callable[[], object]]]) -> str:
    """The first way that gives no error. Raises Refused with the answers when there is none."""
    answers = set()
    for name, way in ways:
        try:
            way()
        except SESSION_LOST:
            raise
        except PKCS11Error as error:
            answers.add(name_of(error))
        else:
            return f"by {name}"
    raise Refused(", ".join(sorted(answers)))


def _read(key: Any) -> bytes:
    value: bytes = key[Attribute.VALUE]
    return value


def _set(key: Any, change: Mapping[Attribute, bool]) -> None:
    for attribute, value in change.items():
        key[attribute] = value
        key[attribute] = not value


def _copy(key: Any, change: Mapping[Attribute, bool]) -> None:
    key.copy({**change, Attribute.TOKEN: False}).destroy()


def _words(change: Mapping[Attribute, bool]) -> str:
    return ", ".join(f"{attribute.name}={value}" for attribute, value in change.items())


def attempt(session: Session, masters: list[MasterKey], name: str) -> Extracted:
    """Try one on every generation; ``succeeded`` means that a key came out of one of them.

    Raises PKCS11Error when the session is lost.
    """
    refusals = set()
    for wrapping in masters:
        if wrapping.is_host:
            continue
        hosts = [key for key in masters if key.is_host and key.generation == wrapping.generation]
        try:
            way = Attacker(session, wrapping, hosts).attempts[name]()
            return Extracted(succeeded=True, detail=f"{wrapping.name}: {way}")
        except Refused as refused:
            refusals.add(str(refused))
        except SESSION_LOST:
            raise
        except PKCS11Error as error:
            refusals.add(name_of(error))
    return Extracted(succeeded=False, detail=f"refused: {'; '.join(sorted(refusals))}")
