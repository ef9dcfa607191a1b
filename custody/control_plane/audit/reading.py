"""The audit as admins read it by the API: the records of all chains, and their signed heads."""

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict

from custody.control_plane.audit.own_chain import NAME, begin_of_chain, signed_head
from custody.control_plane.database import AnyRow, Database
from custody.control_plane.problems import Code, ProblemError
from custody.control_plane.resources.pages import PageRequest
from custody.wire.audit import BEGIN, AuditPlace
from custody.wire.resources import AuditRecord, LatestHead, Page
from custody.wire.strict_json import parse_json

MAX_SEQUENCE = 2**63 - 1

# a record is compact JSON of ours: no text inside a value contains an unescaped quote
_PAGE = """
    SELECT :node::varchar AS node, sequence, record, hash, payload, signature, signing_key_id,
        (SELECT hash FROM audit AS earlier WHERE sequence = audit.sequence - 1) AS previous_hash
    FROM audit
    WHERE sequence < :before
        AND (:kind::bytea IS NULL OR position(:kind::bytea IN record) > 0)
        AND (:operator::bytea IS NULL OR position(:operator::bytea IN record) > 0
            OR position(:operator_as::bytea IN record) > 0)
    ORDER BY sequence DESC LIMIT :limit
"""
# no operator does the signatures, which are nearly all records; the others have an index
_PAGE_OF_NODE = """
    SELECT node_id AS node, sequence, record, hash, previous_hash, payload, signature,
        signing_key_id
    FROM node_audit_records
    WHERE node_id = :node AND set_aside_by IS NOT DISTINCT FROM :restore::integer
        AND sequence < :before
        AND (:kind::varchar IS NULL OR kind = :kind)
        AND (:operator::bytea IS NULL OR position(:operator::bytea IN record) > 0
            OR position(:operator_as::bytea IN record) > 0)
"""
_NOT_SIGN = "AND kind <> 'Sign'"
_NEWEST = "ORDER BY sequence DESC LIMIT :limit"
_IS_NODE = "SELECT FROM nodes WHERE id = :node"
_OWN_HEAD = """
    SELECT :node::varchar AS node, NULL AS node_group, NULL AS identity_public_key,
        NULL AS received_at, NULL AS audit_alarm,
        sequence, hash, payload, signature, signing_key_id,
        (SELECT min(sequence) FROM audit) AS records_from, sequence AS records_to
    FROM audit ORDER BY sequence DESC LIMIT 1
"""
_HEADS = """
    SELECT id AS node, node_group, identity_public_key, audit_alarm, last.*, records.* FROM nodes
    CROSS JOIN LATERAL (
        SELECT sequence, hash, payload, signature, signing_key_id, received_at FROM audit_heads
        WHERE node_id = nodes.id AND set_aside_by IS NULL
        ORDER BY sequence DESC, received_at DESC LIMIT 1
    ) AS last
    CROSS JOIN LATERAL (
        SELECT min(sequence) AS records_from, max(sequence) AS records_to FROM node_audit_records
        WHERE node_id = nodes.id AND set_aside_by IS NULL
    ) AS records
    ORDER BY id
"""


class AuditReader:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def records(
        self,
        page: PageRequest,
        node: str,
        kind: str | None = None,
        operator: str | None = None,
        restore: int | None = None,
    ) -> Page[AuditRecord]:
        """Return a page of a chain's records, newest first. Raise ProblemError.

        ``node``: NAME for the control plane's own chain. ``restore``: of a node; instead of the
        records in force, those that this restore has cost.
        """
        if node == NAME and restore is not None:
            raise ProblemError(Code.INVALID_REQUEST, "restore: give the node that was restored")
        values = {
            "node": node,
            "before": MAX_SEQUENCE if page.cursor is None else _before(page.cursor),
            "operator": _member("operator", operator),
            "operator_as": _member("operator", None if operator is None else f"{operator} as ", ""),
            "limit": page.limit + 1,
        }
        if node == NAME:
            rows = await self._database.rows(_PAGE, {**values, "kind": _member("kind", kind)})
            begin = await self._begin(rows)
        else:
            rows, begin = await self._rows_of_node({**values, "restore": restore}, kind), BEGIN
        shown = rows[: page.limit]
        more = len(rows) > page.limit
        return Page(
            items=[_record(row, begin) for row in shown],
            next_cursor=_cursor(shown[-1].sequence) if more else None,
        )

    async def _begin(self, rows: Sequence[AnyRow]) -> AuditPlace:
        """Return the place before the first own record that is not pruned, if a row needs it."""
        if not any(row.previous_hash is None and row.sequence > 1 for row in rows):
            return BEGIN
        sequence, hash_ = await begin_of_chain(self._database.rows)
        return AuditPlace(sequence=sequence, hash=hash_)

    async def _rows_of_node(self, values: dict[str, Any], kind: str | None) -> Sequence[AnyRow]:
        which = {"node": values["node"]}
        if await self._database.row(_IS_NODE, which) is None:
            raise ProblemError(Code.NOT_FOUND, f"There is no node {values['node']}.")
        is_rare = kind not in (None, "Sign") or values["operator"] is not None
        sql = f"{_PAGE_OF_NODE} {_NOT_SIGN if is_rare else ''} {_NEWEST}"
        return await self._database.rows(sql, {**values, "kind": kind})

    async def heads(self) -> Page[LatestHead]:
        """Return the last head of the control plane's chain, and of each node that reported one."""
        own = await self._database.rows(_OWN_HEAD, {"node": NAME})
        nodes = await self._database.rows(_HEADS)
        return Page(items=[_head(row) for row in (*own, *nodes)], next_cursor=None)


class _OwnSaid(BaseModel):
    at: AwareDatetime
    kind: str
    operator: str
    details: dict[str, str | None]


class _NodeSaid(BaseModel):
    model_config = ConfigDict(extra="allow")

    at: AwareDatetime
    kind: str
    operator: str | None = None
    __pydantic_extra__: dict[str, str | None]

    @property
    def details(self) -> dict[str, str | None]:
        return self.__pydantic_extra__


def _said(row: AnyRow) -> _OwnSaid | _NodeSaid | None:
    try:
        if row.node == NAME:
            return _OwnSaid.model_validate_json(row.record)
        fields = parse_json(row.record)
        del fields["node"], fields["sequence"]
        return _NodeSaid.model_validate(fields)
    except (ValueError, KeyError, TypeError):
        return None  # only its bytes are shown: no answer can contain half a surrogate pair


def _record(row: AnyRow, begin: AuditPlace) -> AuditRecord:
    said = _said(row)
    is_first = row.sequence == begin.sequence + 1
    return AuditRecord(
        node=row.node,
        sequence=row.sequence,
        at=said and said.at,
        kind=said and said.kind,
        operator=said and said.operator,
        details=said.details if said else {},
        record=row.record,
        previous_hash=begin.hash if is_first else row.previous_hash,
        hash=row.hash,
        head=None if row.payload is None else signed_head(row),
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
        records_from=row.records_from,
        records_to=row.records_to,
    )


def _member(name: str, value: str | None, end: str = '"') -> bytes | None:
    """Return a member of an object as records have it; with another ``end``, how it begins."""
    if value is None:
        return None
    return f"{json.dumps(name)}:{json.dumps(value)[:-1]}{end}".encode()


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
