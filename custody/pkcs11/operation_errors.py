"""What the table of endings says about errors of the token during an operation. Workers only."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from custody.pkcs11.endings import Ending, Step, ending
from custody.pkcs11.errors import (
    CurveNotSupported,
    DataRefused,
    HsmFailure,
    HsmMisconfigured,
    KeyNotWrappable,
    KeyUnusable,
)
from custody.pkcs11.faults import FAULTS
from custody.pkcs11.return_codes import NUMBER_OF
from custody.pkcs11.session_errors import SessionLost, name_of, number_of
from pkcs11.exceptions import PKCS11Error

TRIES = 3
"""How often the token fails to open one stored key before the key is held to be at fault."""

FAILURES: dict[Ending, type[HsmFailure]] = {
    Ending.BUSY: HsmFailure,
    Ending.DEVICE_TRIED: HsmFailure,
    Ending.MISCONFIGURED: HsmMisconfigured,
    Ending.DATA_REFUSED: DataRefused,
    Ending.NOT_WRAPPABLE: KeyNotWrappable,
    Ending.CURVE_REFUSED: CurveNotSupported,
}
"""The failure of each ending that fails the operation alone. All others end the session."""

TRIED = frozenset({Ending.KEY_TRIED, Ending.TEMPLATE_TRIED, Ending.DEVICE_TRIED})
"""The endings after which the worker tries to open the key again."""

Opened = TypeVar("Opened")


def ending_of(step: Step, error: PKCS11Error) -> Ending:
    """Return the ending of an error. An error of python-pkcs11 itself is like a general error."""
    number = number_of(error)
    return ending(step, NUMBER_OF["CKR_GENERAL_ERROR"] if number is None else number)


def failure_of(step: Step, error: PKCS11Error, asked: str) -> HsmFailure:
    """Note an error and return its failure. Raise SessionLost if the worker must be replaced.

    ``asked``: what the token was asked to do, with the mechanism or attributes.
    """
    FAULTS.note(step, error)
    said = f"cannot {asked}: the token answered {name_of(error)}"
    kind = FAILURES.get(ending_of(step, error))
    if kind is None:
        raise SessionLost(said)
    return kind(said)


@contextmanager
def translated(step: Step, asked: str) -> Iterator[None]:
    """Raise the failure of an error within, or SessionLost."""
    try:
        yield
    except PKCS11Error as error:
        raise failure_of(step, error, asked) from None


def opened(
    step: Step,
    attempt: Callable[[], Opened],
    prove: Callable[[PKCS11Error], None],
    unusable: str,
) -> Opened:
    """Return what an attempt to unwrap or decrypt returns, after at most three attempts.

    Tokens answer a damaged key with any error, and any error may be the token's own. So ``prove``
    shows after each error that the token can open keys, or raises what is at fault instead. Raises
    KeyUnusable, with the text ``unusable``, if only this key fails, each time with one answer.
    Raises HsmFailure instead if that answer is about the device, which does not prove damage.
    """
    first: PKCS11Error | None = None
    for _ in range(TRIES):
        try:
            result = attempt()
        except PKCS11Error as error:
            if ending_of(step, error) not in TRIED:
                raise failure_of(step, error, step.value) from None
            FAULTS.note(step, error)
            if first is not None and number_of(error) != number_of(first):
                raise SessionLost(
                    f"cannot {step.value}: the token answered {name_of(first)}, then "
                    f"{name_of(error)}"
                ) from None
            first = error
            prove(error)
        else:
            if first is not None:
                FAULTS.ends_because = f"the token answered {name_of(first)} once, to {step.value}"
            return result
    assert first is not None  # every attempt failed
    said = f"({name_of(first)}, {TRIES} times)"
    if ending_of(step, first) is Ending.DEVICE_TRIED:
        raise HsmFailure(f"cannot {step.value}, though other keys work: perhaps {unusable} {said}")
    raise KeyUnusable(f"{unusable} {said}")
