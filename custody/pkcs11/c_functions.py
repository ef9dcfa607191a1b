"""Functions of a PKCS#11 library, called without python-pkcs11. Workers only."""

import ctypes
from collections.abc import Callable
from typing import Any

FUNCTIONS = 68
"""Entries of CK_FUNCTION_LIST (PKCS#11 3.1, header file pkcs11f.h)."""


class _FunctionList(ctypes.Structure):
    _fields_ = (("version", ctypes.c_ubyte * 2), ("functions", ctypes.c_void_p * FUNCTIONS))


def function(module: str, position: int, *arguments: Any) -> Callable[..., int]:
    """Return the function at a position of CK_FUNCTION_LIST. ``arguments``: the C types it takes.

    The process has loaded the library already, so this loads no second one. If the library returns
    no list of functions, the returned function does nothing and returns the library's code.
    """
    library = ctypes.CDLL(module)
    functions = ctypes.POINTER(_FunctionList)()
    library.C_GetFunctionList.restype = ctypes.c_ulong
    number = int(library.C_GetFunctionList(ctypes.byref(functions)))
    if number != 0:
        return lambda *_: number
    prototype = ctypes.CFUNCTYPE(ctypes.c_ulong, *arguments)
    return prototype(functions.contents.functions[position])
