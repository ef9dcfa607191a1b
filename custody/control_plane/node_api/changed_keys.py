"""The keys of a node since a time: what a database that was restored from a backup may lack."""

from pydantic import AwareDatetime, TypeAdapter, ValidationError

from custody.control_plane.database import Database
from custody.control_plane.node_api.authorisation import RegisteredNode
from custody.control_plane.problems import Code, ProblemError
from custody.wire.jobs import JobKind
from custody.wire.node_api import ChangedKey, ChangedKeys

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


async def changed_keys(database: Database, node: RegisteredNode, since: str | None) -> ChangedKeys:
    """Return the node's keys that were made, refreshed or repaired since a time (RFC 3339).

    A derived key is not among them: it uses its root's shares. Raise ProblemError.
    """
    try:
        time = TypeAdapter(AwareDatetime).validate_python(since)
    except ValidationError:
        raise ProblemError(
            Code.INVALID_REQUEST, "since must be a time as RFC 3339 has it, with its offset."
        ) from None
    rows = await database.rows(
        _CHANGED,
        {
            "group": node.group,
            "kinds": KINDS,
            "since": time,
            "node": node.id,
            "limit": MAX_KEYS + 1,
        },
    )
    keys = [
        ChangedKey(
            key_id=row.id,
            generation=row.generation,
            changed_at=row.changed_at,
        )
        for row in rows[:MAX_KEYS]
    ]
    return ChangedKeys(keys=keys, is_complete=len(rows) <= MAX_KEYS)
