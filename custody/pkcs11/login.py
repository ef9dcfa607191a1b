"""Loads a module, finds the token and logs in to a session. Runs in worker processes only."""

from pathlib import Path

import pkcs11
from custody.pkcs11.attributes import NestedAttributeMapper
from custody.pkcs11.messages import Hello, Obstacle, PinStanding
from pkcs11 import TokenFlag
from pkcs11.exceptions import (
    MultipleTokensReturned,
    NoSuchToken,
    PinIncorrect,
    PinInvalid,
    PinLenRange,
    PinLocked,
    PKCS11Error,
)


class CannotStart(Exception):
    """Something between the configuration and a working session, and the operator's next step."""

    def __init__(self, obstacle: Obstacle, what: str, todo: str) -> None:
        super().__init__(what)
        self.obstacle = obstacle
        self.what = what
        self.todo = todo


UNMAPPED = {
    "0x1b": "ActionProhibited",  # CKR_ACTION_PROHIBITED
    "0x68": "KeyFunctionNotPermitted",  # CKR_KEY_FUNCTION_NOT_PERMITTED
}
"""Answers that python-pkcs11 has no names for (PKCS#11 3.1, section 5.1)."""


def name_of(error: PKCS11Error) -> str:
    """Return the token's own words. They contain no secret: PKCS#11 has only codes."""
    text = str(error)
    for code, name in UNMAPPED.items():
        if text.endswith(f" {code}"):
            return name
    return f"{type(error).__name__} ({text})" if text else type(error).__name__


def open_session(hello: Hello) -> pkcs11.Session:
    """Log in once. Raises CannotStart; obstacle PIN means that the token has refused the PIN."""
    token = _find_token(hello)
    _heed_pin_count(token.flags, hello)
    try:
        return token.open(
            rw=hello.purpose == "administration",
            user_pin=hello.pin,
            attribute_mapper=NestedAttributeMapper(),
        )
    except (PinIncorrect, PinInvalid, PinLenRange):
        raise CannotStart(
            Obstacle.PIN,
            f"the token {hello.token_label!r} refuses the PIN; it is not tried again",
            "Put the right PIN into the PIN file: once the file has changed it is tried again.",
        ) from None
    except PinLocked:
        raise _locked(hello.token_label) from None
    except PKCS11Error as error:
        raise CannotStart(
            Obstacle.LOGIN,
            f"cannot log in to the token {hello.token_label!r}: {name_of(error)}",
            "See whether its user PIN is set and whether it has sessions left.",
        ) from None


def _find_token(hello: Hello) -> pkcs11.Token:
    if not Path(hello.module).is_file():
        raise CannotStart(
            Obstacle.MODULE,
            f"there is no PKCS#11 module {hello.module}",
            "Install the vendor's client library, or correct module in the configuration.",
        )
    try:
        library = pkcs11.lib(hello.module)
    except PKCS11Error as error:
        raise CannotStart(
            Obstacle.MODULE,
            f"cannot load the PKCS#11 module {hello.module}: {name_of(error)}",
            "See whether it is this machine's architecture and finds its own configuration.",
        ) from None
    try:
        return library.get_token(token_label=hello.token_label)
    except NoSuchToken:
        raise CannotStart(
            Obstacle.TOKEN,
            f"the module {hello.module} has no token {hello.token_label!r}",
            "Correct token_label in the configuration, initialise the token, or check the HSM's "
            "connection.",
        ) from None
    except MultipleTokensReturned:
        raise CannotStart(
            Obstacle.TOKEN,
            f"several tokens have the label {hello.token_label!r}",
            "Give each token its own label: which one is meant must never be a guess.",
        ) from None
    except PKCS11Error as error:
        raise CannotStart(
            Obstacle.TOKEN,
            f"cannot look for the token {hello.token_label!r}: {name_of(error)}",
            "See to the HSM's connection.",
        ) from None


def _heed_pin_count(flags: TokenFlag, hello: Hello) -> None:
    """Make no login that could lock the token (CK_TOKEN_INFO flags; PKCS#11 3.1, section 3.2)."""
    if flags & TokenFlag.USER_PIN_LOCKED:
        raise _locked(hello.token_label)
    if hello.pin_standing is PinStanding.PROVEN:
        return
    if flags & TokenFlag.USER_PIN_FINAL_TRY:
        raise CannotStart(
            Obstacle.LOGIN,
            f"one more wrong PIN locks the token {hello.token_label!r}, and this PIN is unproven",
            "Log in once with the vendor's own tool and the right PIN; that clears the count.",
        )
    if hello.pin_standing is PinStanding.UNANSWERED and flags & TokenFlag.USER_PIN_COUNT_LOW:
        raise CannotStart(
            Obstacle.LOGIN,
            f"the last login had no answer, and the token {hello.token_label!r} counts a wrong PIN",
            "Write the right PIN into the PIN file again, or say --retry-pin if it is right.",
        )


def _locked(label: str) -> CannotStart:
    return CannotStart(
        Obstacle.LOGIN,
        f"the user PIN of the token {label!r} is locked",
        "Let the security officer set it again, with the vendor's tool.",
    )
