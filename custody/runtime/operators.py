"""The operator who types a command, and the reason that the operator gives."""

import os
import pwd
from pathlib import Path

from custody.runtime.errors import OperatorError

MAX_REASON = 500
"""Characters. The limit is also in ``custody.wire.audit.Restored``."""
LOGIN_UID = Path("/proc/self/loginuid")
"""The user who logged in. The kernel keeps it through su and sudo (proc(5))."""
NOBODY_LOGGED_IN = 2**32 - 1


def operator_name() -> str:
    """Return the names of the host's users who run this command: "bo", or "bo as hsm-driver".

    The second form says who logged in, and then the user of the process, where these differ. Only
    the user of the process is certain: a process of a service, where nobody has logged in, may
    state a login. The environment says nothing: each user can change it. A user without a name is
    "user 1000", because a missing name must not stop a command.
    """
    name, login = _name(os.getuid()), _login_uid()
    if login is None or login == os.getuid():
        return name
    return f"{_name(login)} as {name}"


def _login_uid() -> int | None:
    """Return None if nobody logged in, as in a service, or if the kernel does not say it."""
    try:
        found = int(LOGIN_UID.read_text())
    except (OSError, ValueError):
        return None
    return None if found == NOBODY_LOGGED_IN else found


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def reason_of(text: str | None, example: str) -> str:
    """Return the reason for a record, without blanks around it.

    ``example``: a reason that fits the command. Raise OperatorError if there is no reason, if it
    is too long, or if it is not UTF-8, which no answer could show.
    """
    reason = (text or "").strip()
    if not 1 <= len(reason) <= MAX_REASON:
        raise OperatorError(
            f"a reason has 1 to {MAX_REASON} characters, and this one has {len(reason)}",
            f'Say what happened and who decided: --reason "{example}".',
        )
    try:
        reason.encode()
    except UnicodeEncodeError:
        raise OperatorError(
            "the reason is not UTF-8", "Give it in UTF-8: the terminal uses another encoding."
        ) from None
    return reason
