"""The audit as admins read it by the API: the control plane's own records, and all signed heads."""

import base64
import binascii
import json

from pydantic import AwareDatetime, BaseModel, ValidationError

from custody.control_plane.audit.own_chain import NAME, signed_head
from custody.control_plane.database import AnyRow, Database
from custody.control_plane.problems import Code, ProblemError
from custody.control_plane.resources.pages import PageRequest
from custody.wire.resources import AuditRecord, LatestHead, Page

MAX_SEQUENCE = 2**63 - 1

# a record is compact JSON of ours: no text inside a value contains an unescaped quote
_PAGE = """
    SELECT sequence, record, hash, payload, signature, signing_key_id FROM audit
    WHERE sequence < :before
        AND (:kind::bytea IS NULL OR position(:kind::bytea IN record) > 0)
        AND (:operator::bytea IS NULL OR position(:operator::bytea IN record) > 0)
    ORDER BY sequence DESC LIMIT :limit
"""
_OWN_HEAD = """
    SELECT :node::varchar AS node, NULL AS node_group, NULL AS identity_public_key,
        NULL AS received_at, NULL AS audit_alarm,
        sequence, hash, payload, signature, signing_key_id
    FROM audit ORDER BY sequence DESC LIMIT 1
"""
_HEADS = """
    SELECT id AS node, node_group, identity_public_key, audit_alarm, last.* FROM nodes
    CROSS JOIN LATERAL (
        SELECT sequence, hash, payload, signature, signing_key_id, received_at FROM audit_heads
        WHERE node_id = nodes.id AND set_aside_by IS NULL
        ORDER BY sequence DESC, received_at DESC LIMIT 1
    ) AS last
    ORDER BY id
"""


class AuditReader:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def records(
        self, page: PageRequest, kind: str | None, operator: str | None
    ) -> Page[AuditRecord]:
        """Return a page of the control plane's own records, newest first. Raise ProblemError."""
        values = {
            "before": MAX_SEQUENCE if page.cursor is None else _before(page.cursor),
            "kind": _member("kind", kind),
            "operator": _member("operator", operator),
            "limit": page.limit + 1,
        }
        rows = await self._database.rows(_PAGE, values)
        shown = rows[: page.limit]
        more = len(rows) > page.limit
        return Page(
            items=[_record(row) for row in shown],
            next_cursor=_cursor(shown[-1].sequence) if more else None,
        )

    async def heads(self) -> Page[LatestHead]:
        """Return the last head of the control plane's chain, and of each node that reported one."""
        own = await self._database.rows(_OWN_HEAD, {"node": NAME})
        nodes = await self._database.rows(_HEADS)
        return Page(items=[_head(row) for row in (*own, *nodes)], next_cursor=None)


class _Said(BaseModel):
    at: AwareDatetime
    kind: str
    operator: str
    details: dict[str, str | None]


def _record(row: AnyRow) -> AuditRecord:
    try:
        said = _Said.model_validate_json(row.record)
    except ValidationError:  # somebody changed the row: audit verify finds it
        said = None
    return AuditRecord(
        sequence=row.sequence,
        at=said and said.at,
        kind=said and said.kind,
        operator=said and said.operator,
        details=said.details if said else {},
        record=row.record,
        hash=row.hash,
        head=signed_head(row),
    )


def _head(row: AnyRow) -> LatestHead:
    return LatestHead(
        node=row.node,
        group=row.node_group,
        sequence=row.sequence,
        hash=row.hash,
        head=signed_head(row),
        identity_key=row.identity_public_key,
        received_at=row.received_at,
        alarm=row.audit_alarm,
    )


def _member(name: str, value: str | None) -> bytes | None:
    if value is None:
        return None
    return f"{json.dumps(name)}:{json.dumps(value)}".encode()


def _cursor(sequence: int) -> str:
    return base64.urlsafe_b64encode(str(sequence).encode()).decode().rstrip("=")


def _before(cursor: str) -> int:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        sequence = int(text) if text.isdigit() else 0
    except (binascii.Error, ValueError):
        sequence = 0
    if not 0 < sequence <= MAX_SEQUENCE:
        raise ProblemError(
            Code.INVALID_REQUEST, "cursor: give the next_cursor of an earlier page, unchanged"
        )
    return sequence
