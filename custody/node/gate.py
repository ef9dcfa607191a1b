"""The second lock: the owner's validation gate decides before anything is signed."""

from datetime import UTC, datetime

import structlog

from custody.node.approvals import Approval, Approvals
from custody.node.errors import Denied, Failed
from custody.node.gate_client import GateClient, GateUnavailable
from custody.node.gate_messages import (
    BadAnswer,
    Decision,
    GateAnswer,
    GateQuestion,
    Shown,
    ShownHash,
    ShownMessage,
    question_about,
    read_answer,
)
from custody.node.metrics import GATE_DECISIONS, GATE_SECONDS, GATE_WAITING
from custody.node.settings import GateSection
from custody.node.slots import Slots
from custody.wire.algorithms import Store
from custody.wire.jobs import Job
from custody.wire.outcomes import APPROVAL_PENDING

log = structlog.get_logger()

BARE_HASH_REFUSED = (
    "this node signs no bare hash, and no SHA-256 of 32 bytes, which may be a bare hash"
)


def require_plain(decoded: Shown | None) -> None:
    """Raise Denied for a request whose bytes may have another meaning."""
    if isinstance(decoded, ShownHash):
        raise Denied("bare_hash_refused", BARE_HASH_REFUSED)
    if isinstance(decoded, ShownMessage) and decoded.could_be:
        meanings = ", ".join(decoded.could_be)
        raise Denied(
            "bare_hash_refused",
            f"this node signs no message with a bare key that could also be: {meanings}",
        )


class Gate:
    """Asks the gate about each request until it decides; only `approve` lets the request pass."""

    def __init__(
        self,
        settings: GateSection,
        client: GateClient,
        approvals: Approvals,
        slots: Slots,
        *,
        node: str,
        store: Store,
    ) -> None:
        self._settings = settings
        self._client = client
        self._approvals = approvals
        self._slots = slots
        self._node = node
        self._store = store
        self._waiting = 0

    async def decide(self, job: Job, application: str | None) -> Approval:
        """Return the recorded decision. Raise Denied, or Failed without a decision."""
        question = question_about(
            job,
            node=self._node,
            store=self._store,
            application=application,
            now=datetime.now(UTC),
        )
        if not self._settings.allow_bare_hashes:
            require_plain(question.decoded)
        known = await self._approvals.find(job)
        if known is not None:
            return known
        answer = await self._ask(question)
        GATE_DECISIONS.labels(answer.decision.value).inc()
        if answer.decision is Decision.PENDING:
            reason = answer.reason or "the owner has not decided yet"
            raise Failed(APPROVAL_PENDING, reason, transient=True)
        return await self._approvals.record(job, answer.decision, answer.reason)

    async def _ask(self, question: GateQuestion) -> GateAnswer:
        """Ask once; the job holds no slot meanwhile. Raise Failed."""
        if self._waiting >= self._settings.at_once:
            GATE_DECISIONS.labels("busy").inc()
            reason = f"{self._waiting} requests wait for the gate already, as many as may"
            raise Failed("gate_busy", reason, transient=True)
        body = question.model_dump_json().encode()
        self._waiting += 1
        GATE_WAITING.set(self._waiting)
        try:
            with self._slots.outside(), GATE_SECONDS.time():
                return read_answer(await self._client.ask(body), question.digest)
        except GateUnavailable as error:
            GATE_DECISIONS.labels("unavailable").inc()
            log.warning("the gate is unavailable", error=str(error))
            raise Failed(
                "gate_unavailable", f"the gate is unavailable: {error}", transient=True
            ) from None
        except BadAnswer as error:
            GATE_DECISIONS.labels("bad_answer").inc()
            log.error("the gate's answer is invalid", error=str(error))
            reason = f"the gate's answer is invalid: {error}"
            raise Failed("gate_bad_answer", reason, transient=True) from None
        finally:
            self._waiting -= 1
            GATE_WAITING.set(self._waiting)
