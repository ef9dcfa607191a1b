"""Loads a module, finds the token and logs in to a session. Runs in worker processes only."""

from collections.abc import Callable
from pathlib import Path

import pkcs11
from custody.pkcs11 import token_traits, wrap_mechanisms
from custody.pkcs11.attributes import NestedAttributeMapper
from custody.pkcs11.c_login import is_logged_out, log_in
from custody.pkcs11.endings import Ending, Step, ending
from custody.pkcs11.messages import Asking, Hello, Obstacle, PinStanding
from custody.pkcs11.return_codes import code_name
from custody.pkcs11.session_errors import name_of as name_of
from custody.pkcs11.slots import Slots, SlotsUnknown, Wanted, search, token_in
from pkcs11 import TokenFlag
from pkcs11.exceptions import PKCS11Error


class CannotStart(Exception):
    """Something between the configuration and a working session, and the operator's next step."""

    def __init__(self, obstacle: Obstacle, what: str, todo: str) -> None:
        super().__init__(what)
        self.obstacle = obstacle
        self.what = what
        self.todo = todo


def open_session(hello: Hello, tell: Callable[[Asking], None] = lambda _: None) -> pkcs11.Session:
    """Log in once. Raises CannotStart; its obstacle says what the token's answer means.

    ``tell`` is called before each slot is asked, and when the token has been found.
    """
    token_traits.use(hello.traits)
    token = _find_token(hello, tell)
    _require_wrap_mechanism(token)
    _heed_pin_count(token.flags, hello)
    label = hello.token_label
    try:
        session = token.open(
            rw=hello.purpose == "administration" or hello.traits.sessions == "read-write",
            attribute_mapper=NestedAttributeMapper(),
        )
    except PKCS11Error as error:
        raise CannotStart(
            Obstacle.SESSION,
            f"cannot open a session on the token {label!r}: {name_of(error)}",
            Ending.NO_SESSION.facts.operator,
        ) from None
    if hello.traits.login == "none":
        _require_no_login(hello, session)
        return session
    pin = hello.pin if hello.traits.login == "user" else None
    number = log_in(hello.module, session, pin)
    if number != 0 and ending(Step.LOG_IN, number) is not Ending.CONTINUED:
        raise _no_login(hello, number)
    return session


def _require_no_login(hello: Hello, session: pkcs11.Session) -> None:
    """Raise CannotStart if the token asks for a login and nobody is logged in.

    Some modules log in by themselves, and then the session says so.
    """
    asks = session.token.flags & TokenFlag.LOGIN_REQUIRED
    if asks and is_logged_out(hello.module, session):
        raise CannotStart(
            Obstacle.LOGIN,
            f'the token {hello.token_label!r} asks for a login, and login = "none" makes none',
            "Take login out of the configuration and name the PIN file in pin_file, or set login = "
            '"protected-path" if a person enters the PIN at the token.',
        )


def slot_of(session: pkcs11.Session) -> int:
    """Return the number of the slot that a session's token is in."""
    slot: int = getattr(session.token.slot, "slot_id")  # noqa: B009 - missing in its types
    return slot


def _no_login(hello: Hello, number: int) -> CannotStart:
    label = hello.token_label
    end = ending(Step.LOG_IN, number)
    what = f"cannot log in to the token {label!r}: {code_name(number)}"
    match end:
        case Ending.PIN_REFUSED:
            what = f"the token {label!r} refuses the PIN ({code_name(number)})"
            obstacle = Obstacle.PIN
        case Ending.LOGIN_STOPPED:
            obstacle = Obstacle.LOGIN_STOPPED
        case _:
            return CannotStart(Obstacle.LOGIN_UNJUDGED, what, end.facts.operator)
    todo = end.facts.operator
    if hello.traits.login != "user":
        what += ', with login = "protected-path"'
        todo = f"{_NOT_FROM_HERE}{_retry_pin(hello)}"
    return CannotStart(obstacle, f"{what}; the PIN is not tried again", todo)


_NOT_FROM_HERE = (
    "If no person enters the PIN at the token, take login out of the configuration and name the "
    "PIN file in pin_file. Otherwise see in the vendor's tool whether the PIN is set, locked or "
    "expired, and enter the right PIN at the token, with: "
)


def _find_token(hello: Hello, tell: Callable[[Asking], None]) -> pkcs11.Token:
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
            Ending.NOT_LOADED.facts.operator,
        ) from None
    try:
        found = search(
            hello.module,
            Wanted(hello.token_label, hello.traits.token_serial, hello.traits.slot),
            hello.slot,
            hello.hung_slots,
            lambda slot: tell(Asking(slot=slot)),
        )
        tell(Asking(slot=None, skipped=found.skipped))
        return token_in(library, hello.module, _only_slot(hello, found))
    except (PKCS11Error, SlotsUnknown) as error:
        answer = name_of(error) if isinstance(error, PKCS11Error) else str(error)
        raise CannotStart(
            Obstacle.TOKEN,
            f"cannot look for the token {hello.token_label!r}: {answer}",
            Ending.NO_TOKEN.facts.operator,
        ) from None


def _only_slot(hello: Hello, found: Slots) -> int:
    if len(found.matching) > 1:
        raise CannotStart(
            Obstacle.TOKEN,
            f"several tokens have the label {hello.token_label!r}, in the slots "
            f"{', '.join(map(str, found.matching))}",
            "Which one is meant must never be a guess: give each token its own label, or name "
            "token_serial or slot in the configuration.",
        )
    if not found.matching:
        others = f" ({'; '.join(found.skipped)})" if found.skipped else ""
        raise CannotStart(
            Obstacle.TOKEN,
            f"the module {hello.module} has no token {_wanted(hello)}{others}",
            "Correct token_label, token_serial or slot in the configuration, initialise the token, "
            "or check the HSM's connection.",
        )
    return found.matching[0]


def _wanted(hello: Hello) -> str:
    traits = hello.traits
    serial = "" if traits.token_serial is None else f" with the serial {traits.token_serial!r}"
    slot = "" if traits.slot is None else f" in slot {traits.slot}"
    return f"{hello.token_label!r}{serial}{slot}"


def _require_wrap_mechanism(token: pkcs11.Token) -> None:
    """Raise CannotStart if the token has none of the mechanisms that the configuration names."""
    names = token_traits.in_use().wrap_mechanisms
    refusals = [
        f"{name} ({refusal})"
        for name in names
        if (refusal := wrap_mechanisms.refusal_of(token, name)) is not None
    ]
    if names and len(refusals) == len(names):
        raise CannotStart(
            Obstacle.MECHANISM,
            f"the token {token.label!r} has none of wrap_mechanisms: {', '.join(refusals)}",
            "Correct wrap_mechanisms in the configuration: the vendor's documents have the number, "
            "and for some vendors hsm-driver profile show. Without this setting, the standard "
            "mechanisms are tried.",
        )


def _heed_pin_count(flags: TokenFlag, hello: Hello) -> None:
    """Make no login that could lock the token (CK_TOKEN_INFO flags; PKCS#11 3.1, section 3.2)."""
    if hello.traits.login == "none":
        return
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
        again = (
            "Write the right PIN into the PIN file again. If it is right: "
            if hello.traits.login == "user"
            else "Enter the right PIN at the token, with: "
        )
        raise CannotStart(
            Obstacle.LOGIN,
            f"the last login had no answer, and the token {hello.token_label!r} counts a wrong PIN",
            f"{again}{_retry_pin(hello)}",
        )


def _retry_pin(hello: Hello) -> str:
    traits = hello.traits
    return token_traits.retry_pin(
        token_traits.token_name(hello.token_label, traits.token_serial, traits.slot)
    )


def _locked(label: str) -> CannotStart:
    return CannotStart(
        Obstacle.LOGIN,
        f"the user PIN of the token {label!r} is locked",
        "Let the security officer set it again, with the vendor's tool.",
    )
