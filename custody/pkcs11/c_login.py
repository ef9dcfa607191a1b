"""C_Login, called alone, and whether somebody is logged in. Workers only.

python-pkcs11 opens a session and logs in with one call. An error of that call does not say which
of the two failed, but only a failed login may have been counted as a wrong PIN.
"""

import ctypes

import pkcs11
from custody.pkcs11.c_functions import function

CKU_USER = 1
POSITION = 18
"""Of C_Login in CK_FUNCTION_LIST, counted from 0 (PKCS#11 3.1, header file pkcs11f.h)."""
INFO_POSITION = 15
"""Of C_GetSessionInfo."""
PUBLIC_STATES = (0, 2)
"""CKS_RO_PUBLIC_SESSION and CKS_RW_PUBLIC_SESSION: nobody is logged in."""


class _SessionInfo(ctypes.Structure):
    """CK_SESSION_INFO (PKCS#11 3.1, section 3.3)."""

    _fields_ = tuple((name, ctypes.c_ulong) for name in ("slot", "state", "flags", "device_error"))


def log_in(module: str, session: pkcs11.Session, pin: str | None) -> int:
    """Log the user in to an open session. Return the token's code: 0 is CKR_OK.

    ``pin``: None if the user enters it at the token (PKCS#11 3.1, section 5.6.8).
    ``module``: the library that opened the session.
    """
    c_login = function(
        module, POSITION, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_ulong
    )
    secret = None if pin is None else pin.encode()
    return int(c_login(_handle(session), CKU_USER, secret, len(secret or b"")))


def is_logged_out(module: str, session: pkcs11.Session) -> bool:
    """Return whether the token says that nobody is logged in to a session.

    ``module``: the library that opened the session.
    """
    info = _SessionInfo()
    get_info = function(module, INFO_POSITION, ctypes.c_ulong, ctypes.POINTER(_SessionInfo))
    return get_info(_handle(session), ctypes.byref(info)) == 0 and info.state in PUBLIC_STATES


def _handle(session: pkcs11.Session) -> int:
    handle: int = getattr(session, "handle")  # noqa: B009 - missing in python-pkcs11's types
    return handle
