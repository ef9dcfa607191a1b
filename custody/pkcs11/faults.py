"""What the token answered with errors in this worker, until the daemon is told. Workers only.

A worker is one process with one session, so this is one record for the process.
"""

from typing import Any

from custody.pkcs11.endings import Step
from custody.pkcs11.messages import Fault
from custody.pkcs11.session_errors import name_of, number_of
from pkcs11.exceptions import PKCS11Error


class Faults:
    """``ends_because``: why this worker ends once it has answered; None while it continues."""

    def __init__(self) -> None:
        self._seen: list[Fault] = []
        self.ends_because: str | None = None

    def note(self, step: Step, error: PKCS11Error) -> None:
        """Record an error of a step."""
        number = number_of(error)
        if number is not None:
            self._seen.append(Fault(step=step, code=number))

    def take(self) -> list[Fault]:
        """Return the errors since the last call."""
        seen, self._seen = self._seen, []
        return seen


FAULTS = Faults()


def destroy(*objects: Any) -> None:
    """Destroy session objects. An object that stays is gone when the worker ends, so it ends."""
    for each in objects:
        try:
            each.destroy()
        except PKCS11Error as error:
            FAULTS.note(Step.DESTROY, error)
            FAULTS.ends_because = f"an object stays in the session: {name_of(error)}"
