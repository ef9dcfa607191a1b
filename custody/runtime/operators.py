"""Who types a command."""

import getpass
import os


def operator_name() -> str:
    """The user's name; a user id without a name must not keep anybody from working."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"
