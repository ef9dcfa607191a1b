"""One-time RSA keys on the token, to which applications encrypt private keys. Workers only.

The private half is a token object: it must outlive a worker. A worker's own session may be
read-only, so a second session of the same login makes and destroys these objects.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
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
"""Behind the label of the master keys: the label of our import keys."""


def label_of(master_key_label: str) -> str:
    """Return the label of the import keys beside these master keys."""
    return master_key_label + LABEL_SUFFIX


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


def find(session: Session, label: str, import_id: UUID, encoded: bytes) -> ImportPair:
    """Return the import key whose public half was stated. Raise ImportKeyMissing."""
    with translated(Step.READ, "find an import key"):
        keys = list(session.get_objects(_private_halves(label, import_id)))
    for key in keys:
        try:
            pair = ImportPair(key, public_half(key))
        except PKCS11Error as error:
            _skip(Step.READ, error)
        else:
            if pair.encoded == encoded:
                return pair
    raise ImportKeyMissing(f"this token has no import key for import {import_id}")


def present(session: Session, label: str) -> list[UUID]:
    """Return the imports that have a private half under our label on the token.

    Objects of other kinds, and objects that do not say their id, are left out: anybody who reaches
    the token can make public objects with our label, without the PIN.
    """
    with translated(Step.READ, "list the import keys"):
        keys = list(session.get_objects(_private_halves(label)))
    ids = set[bytes]()
    for key in keys:
        try:
            ids.add(bytes(key[Attribute.ID]))
        except PKCS11Error as error:
            _skip(Step.READ, error)
    return [UUID(bytes=each) for each in sorted(ids) if len(each) == len(UUID(int=0).bytes)]


def remove(session: Session, label: str, import_ids: Iterable[UUID]) -> None:
    """Destroy the import keys of these imports; one that is not there is no error.

    One that the token keeps stops nothing: the caller sees it in ``present``.
    """
    with writable(session) as second:
        for import_id in import_ids:
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


def _private_halves(label: str, import_id: UUID | None = None) -> dict[Attribute, Any]:
    private = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.PRIVATE: True}
    return {**private, **_labelled(label, import_id)}


def _public_halves(label: str, import_id: UUID) -> dict[Attribute, Any]:
    return {Attribute.CLASS: ObjectClass.PUBLIC_KEY, **_labelled(label, import_id)}


def _labelled(label: str, import_id: UUID | None) -> dict[Attribute, Any]:
    of_import = {} if import_id is None else {Attribute.ID: import_id.bytes}
    return {Attribute.KEY_TYPE: KeyType.RSA, Attribute.LABEL: label, **of_import}
