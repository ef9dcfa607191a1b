"""The repairs that this signer's operator has approved: help for a signer without its share."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from custody.database.pool import Pool
from custody.node.audited_changes import AuditedChanges, record_without_job
from custody.wire.tickets import Ticket

_HOLDS = """
    SELECT FROM repair_approvals
    WHERE key_id = :key_id AND signer = :signer AND expires_at > now()
"""

_ALL = """
    SELECT key_id, signer, operator, reason, approved_at, expires_at FROM repair_approvals
    WHERE expires_at > now() ORDER BY expires_at
"""

_APPROVE = """
    INSERT INTO repair_approvals (key_id, signer, operator, reason, expires_at)
    VALUES (:key_id, :signer, :operator, :reason, now() + CAST(:lasts AS interval))
    ON CONFLICT (key_id, signer) DO UPDATE SET operator = excluded.operator,
        reason = excluded.reason, approved_at = now(), expires_at = excluded.expires_at
    RETURNING expires_at
"""

_REVOKE = """
    DELETE FROM repair_approvals
    WHERE key_id = :key_id AND signer = :signer RETURNING key_id
"""


@dataclass(frozen=True)
class RepairApproval:
    """``signer``: the signer whose share of ``key_id`` may be repaired."""

    key_id: UUID
    signer: str
    operator: str
    reason: str
    approved_at: datetime
    expires_at: datetime


class RepairApprovals:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def holds(self, key_id: UUID, signer: str) -> bool:
        """Return whether the operator's approval of this repair exists and has not expired."""
        return bool(await self._pool.rows(_HOLDS, {"key_id": key_id, "signer": signer}))

    async def all(self) -> list[RepairApproval]:
        """Return the approvals that have not expired."""
        return [RepairApproval(*row) for row in await self._pool.rows(_ALL)]


def how_to_approve(ticket: Ticket) -> str:
    """Return in words what a helper's operator has to do before a repair."""
    assert ticket.target is not None  # the ticket's model checks this
    target = ticket.signers[ticket.target - 1]
    return (
        "its operator has not approved the repair; the command on its host is: "
        f"mpc-signer repair approve {ticket.key_id} {target} --reason WHY"
    )


async def approve(
    changes: AuditedChanges,
    key_id: UUID,
    signer: str,
    lasts: timedelta,
    operator: str,
    reason: str,
) -> datetime:
    """Approve a repair, in place of an earlier approval. Return when the approval expires."""
    details = {"signer": signer, "operator": operator, "reason": reason}
    values = {"key_id": key_id, "lasts": lasts, **details}
    rows = await changes.commit(
        _APPROVE, values, record_without_job("ApproveRepair", details, key_id)
    )
    expires_at: datetime = rows[0].expires_at
    return expires_at


async def revoke(changes: AuditedChanges, key_id: UUID, signer: str, operator: str) -> bool:
    """Revoke an approval. Return False if there was none."""
    details = {"signer": signer, "operator": operator}
    values = {"key_id": key_id, "signer": signer}
    record = record_without_job("RevokeRepair", details, key_id)
    return bool(await changes.commit(_REVOKE, values, record))
