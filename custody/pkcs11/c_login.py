"""C_Login, called alone. Workers only.

python-pkcs11 opens a session and logs in with one call. An error of that call does not say which
of the two failed, but only a failed login may have been counted as a wrong PIN.
"""

import ctypes

import pkcs11

CKU_USER = 1
POSITION = 18
"""Of C_Login in CK_FUNCTION_LIST, counted from 0 (PKCS#11 3.1, header file pkcs11f.h)."""


class _FunctionList(ctypes.Structure):
    _fields_ = (("version", ctypes.c_ubyte * 2), ("functions", ctypes.c_void_p * (POSITION + 1)))


def log_in(module: str, session: pkcs11.Session, pin: str) -> int:
    """Log the user in to an open session. Return the token's code: 0 is CKR_OK.

    ``module``: the library that opened the session. It is loaded already, so this loads no second
    one.
    """
    library = ctypes.CDLL(module)
    functions = ctypes.POINTER(_FunctionList)()
    library.C_GetFunctionList.restype = ctypes.c_ulong
    number = int(library.C_GetFunctionList(ctypes.byref(functions)))
    if number != 0:
        return number
    prototype = ctypes.CFUNCTYPE(
        ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_ulong
    )
    c_login = prototype(functions.contents.functions[POSITION])
    handle = getattr(session, "handle")  # noqa: B009 - missing in python-pkcs11's types
    secret = pin.encode()
    return int(c_login(handle, CKU_USER, secret, len(secret)))
