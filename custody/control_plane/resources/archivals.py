"""Archived keys: which keys sign nothing, and get no new children.

A key that is archived stops the keys derived from it too. An open request to archive a key stops it
from its first moment on, before nodes have done it.
"""

from collections.abc import Sequence
from uuid import UUID

from custody.control_plane.database import Database
from custody.control_plane.jobs.queries import stopped
from custody.control_plane.problems import Code, ProblemError

MARK_ARCHIVING = "UPDATE keys SET archiving = :id WHERE id = :key_id"

_STOPPED = "SELECT " + stopped(":root_id::uuid", ":path::bigint[]") + " AS is_stopped"


def key_archived(key_id: UUID) -> ProblemError:
    """Return the problem of a request that an archived key does not do."""
    return ProblemError(
        Code.KEY_ARCHIVED,
        f"Key {key_id}, or a key that it is derived from, is archived or being archived. "
        "GET /v1/keys?archived=true lists archived keys, and POST /v1/keys/ID/unarchive lets one "
        "sign again.",
    )


async def require_unarchived(
    database: Database, key_id: UUID, root_id: UUID, path: Sequence[int]
) -> None:
    """Raise ProblemError key_archived if the key at this path is archived, or one above it."""
    row = await database.row(_STOPPED, {"root_id": root_id, "path": list(path)})
    if row is not None and row.is_stopped:
        raise key_archived(key_id)
