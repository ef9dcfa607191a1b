"""The gate's decisions, stored before the node acts on them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from custody.database.pool import Pool
from custody.node.gate_messages import Decision
from custody.runtime.batching import Batcher
from custody.wire.jobs import Job

_FIND = """
    SELECT request_id, digest, decision, reason FROM approvals
    WHERE request_id = ANY(:request_ids::uuid[])
"""

_RECORD = """
    INSERT INTO approvals AS known (request_id, digest, node, decision, reason)
    VALUES (:request_id, :digest, :node, :decision, :reason)
    ON CONFLICT (request_id, digest) DO UPDATE SET node = known.node
    RETURNING decision, reason
"""

_PURGE = "DELETE FROM approvals WHERE decided_at < :before"


@dataclass(frozen=True)
class Approval:
    """A final decision: approve or reject."""

    decision: Decision
    reason: str | None


class Approvals:
    """Decisions by request id and digest: another key or body needs a decision of its own."""

    def __init__(self, pool: Pool, node: str) -> None:
        self._pool = pool
        self._node = node
        self._lookups = Batcher[tuple[UUID, bytes], Approval | None](self._look_up)

    async def find(self, job: Job) -> Approval | None:
        return await self._lookups.submit((job.request_id, job.request_digest))

    async def record(self, job: Job, decision: Decision, reason: str | None) -> Approval:
        """Commit a decision. Return the decision that counts: the group's first."""
        values = {
            "request_id": job.request_id,
            "digest": job.request_digest,
            "node": self._node,
            "decision": decision.value,
            "reason": reason,
        }
        [row] = await self._pool.rows(_RECORD, values)
        return _approval(row)

    async def purge(self, before: datetime) -> None:
        """Delete decisions made before a time: no job lives that long."""
        await self._pool.rows(_PURGE, {"before": before})

    async def _look_up(
        self, requests: list[tuple[UUID, bytes]]
    ) -> list[Approval | Exception | None]:
        request_ids = [request_id for request_id, _ in requests]
        rows = await self._pool.rows(_FIND, {"request_ids": request_ids})
        found = {(row.request_id, row.digest): _approval(row) for row in rows}
        return [found.get(request) for request in requests]


def _approval(row: Any) -> Approval:
    return Approval(Decision(row.decision), row.reason)
