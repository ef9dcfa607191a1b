"""Which files keep a secret: the same for daemons and for the client library."""

import stat
from pathlib import Path

CREDENTIALS = "CREDENTIALS_DIRECTORY"
"""The variable in which systemd says where a unit's credentials are (systemd.exec(5))."""


def others_may_read(path: Path, mode: int, credentials: str | None) -> bool:
    """By its mode; in a systemd credential's, the group's bit stands for an access list.

    Since systemd 254 that list lets in the unit's own user, and the folder nobody else.
    ``credentials``: the folder of this process's credentials, where it has any.
    """
    is_credential = credentials is not None and path.parent == Path(credentials)
    expected = stat.S_IRGRP if is_credential else 0
    return bool(mode & (stat.S_IRWXG | stat.S_IRWXO) & ~expected)
