"""The search for a token among a module's slots, where other slots may be broken. Workers only.

python-pkcs11 asks every slot, and one error or one slot without an answer keeps it from finding
any token. So the search calls the module itself (PKCS#11 3.1, section 5.5), and python-pkcs11 is
shown the slot that was found, and no other.
"""

import ctypes
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import pkcs11
from custody.pkcs11.return_codes import NUMBER_OF, code_name

FUNCTIONS = 68
"""Functions in the CK_FUNCTION_LIST of version 2.40. Every later list begins with them."""
GET_SLOT_LIST, GET_TOKEN_INFO = 4, 6
LABEL_SIZE = 32
SERIAL = slice(80, 96)
"""The bytes of CK_TOKEN_INFO after label, manufacturer and model (PKCS#11 3.1, section 3.2)."""
INFO_SIZE = 512
"""More than a CK_TOKEN_INFO has. The label is its first field."""
MORE_SLOTS = 16
"""Room for slots that appear between two calls."""
NO_TOKEN = (NUMBER_OF["CKR_TOKEN_NOT_PRESENT"], NUMBER_OF["CKR_TOKEN_NOT_RECOGNIZED"])
OK = 0
"""CKR_OK."""


class _FunctionList(ctypes.Structure):
    _fields_ = (("version", ctypes.c_ubyte * 2), ("functions", ctypes.c_void_p * FUNCTIONS))


_GET_SLOT_LIST = ctypes.CFUNCTYPE(
    ctypes.c_ulong, ctypes.c_ubyte, ctypes.POINTER(ctypes.c_ulong), ctypes.POINTER(ctypes.c_ulong)
)
_GET_TOKEN_INFO = ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_ulong, ctypes.c_char_p)
_KEPT: list[object] = []
"""Function lists that objects of python-pkcs11 refer to."""


class SlotsUnknown(Exception):
    """The module does not list its slots; the text is its answer."""


@dataclass(frozen=True)
class Wanted:
    """The token to find. ``serial``, ``slot``: None if any will do."""

    label: str
    serial: str | None = None
    slot: int | None = None

    def fits(self, info: bytes) -> bool:
        """Return whether a CK_TOKEN_INFO is that of the token."""
        is_labelled = _text(info[:LABEL_SIZE]) == self.label
        return is_labelled and self.serial in (None, _text(info[SERIAL]))


@dataclass
class Slots:
    """The slots that have the wanted token, and why other slots were not asked."""

    matching: list[int] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def search(
    module: str,
    wanted: Wanted,
    remembered: int | None,
    hung: Collection[int],
    asking: Callable[[int], None],
) -> Slots:
    """Ask each slot for its token, or only the wanted slot. Call ``asking`` with it before that.

    ``remembered``: the slot where the token was before; if it is there still, no other slot is
    asked. ``hung``: slots that did not answer an earlier worker. Raise SlotsUnknown.
    """
    functions = _list_of(module).functions
    found = Slots(skipped=[f"slot {slot} did not answer before" for slot in hung])
    slots = [slot for slot in _slots(functions) if slot not in hung and wanted.slot in (None, slot)]
    for slot in sorted(slots, key=lambda slot: slot != remembered):
        asking(slot)
        info = ctypes.create_string_buffer(INFO_SIZE)
        number = _GET_TOKEN_INFO(functions[GET_TOKEN_INFO])(slot, info)
        if number == OK and wanted.fits(info.raw):
            found.matching.append(slot)
            if slot == remembered:
                break
        elif number != OK and number not in NO_TOKEN:
            found.skipped.append(f"slot {slot} answered {code_name(number)}")
    return found


def token_in(library: Any, module: str, slot: int) -> pkcs11.Token:
    """Return the token in a slot, without a call for any other slot. Raises PKCS11Error.

    python-pkcs11 makes a token only for the slots that C_GetSlotList returns, and asks all of
    them. So for this one call its reference to the module's function list is replaced by a
    reference to a copy, in which C_GetSlotList returns this slot alone. If the reference cannot be
    found in another version of python-pkcs11, all slots are asked.
    """
    functions = _list_of(module)
    reference = _reference(library, ctypes.addressof(functions))
    if reference is None:
        found: pkcs11.Token = next(
            each.get_token() for each in library.get_slots() if each.slot_id == slot
        )
        return found

    def only_this(_: int, slots: Any, count: Any) -> int:
        if slots:
            slots[0] = slot
        count[0] = 1
        return OK

    own, callback = _FunctionList.from_buffer_copy(functions), _GET_SLOT_LIST(only_this)
    own.functions[GET_SLOT_LIST] = ctypes.cast(callback, ctypes.c_void_p).value
    _KEPT.extend((own, callback))
    reference.value = ctypes.addressof(own)
    try:
        [only] = library.get_slots()
    finally:
        reference.value = ctypes.addressof(functions)
    token: pkcs11.Token = only.get_token()
    return token


def _list_of(module: str) -> _FunctionList:
    """Return the function list of a loaded module. Raise SlotsUnknown."""
    library = ctypes.CDLL(module)
    found = ctypes.POINTER(_FunctionList)()
    library.C_GetFunctionList.restype = ctypes.c_ulong
    number = library.C_GetFunctionList(ctypes.byref(found))
    if number != OK:
        raise SlotsUnknown(code_name(number))
    contents: _FunctionList = found.contents
    return contents


def _slots(functions: Any) -> list[int]:
    list_slots = _GET_SLOT_LIST(functions[GET_SLOT_LIST])
    count = ctypes.c_ulong()
    number = list_slots(0, None, ctypes.byref(count))
    room = (ctypes.c_ulong * (count.value + MORE_SLOTS))()
    if number == OK:
        count.value = len(room)
        number = list_slots(0, room, ctypes.byref(count))
    if number != OK:
        raise SlotsUnknown(code_name(number))
    return list(room[: count.value])


def _text(padded: bytes) -> str:
    """Return a field's text as python-pkcs11 does: padded with blanks, or with zeros."""
    return padded.decode(errors="replace").rstrip("\0").rstrip()


def _reference(library: object, address: int) -> ctypes.c_void_p | None:
    """Return the field of an object of python-pkcs11 that refers to the function list."""
    size = ctypes.sizeof(ctypes.c_void_p)
    fields = [
        ctypes.c_void_p.from_address(id(library) + offset)
        for offset in range(object.__basicsize__, type(library).__basicsize__, size)
    ]
    references = [field for field in fields if field.value == address]
    return references[0] if len(references) == 1 else None
