"""The operator who types a command, and the reason that the operator gives."""

import getpass
import os

from custody.runtime.errors import OperatorError

MAX_REASON = 500
"""Characters. The limit is also in ``custody.wire.audit.Restored``."""


def operator_name() -> str:
    """Return the user's name, or the user id: a missing name must not stop a command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def reason_of(text: str | None, example: str) -> str:
    """Return the reason for a record, without blanks around it.

    ``example``: a reason that fits the command. Raise OperatorError if there is no reason, or if
    it is too long.
    """
    reason = (text or "").strip()
    if not 1 <= len(reason) <= MAX_REASON:
        raise OperatorError(
            f"a reason has 1 to {MAX_REASON} characters, and this one has {len(reason)}",
            f'Say what happened and who decided: --reason "{example}".',
        )
    return reason
