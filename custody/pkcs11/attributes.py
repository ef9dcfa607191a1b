"""CKA_UNWRAP_TEMPLATE and CKA_ALLOWED_MECHANISMS for python-pkcs11, which packs no lists."""

import ctypes
import struct
from collections.abc import Iterable
from typing import Any

from pkcs11 import Attribute, Mechanism
from pkcs11.attributes import AttributeMapper


class CkAttribute(ctypes.Structure):
    """CK_ATTRIBUTE (PKCS#11 3.1, section 3.5)."""

    _fields_ = (
        ("type", ctypes.c_ulong),
        ("pValue", ctypes.c_void_p),
        ("ulValueLen", ctypes.c_ulong),
    )


class NestedAttributeMapper(AttributeMapper):
    """Packs an UNWRAP_TEMPLATE given as a mapping of attributes to values, and mechanisms."""

    def __init__(self) -> None:
        super().__init__()
        # The packed array points into these, so they live as long as the session's mapper does.
        self._buffers: list[Any] = []
        self.register_handler(Attribute.UNWRAP_TEMPLATE, self._pack_template, bytes)
        self.register_handler(Attribute.ALLOWED_MECHANISMS, _pack_mechanisms, _unpack_mechanisms)

    def _pack_template(self, template: dict[Attribute, Any]) -> bytes:
        array = (CkAttribute * len(template))()
        for index, (attribute, value) in enumerate(template.items()):
            packed = self.pack_attribute(attribute, value)
            buffer = ctypes.create_string_buffer(packed, len(packed))
            self._buffers.append(buffer)
            array[index] = CkAttribute(
                int(attribute), ctypes.cast(buffer, ctypes.c_void_p), len(packed)
            )
        return bytes(array)


_MECHANISM = struct.Struct("@L")  # CK_MECHANISM_TYPE


def _pack_mechanisms(mechanisms: Iterable[Mechanism]) -> bytes:
    return b"".join(_MECHANISM.pack(int(mechanism)) for mechanism in mechanisms)


def _unpack_mechanisms(packed: bytes) -> tuple[int, ...]:
    return tuple(value for (value,) in _MECHANISM.iter_unpack(packed))
