"""Restored databases of nodes: what the node states of one, and what an admin makes of it.

A node cannot acknowledge its own restore, and the control plane cannot state one for a node.
The heads that a restore cost are set aside, and a statement stays as signed. Only `node remove`
deletes them: its audit record states the hashes of each gap.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from custody.control_plane.audit.heads import BadHead, open_head
from custody.control_plane.database import AnyRow, Database
from custody.control_plane.problems import Code, ProblemError, not_registered
from custody.database.connection import Connection
from custody.runtime.errors import OperatorError
from custody.wire.audit import GENESIS, AuditHead, Restored
from custody.wire.node_api import KnownRestore
from custody.wire.resources import Node, NodeRestore
from custody.wire.signed_bytes import RESTORED_TYPE, BadSignedBytes, PinnedKeys, SignedBytes

_LOCK_NODE = """
    SELECT identity_public_key, audit_alarm, audit_alarm_is_gap FROM nodes
    WHERE id = :node FOR UPDATE
"""

_IS_KEPT = """
    SELECT FROM audit_heads WHERE node_id = :node AND sequence = :sequence AND hash = :hash
"""

_SAME = """
    SELECT acknowledged_at FROM audit_restores WHERE node_id = :node AND payload = :payload
"""

# a claim that nobody has acknowledged gives way to the next; the node's chain has them all
_CLAIM = """
    WITH known AS (
        SELECT coalesce(max(number) FILTER (WHERE acknowledged_at IS NULL),
            coalesce(max(number), 0) + 1) AS number
        FROM audit_restores WHERE node_id = :node
    )
    INSERT INTO audit_restores (node_id, number, payload, signature, signing_key_id)
    SELECT :node, number, :payload, :signature, :signing_key_id FROM known
    ON CONFLICT (node_id, number) DO UPDATE SET payload = excluded.payload,
        signature = excluded.signature, signing_key_id = excluded.signing_key_id,
        claimed_at = now()
    """

_ALL = """
    SELECT node_id, number, payload, signature, signing_key_id, claimed_at, acknowledged_at,
        acknowledged_by, acknowledged_reason, alarm
    FROM audit_restores WHERE node_id = ANY(:nodes) ORDER BY node_id, number
    """

_SET_ASIDE = """
    UPDATE audit_heads SET set_aside_by = :number
    WHERE node_id = :node AND sequence > :agreed AND sequence <= :kept
        AND received_at <= :claimed_at AND set_aside_by IS NULL
    """

_SET_RECORDS_ASIDE = """
    UPDATE node_audit_records SET set_aside_by = :number
    WHERE node_id = :node AND sequence > :agreed
        AND received_at <= :claimed_at AND set_aside_by IS NULL
    """

_KEEP_OWN = """
    INSERT INTO audit_heads (node_id, sequence, hash, payload, signature, signing_key_id)
    VALUES (:node, :sequence, :hash, :payload, :signature, :signing_key_id)
    ON CONFLICT (node_id, sequence, hash) DO UPDATE SET set_aside_by = NULL, received_at = now()
    """

_ACKNOWLEDGE = """
    UPDATE audit_restores SET acknowledged_at = now(), acknowledged_by = :operator,
        acknowledged_reason = :reason, alarm = :alarm
    WHERE node_id = :node AND number = :number
    """

_DISAGREEMENT = """
    SELECT sequence FROM audit_heads WHERE node_id = :node AND set_aside_by IS NULL
    GROUP BY sequence HAVING count(*) > 1 ORDER BY sequence LIMIT 1
    """

_LIFT_ALARM = """
    UPDATE nodes SET audit_alarm = NULL, audit_alarm_is_gap = true,
        health = jsonb_build_object('status', 'degraded', 'detail',
            'its audit chain is in order again; no heartbeat since')
    WHERE id = :node
    """


@dataclass(frozen=True)
class Claim:
    """A verified statement of a node, with the two heads that the node signed."""

    restored: Restored
    kept: AuditHead
    own: AuditHead

    @property
    def lost(self) -> str:
        """Return the sequence numbers of the lost records, in words."""
        first, last = self.restored.agreed.sequence + 1, self.kept.sequence
        return f"record {last}" if first == last else f"records {first} to {last}"


@dataclass(frozen=True)
class Restore:
    """A stored statement of a restore, and its acknowledgement if there is one."""

    node: str
    number: int
    claim: Claim
    signed: SignedBytes
    claimed_at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    acknowledged_reason: str | None
    alarm: str | None

    @property
    def known(self) -> KnownRestore:
        """Return the answer about this restore to its node."""
        return KnownRestore(
            restored=self.signed,
            acknowledged_at=self.acknowledged_at,
            acknowledged_by=self.acknowledged_by,
            acknowledged_reason=self.acknowledged_reason,
        )

    @property
    def shown(self) -> NodeRestore:
        """Return the view of this restore for an admin."""
        restored, kept, own = self.claim.restored, self.claim.kept, self.claim.own
        return NodeRestore(
            number=self.number,
            agreed_sequence=restored.agreed.sequence,
            lost_sequence=kept.sequence,
            lost_hash=kept.hash,
            own_sequence=own.sequence,
            own_hash=own.hash,
            operator=restored.operator,
            reason=restored.reason,
            stated_at=restored.at,
            acknowledged_at=self.acknowledged_at,
            acknowledged_by=self.acknowledged_by,
            acknowledged_reason=self.acknowledged_reason,
        )


def open_claim(node: str, identity: bytes, signed: SignedBytes) -> Claim:
    """Verify the signatures of the statement and of its heads, and open it. Raises BadHead."""
    try:
        payload = PinnedKeys([identity]).open(RESTORED_TYPE, signed)
        restored = Restored.model_validate_json(payload)
    except BadSignedBytes as bad:
        raise BadHead(f"the statement is not signed by the node's identity key: {bad}") from None
    except ValidationError as error:
        raise BadHead(f"the statement has {error.error_count()} malformed fields") from None
    if {restored.node, restored.agreed.node} != {node}:
        raise BadHead(f"the statement is of another node, {restored.node}")
    kept = open_head(node, identity, restored.kept)
    own = open_head(node, identity, restored.own)
    if restored.agreed.sequence >= kept.sequence or restored.agreed.sequence > own.sequence:
        raise BadHead("the statement names heads that follow from no restore")
    return Claim(restored, kept, own)


class AuditRestores:
    """The control plane's side of `audit restored`, which a node's operator runs on its host."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, node: str, signed: SignedBytes) -> bool:
        """Store a node's statement. Return True if an admin has acknowledged it already.

        Raises ProblemError for a statement that contradicts the kept heads.
        """
        async with self._database.transaction() as connection:
            row = await connection.row(_LOCK_NODE, {"node": node})
            if row is None:
                raise not_registered(node)
            same = await connection.row(_SAME, {"node": node, "payload": signed.payload})
            if same is not None:
                return same.acknowledged_at is not None
            try:
                claim = open_claim(node, row.identity_public_key or bytes(32), signed)
                await _require_kept(connection, node, claim.kept)
                if (claim.restored.agreed.sequence, claim.restored.agreed.hash) != (0, GENESIS):
                    await _require_kept(connection, node, claim.restored.agreed)
            except (BadHead, ValueError) as bad:
                raise ProblemError(Code.INVALID_REQUEST, f"restored: {bad}") from None
            await connection.rows(_CLAIM, {"node": node, **dict(signed)})
        return False

    async def added_to(self, nodes: Sequence[Node]) -> list[Node]:
        """Return the nodes with their restores, as an admin sees them."""
        rows = await self._database.rows(_ALL, {"nodes": [node.id for node in nodes]})
        shown: dict[str, list[NodeRestore]] = {}
        for row in rows:
            shown.setdefault(row.node_id, []).append(_restore(row).shown)
        return [
            node.model_copy(update={"restores": tuple(shown.get(node.id, ()))}) for node in nodes
        ]

    async def of(self, node: str) -> list[KnownRestore]:
        """Return the known restores of a node, oldest first."""
        rows = await self._database.rows(_ALL, {"nodes": [node]})
        return [_restore(row).known for row in rows]


async def restores_of(connection: Connection, nodes: Sequence[str]) -> list[Restore]:
    """Return all restores of these nodes, by node and number."""
    rows = await connection.rows(_ALL, {"nodes": list(nodes)})
    return [_restore(row) for row in rows]


async def acknowledge(connection: Connection, seen: Restore, operator: str, reason: str) -> None:
    """Set the lost heads aside and end the node's audit alarm. Raises OperatorError.

    ``seen``: the statement that the admin was shown; refused if the node has replaced it since.
    """
    node = seen.node
    row = await connection.row(_LOCK_NODE, {"node": node})
    if row is None:
        raise OperatorError(
            f"node {node} was removed meanwhile", "See which are: control-plane node list"
        )
    found = next(
        (each for each in await restores_of(connection, [node]) if each.number == seen.number), None
    )
    if found is None or found.signed != seen.signed or found.acknowledged_at is not None:
        raise OperatorError(
            f"node {node} has replaced the statement that you were shown",
            "Run the command again, and read the new statement.",
        )
    if not row.audit_alarm_is_gap:
        raise OperatorError(
            f"a restored database does not explain the audit alarm of node {node}: "
            f"{row.audit_alarm}",
            "Find out who used the node's identity key, or its certificate. Then remove the node "
            "and register it again, under a new identity key.",
        )
    open_claim(node, row.identity_public_key, found.signed)  # nobody has changed the row
    await _set_aside(connection, found)
    conflict = await connection.row(_DISAGREEMENT, {"node": node})
    if conflict is not None:
        raise OperatorError(
            f"node {node} has signed two different records {conflict.sequence}, which the restore "
            "does not explain",
            "On its host run audit verify, then audit restored again.",
        )
    values = {"node": node, "number": found.number, "operator": operator, "reason": reason}
    await connection.rows(_ACKNOWLEDGE, {**values, "alarm": row.audit_alarm})
    if row.audit_alarm is not None:
        await connection.rows(_LIFT_ALARM, {"node": node})


async def _set_aside(connection: Connection, restore: Restore) -> None:
    claim, node = restore.claim, restore.node
    values = {
        "node": node,
        "number": restore.number,
        "agreed": claim.restored.agreed.sequence,
        "claimed_at": restore.claimed_at,
    }
    await connection.rows(_SET_ASIDE, {**values, "kept": claim.kept.sequence})
    await connection.rows(_SET_RECORDS_ASIDE, values)  # the node sends again what it still has
    if claim.own.sequence > claim.restored.agreed.sequence:
        own = {"sequence": claim.own.sequence, "hash": claim.own.hash}
        await connection.rows(_KEEP_OWN, {"node": node, **own, **dict(claim.restored.own)})


async def _require_kept(connection: Connection, node: str, head: AuditHead) -> None:
    values = {"node": node, "sequence": head.sequence, "hash": head.hash}
    if await connection.row(_IS_KEPT, values) is None:
        raise BadHead(f"no head {head.sequence} with that hash is kept of this node")


def _restore(row: AnyRow) -> Restore:
    """From a row whose signature was checked when it was claimed."""
    restored = Restored.model_validate_json(row.payload)
    return Restore(
        node=row.node_id,
        number=row.number,
        claim=Claim(
            restored,
            AuditHead.model_validate_json(restored.kept.payload),
            AuditHead.model_validate_json(restored.own.payload),
        ),
        signed=SignedBytes(
            payload=row.payload, signature=row.signature, signing_key_id=row.signing_key_id
        ),
        claimed_at=row.claimed_at,
        acknowledged_at=row.acknowledged_at,
        acknowledged_by=row.acknowledged_by,
        acknowledged_reason=row.acknowledged_reason,
        alarm=row.alarm,
    )
