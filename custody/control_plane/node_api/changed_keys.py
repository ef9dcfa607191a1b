"""The keys of a node since a time: what a database that was restored from a backup may lack."""

from pydantic import AwareDatetime, TypeAdapter, ValidationError

from custody.control_plane.database import Database
from custody.control_plane.node_api.authorisation import RegisteredNode
from custody.control_plane.problems import Code, ProblemError
from custody.wire.jobs import JobKind
from custody.wire.node_api import ArchivedSince, ChangedKey, ChangedKeys

MAX_KEYS = 10_000
"""Keys in one answer."""
KINDS = [
    kind.value
    for kind in (
        JobKind.GENERATE_KEY,
        JobKind.IMPORT_KEY,
        JobKind.COPY_KEY,
        JobKind.REFRESH_KEY,
        JobKind.REPAIR_SHARE,
    )
]

_CHANGED = """
    SELECT keys.id, keys.generation, max(jobs.finished_at) AS changed_at
    FROM jobs JOIN keys ON keys.id = jobs.key_id
    WHERE jobs.node_group = :group AND jobs.kind = ANY(:kinds::varchar[]) AND jobs.state = 'Done'
        AND jobs.kind <> 'Sign' AND jobs.finished_at >= :since
        AND keys.public_key IS NOT NULL AND keys.root_id IS NULL
        AND (keys.signer_group IS NULL OR EXISTS (
            SELECT FROM signer_group_members AS member
            WHERE member.group_name = keys.signer_group AND member.signer = :node))
    GROUP BY keys.id ORDER BY changed_at DESC, keys.id LIMIT :limit
"""

_ARCHIVED = """
    WITH done AS (
        SELECT DISTINCT ON (key_id) key_id, id FROM jobs
        WHERE node_group = :group AND kind = 'ArchiveKey' AND kind <> 'Sign' AND state = 'Done'
            AND finished_at >= :since
        ORDER BY key_id, finished_at DESC
    )
    SELECT coalesce(keys.root_id, keys.id) AS root_id, keys.path,
        coalesce(open.id, done.id) AS request_id,
        coalesce(keys.archived_at, open.created_at) AS archived_at
    FROM keys LEFT JOIN done ON done.key_id = keys.id
        LEFT JOIN jobs AS open ON open.id = keys.archiving AND open.finished_at IS NULL
    WHERE keys.node_group = :group AND (keys.archived_at IS NOT NULL OR keys.archiving IS NOT NULL)
        AND (open.id IS NOT NULL OR keys.archived_at >= :since
            OR (done.id IS NOT NULL AND keys.archived_at IS NOT NULL))
        AND (keys.signer_group IS NULL OR EXISTS (
            SELECT FROM signer_group_members AS member
            WHERE member.group_name = keys.signer_group AND member.signer = :node))
    ORDER BY archived_at DESC, keys.id LIMIT :limit
"""
"""Also of open requests: a signer that was restored may have forgotten its part of one. The words
``kind <> 'Sign'`` let PostgreSQL use the index of finished changes."""


async def changed_keys(database: Database, node: RegisteredNode, since: str | None) -> ChangedKeys:
    """Return the node's keys that were made, changed or archived since a time (RFC 3339).

    A derived key is only among the archived ones: it uses its root's shares. Raise ProblemError.
    """
    try:
        time = TypeAdapter(AwareDatetime).validate_python(since)
    except ValidationError:
        raise ProblemError(
            Code.INVALID_REQUEST, "since must be a time as RFC 3339 has it, with its offset."
        ) from None
    values = {"group": node.group, "since": time, "node": node.id, "limit": MAX_KEYS + 1}
    rows = await database.rows(_CHANGED, {**values, "kinds": KINDS})
    archived = await database.rows(_ARCHIVED, values)
    keys = [
        ChangedKey(
            key_id=row.id,
            generation=row.generation,
            changed_at=row.changed_at,
        )
        for row in rows[:MAX_KEYS]
    ]
    return ChangedKeys(
        keys=keys,
        is_complete=max(len(rows), len(archived)) <= MAX_KEYS,
        archived=tuple(
            ArchivedSince(
                root_id=row.root_id,
                path=list(row.path or ()),
                request_id=row.request_id,
                archived_at=row.archived_at,
            )
            for row in archived[:MAX_KEYS]
        ),
    )
