"""The check that a file keeps a secret, for daemons and the client library."""

import stat
from pathlib import Path

CREDENTIALS = "CREDENTIALS_DIRECTORY"
"""The variable with the folder of a unit's systemd credentials (systemd.exec(5))."""


def others_may_read(path: Path, mode: int, credentials: str | None) -> bool:
    """Return True if the mode of a file lets other users read it.

    In a systemd credential's mode, the group's bit stands for an access list. Since systemd 254,
    this list admits the unit's own user, and the folder admits nobody else. ``credentials``: the
    folder of this process's credentials, or None.
    """
    is_credential = credentials is not None and path.parent == Path(credentials)
    expected = stat.S_IRGRP if is_credential else 0
    return bool(mode & (stat.S_IRWXG | stat.S_IRWXO) & ~expected)
