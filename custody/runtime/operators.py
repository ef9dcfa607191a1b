"""The name of the operator who types a command."""

import getpass
import os


def operator_name() -> str:
    """Return the user's name, or the user id: a missing name must not stop a command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"
