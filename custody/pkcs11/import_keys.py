"""One-time RSA keys on the token, to which applications encrypt private keys. Workers only.

The private half is a token object: it must outlive a worker. A worker's own session may be
read-only, so a second session of the same login makes and destroys these objects.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any
from uuid import UUID

from custody.pkcs11 import import_opening
from custody.pkcs11.attributes import NestedAttributeMapper
from custody.pkcs11.endings import Step
from custody.pkcs11.errors import ImportKeyMissing
from custody.pkcs11.faults import FAULTS, destroy
from custody.pkcs11.import_pair import ImportPair, generate, public_half
from custody.pkcs11.messages import Capability
from custody.pkcs11.operation_errors import translated
from custody.pkcs11.return_codes import NUMBER_OF, Kind
from custody.pkcs11.session_errors import (
    SessionLost,
    kind_of_error,
    name_of,
    number_of,
)
from custody.wire.imports import Wrapping
from pkcs11 import Attribute, KeyType, ObjectClass, Session
from pkcs11.exceptions import PKCS11Error

LABEL_SUFFIX = "-import"
"""Behind the label of the master keys: the beginning of the labels of import keys."""


@dataclass(frozen=True)
class Labels:
    """The labels of one driver group's import keys. Other groups may use the same token.

    ``own``: ends with the owner, which is the same for all drivers of the group.
    ``old``: of earlier versions, which named no owner. Each group treats these as its own, as
    earlier versions did: nothing on the token tells whose they are, and none may stay for good.
    """

    own: str
    old: str

    @classmethod
    def of(cls, master_key_label: str, owner: str) -> "Labels":
        """Return the labels of an owner's import keys beside these master keys."""
        old = master_key_label + LABEL_SUFFIX
        return cls(own=f"{old}-{owner}", old=old)

    @property
    def both(self) -> tuple[str, str]:
        """Return the labels of all import keys that the group uses and destroys."""
        return self.own, self.old

    def others(self, session: Session) -> list[str]:
        """Return the labels on the token of other owners' import keys.

        Keys that do not say their label, as text, are left out.
        """
        with translated(Step.READ, "list the import keys"):
            keys = list(session.get_objects(_PRIVATE_HALF))
        labels = set[str]()
        for key in keys:
            try:
                labels.add(key[Attribute.LABEL])
            except UnicodeDecodeError:
                continue  # not one of ours
            except PKCS11Error as error:
                _skip(Step.READ, error)
        return sorted(each for each in labels - {self.own} if each.startswith(f"{self.old}-"))


@contextmanager
def writable(session: Session) -> Iterator[Session]:
    """Open a read-write session of the same login, and close it."""
    with translated(Step.OPEN, "open a read-write session for import keys"):
        second = session.token.open(rw=True, attribute_mapper=NestedAttributeMapper())
    try:
        yield second
    finally:
        try:
            second.close()
        except PKCS11Error as error:
            FAULTS.note(Step.CLOSE, error)
            FAULTS.ends_because = f"a session for import keys stays open: {name_of(error)}"


def make(
    session: Session,
    label: str,
    import_id: UUID,
    capability: Capability,
    wrap: Callable[[Any], object],
) -> tuple[bytes, Wrapping]:
    """Make the key of an import on the token, and import a made-up key with it.

    ``wrap`` wraps a private key by the master key. Return the public half and the way in which the
    token opens. Raise HsmFailure or SessionLost; the new key is then destroyed.
    """
    protection = capability.protection
    with writable(session) as second:
        pair = generate(second, protection, store=True, label=label, id=import_id.bytes)
        try:
            wrapping = import_opening.find_wrapping(pair, capability.algorithm, protection, wrap)
            return pair.encoded, wrapping
        except BaseException:
            destroy(pair.private)
            raise


def find(session: Session, labels: Iterable[str], import_id: UUID, encoded: bytes) -> ImportPair:
    """Return the import key whose public half was stated. Raise ImportKeyMissing."""
    with translated(Step.READ, "find an import key"):
        templates = [_private_halves(label, import_id) for label in labels]
        keys = [key for template in templates for key in session.get_objects(template)]
    for key in keys:
        try:
            pair = ImportPair(key, public_half(key))
        except PKCS11Error as error:
            _skip(Step.READ, error)
        else:
            if pair.encoded == encoded:
                return pair
    raise ImportKeyMissing(f"this token has no import key for import {import_id}")


def present(session: Session, labels: Iterable[str]) -> list[UUID]:
    """Return the imports that have a private half under one of the labels on the token.

    Objects of other kinds, and objects that do not say their id, are left out: anybody who reaches
    the token can make public objects with our label, without the PIN.
    """
    with translated(Step.READ, "list the import keys"):
        templates = [_private_halves(label) for label in labels]
        keys = [key for template in templates for key in session.get_objects(template)]
    ids = set[bytes]()
    for key in keys:
        try:
            ids.add(bytes(key[Attribute.ID]))
        except PKCS11Error as error:
            _skip(Step.READ, error)
    return [UUID(bytes=each) for each in sorted(ids) if len(each) == len(UUID(int=0).bytes)]


def remove(session: Session, labels: Iterable[str], import_ids: Iterable[UUID]) -> None:
    """Destroy the import keys of these imports; one that is not there is no error.

    One that the token keeps stops nothing: the caller sees it in ``present``.
    """
    with writable(session) as second:
        for label, import_id in product(labels, import_ids):
            # the public half first: ``present`` lists the import while its private half is there
            for template in (_public_halves(label, import_id), _private_halves(label, import_id)):
                with translated(Step.READ, "find an import key"):
                    keys = list(second.get_objects(template))
                for key in keys:
                    try:
                        key.destroy()
                    except PKCS11Error as error:
                        _skip(Step.DESTROY, error)


_GONE = (NUMBER_OF["CKR_OBJECT_HANDLE_INVALID"], NUMBER_OF["CKR_KEY_HANDLE_INVALID"])
"""Another driver on the token has destroyed the object."""


def _skip(step: Step, error: PKCS11Error) -> None:
    """Note an error that is about one object. Raise SessionLost if it is about the session."""
    FAULTS.note(step, error)
    if kind_of_error(error) is Kind.SESSION and number_of(error) not in _GONE:
        raise SessionLost(f"cannot {step.value}: {name_of(error)}") from None


_PRIVATE_HALF: dict[Attribute, Any] = {
    Attribute.CLASS: ObjectClass.PRIVATE_KEY,
    Attribute.PRIVATE: True,
    Attribute.KEY_TYPE: KeyType.RSA,
}
_PUBLIC_HALF: dict[Attribute, Any] = {
    Attribute.CLASS: ObjectClass.PUBLIC_KEY,
    Attribute.KEY_TYPE: KeyType.RSA,
}


def _private_halves(label: str, import_id: UUID | None = None) -> dict[Attribute, Any]:
    of_import = {} if import_id is None else {Attribute.ID: import_id.bytes}
    return {**_PRIVATE_HALF, Attribute.LABEL: label, **of_import}


def _public_halves(label: str, import_id: UUID) -> dict[Attribute, Any]:
    return {**_PUBLIC_HALF, Attribute.LABEL: label, Attribute.ID: import_id.bytes}
