"""CKA_UNWRAP_TEMPLATE of a key, read by C_GetAttributeValue. Workers only.

python-pkcs11 reads no attribute whose value is a list of attributes.
"""

import ctypes

import pkcs11
from custody.pkcs11.attributes import CkAttribute
from custody.pkcs11.c_functions import function
from pkcs11 import Attribute

POSITION = 24
"""Of C_GetAttributeValue in CK_FUNCTION_LIST, counted from 0 (PKCS#11 3.1, pkcs11f.h)."""
MAX_ATTRIBUTES = 64
MAX_SIZE = 4096
"""Bytes of one value. The lengths come from the vendor's library."""


def unwrap_template(module: str, session: pkcs11.Session, key: object) -> dict[int, bytes] | None:
    """Return the values by the numbers of their attributes; None if the token does not tell.

    The first call asks for the number of attributes, the second for the lengths of their values,
    the third for the values (PKCS#11 3.1, section 5.7.5).
    """
    read = function(
        module, POSITION, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong
    )
    session_handle = getattr(session, "handle")  # noqa: B009 - missing in python-pkcs11's types
    key_handle = getattr(key, "handle")  # noqa: B009
    asked = CkAttribute(int(Attribute.UNWRAP_TEMPLATE), None, 0)

    def ask() -> bool:
        return read(session_handle, key_handle, ctypes.byref(asked), 1) == 0

    entry = ctypes.sizeof(CkAttribute)
    if not ask() or asked.ulValueLen % entry or asked.ulValueLen > MAX_ATTRIBUTES * entry:
        return None
    count = asked.ulValueLen // entry
    if count == 0:
        return {}
    inner = (CkAttribute * count)()
    asked.pValue = ctypes.cast(inner, ctypes.c_void_p)
    if not ask() or asked.ulValueLen != count * entry:
        return None
    if any(each.ulValueLen > MAX_SIZE for each in inner):
        return None
    buffers = [ctypes.create_string_buffer(each.ulValueLen) for each in inner]
    for each, buffer in zip(inner, buffers, strict=True):
        each.pValue = ctypes.cast(buffer, ctypes.c_void_p)
    if not ask() or any(
        each.ulValueLen > len(buffer) for each, buffer in zip(inner, buffers, strict=True)
    ):
        return None
    return {
        each.type: buffer.raw[: each.ulValueLen]
        for each, buffer in zip(inner, buffers, strict=True)
    }
