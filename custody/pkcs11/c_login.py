"""C_Login, called alone. Workers only.

python-pkcs11 opens a session and logs in with one call. An error of that call does not say which
of the two failed, but only a failed login may have been counted as a wrong PIN.
"""

import ctypes

import pkcs11
from custody.pkcs11.c_functions import function

CKU_USER = 1
POSITION = 18
"""Of C_Login in CK_FUNCTION_LIST, counted from 0 (PKCS#11 3.1, header file pkcs11f.h)."""


def log_in(module: str, session: pkcs11.Session, pin: str | None) -> int:
    """Log the user in to an open session. Return the token's code: 0 is CKR_OK.

    ``pin``: None if the user enters it at the token (PKCS#11 3.1, section 5.6.8).
    ``module``: the library that opened the session.
    """
    c_login = function(
        module, POSITION, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_ulong
    )
    handle = getattr(session, "handle")  # noqa: B009 - missing in python-pkcs11's types
    secret = None if pin is None else pin.encode()
    return int(c_login(handle, CKU_USER, secret, len(secret or b"")))
