"""The return code behind an error of python-pkcs11, in one place. Workers only."""

import re

from custody.pkcs11.return_codes import CANNOT, NUMBER_OF, Kind, code_name, kind_of
from pkcs11 import exceptions
from pkcs11.exceptions import PKCS11Error


class SessionLost(Exception):
    """The worker must be replaced; the operation may run again in another."""


def _squeezed(name: str) -> str:
    return name.removeprefix("CKR_").replace("_", "").lower()


_SPELLED_OTHERWISE = {
    "AnotherUserAlreadyLoggedIn": "CKR_USER_ANOTHER_ALREADY_LOGGED_IN",
    "FunctionCancelled": "CKR_FUNCTION_CANCELED",
    "TokenNotRecognised": "CKR_TOKEN_NOT_RECOGNIZED",
}
_BY_SQUEEZED = {_squeezed(name): number for name, number in NUMBER_OF.items()}
_BY_CLASS = {
    name: NUMBER_OF[_SPELLED_OTHERWISE[name]]
    if name in _SPELLED_OTHERWISE
    else _BY_SQUEEZED[_squeezed(name)]
    for name in vars(exceptions)
    if name in _SPELLED_OTHERWISE or _squeezed(name) in _BY_SQUEEZED
}
"""The classes of python-pkcs11 that stand for a return code."""
_BY_TEXT = {
    "Buffer was too small": "CKR_BUFFER_TOO_SMALL",
    "Initialisation error (already initialized)": "CKR_CRYPTOKI_ALREADY_INITIALIZED",
    "Initialisation error (not initialized)": "CKR_CRYPTOKI_NOT_INITIALIZED",
    "Parallel not supported": "CKR_SESSION_PARALLEL_NOT_SUPPORTED",
    "User type invalid": "CKR_USER_TYPE_INVALID",
}
_UNMAPPED = re.compile(r"Unmapped error code (0x[0-9a-f]+)L?")


def number_of(error: PKCS11Error) -> int | None:
    """Return the code that the token returned; None if python-pkcs11 itself made the error.

    python-pkcs11 has a class for most codes. It puts the others into the text of a PKCS11Error.
    """
    by_class = _BY_CLASS.get(type(error).__name__)
    if by_class is not None:
        return by_class
    text = str(error)
    unmapped = _UNMAPPED.fullmatch(text)
    if unmapped is not None:
        return int(unmapped[1], 16)
    for start, name in _BY_TEXT.items():
        if text.startswith(start):
            return NUMBER_OF[name]
    return None


def name_of(error: PKCS11Error) -> str:
    """Return the token's answer, for people. It has no secret: PKCS#11 has only codes."""
    number = number_of(error)
    return str(error) or type(error).__name__ if number is None else code_name(number)


def kind_of_error(error: PKCS11Error) -> Kind:
    """Return what the error says. An error that python-pkcs11 itself made is unclear."""
    number = number_of(error)
    return Kind.UNCLEAR if number is None else kind_of(number)


def is_loss(error: PKCS11Error) -> bool:
    """Return whether nothing that the worker knows of the token can be relied on any more."""
    return kind_of_error(error) in (Kind.SESSION, Kind.DEVICE)


def raise_if_lost(error: PKCS11Error) -> None:
    """Raise the error again if the session is lost."""
    if is_loss(error):
        raise error


def raise_unless_refusal(error: PKCS11Error) -> None:
    """Raise the error again if it does not say that the token cannot do this."""
    if not is_refusal(error):
        raise error


def is_refusal(error: PKCS11Error) -> bool:
    """Return whether the token says that it cannot do this. Any other error may pass."""
    return kind_of_error(error) in CANNOT
