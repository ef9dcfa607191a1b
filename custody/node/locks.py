"""The locks that only the node's owner opens: first signed requests, then the validation gate."""

from datetime import UTC, datetime

from custody.node.approvals import Approvals
from custody.node.database_away import database_needed
from custody.node.errors import Denied
from custody.node.gate import Gate
from custody.node.gate_messages import Decision
from custody.node.handlers import Handler
from custody.node.signed_requests import SignedRequests, require_one_meaning
from custody.wire.jobs import Job

Details = dict[str, str | None]


class Locks:
    """Checks each job before its handler runs. A job that a lock stops is not done."""

    def __init__(
        self, signed_requests: SignedRequests, gate: Gate | None, approvals: Approvals
    ) -> None:
        self._signed_requests = signed_requests
        self._gate = gate
        self._approvals = approvals

    async def open(self, job: Job, handler: Handler, details: Details) -> bytes | None:
        """Return the public key of the application that signed the request, or None.

        Raise Denied or Failed if a lock stops the job. ``details`` receives, for the audit, who
        asked and who decided.
        """
        with database_needed():
            signed_by = application = None
            if handler.carries_request:
                require_one_meaning(job)
                signed_by = await self._signed_requests.check(job, datetime.now(UTC))
                if signed_by is not None:
                    application = details["application"] = signed_by.name
            if handler.asks_gate and self._gate is not None:
                approval = await self._gate.decide(job, application)
                details["gate"] = approval.decision.value
                details["gate_reason"] = approval.reason
                if approval.decision is not Decision.APPROVE:
                    reason = approval.reason or "no reason was given"
                    raise Denied(
                        "gate_rejected", f"the owner's gate rejected the request: {reason}"
                    )
            return None if signed_by is None else signed_by.public_key

    async def purge(self, before: datetime) -> None:
        await self._signed_requests.purge(before)
        await self._approvals.purge(before)
