"""The ceremonies that use this server."""

import asyncio
import hashlib
from collections import Counter
from datetime import UTC, datetime
from uuid import UUID

import structlog

from custody.delivery.admission import Admission, require_participant
from custody.delivery.budget import Budget
from custody.delivery.metrics import ENDED
from custody.delivery.problems import not_delivered
from custody.delivery.session import Session
from custody.delivery.settings import LimitsSection
from custody.wire.delivery import DeliveryCode, DeliveryProblem
from custody.wire.signed_bytes import SignedBytes

SWEEP_SECONDS = 0.5
"""Longest delay until the server notices that a ceremony's time is over."""

log = structlog.get_logger()


class Sessions:
    """The sessions: a ticket begins a session; an abort, the ticket's expiry or silence ends it.

    A session that has ended stays known until the sweep removes it, to answer late signers.
    """

    def __init__(self, admission: Admission, limits: LimitsSection) -> None:
        self.budget = Budget(limits)
        self._admission = admission
        self._limits = limits
        self._sessions: dict[UUID, Session] = {}
        self._of_signer = Counter[str]()

    def __len__(self) -> int:
        return len(self._sessions)

    def is_full(self) -> bool:
        """Return whether this server accepts no new ceremony now."""
        return (
            len(self._sessions) >= self._limits.total_sessions
            or self.budget.held + self._limits.message_bytes > self._limits.total_bytes
        )

    def find(self, meeting: UUID, signer: str) -> Session:
        """Return a ceremony under way, for one of its participants. Raise NotDelivered."""
        session = self._sessions.get(meeting)
        if session is None:
            raise not_delivered(
                DeliveryCode.UNKNOWN_CEREMONY, "this server does not know the ceremony"
            )
        require_participant(signer, session.participants)
        return session

    def begin(self, meeting: UUID, signer: str, signed: SignedBytes) -> Session:
        """Return the ticket's ceremony, new or begun by another participant. Raise NotDelivered."""
        digest = hashlib.sha256(signed.payload).digest()
        session = self._sessions.get(meeting)
        if session is not None and session.ticket_digest == digest:
            require_participant(signer, session.participants)
            return session
        ticket = self._admission.admit(signed, meeting, signer, datetime.now(UTC))
        if session is not None:
            # the control plane signed both tickets: the signers cannot meet, so none should wait
            problem = not_delivered(DeliveryCode.CONFLICT, "participants sent different tickets")
            if signer in session.participants:
                session.end(problem.problem)
            raise problem
        self._require_room(signer)
        session = Session(
            tuple(ticket.participants),
            digest,
            ticket.expires_at,
            signer,
            self.budget,
            message_bytes=min(ticket.message_bytes, self._limits.message_bytes),
            session_bytes=min(ticket.held_bytes, self._limits.session_bytes),
        )
        session.last_hand_in = asyncio.get_running_loop().time()
        self._sessions[meeting] = session
        self._of_signer[signer] += 1
        return session

    async def sweep_repeatedly(self) -> None:
        """End silent and expired ceremonies until cancelled."""
        while True:
            self.sweep(datetime.now(UTC), asyncio.get_running_loop().time())
            await asyncio.sleep(SWEEP_SECONDS)

    def sweep(self, now: datetime, time: float) -> None:
        """End silent and expired ceremonies.

        ``now``: the wall clock, for tickets. ``time``: the event loop's clock, for silence.
        """
        for meeting, session in list(self._sessions.items()):
            if session.expires_at <= now:
                self._forget(meeting, session, _expired(session))
            elif time - session.last_hand_in > self._patience(session):
                self._forget(meeting, session, _silent(session, self._patience(session)))

    def _patience(self, session: Session) -> float:
        """Return the allowed seconds without a hand-in: an available signer says hello at once."""
        return self._limits.idle_seconds if session.has_met else self._limits.hello_seconds

    def end_all(self) -> None:
        """Answer all waiting signers: this server stops."""
        for meeting, session in list(self._sessions.items()):
            problem = DeliveryProblem(code=DeliveryCode.BUSY, detail="this server stops")
            self._forget(meeting, session, problem)

    def _forget(self, meeting: UUID, session: Session, problem: DeliveryProblem) -> None:
        if not session.has_ended:
            ENDED.labels(problem.code.value).inc()
            log.debug("ceremony ended", meeting=str(meeting), why=problem.code.value)
        session.end(problem)
        session.forget()
        del self._sessions[meeting]
        self._of_signer[session.opened_by] -= 1
        if not self._of_signer[session.opened_by]:
            del self._of_signer[session.opened_by]

    def _require_room(self, signer: str) -> None:
        if len(self._sessions) >= self._limits.total_sessions:
            raise not_delivered(
                DeliveryCode.BUSY, f"{len(self._sessions)} ceremonies are open, as many as may be"
            )
        if self._of_signer[signer] >= self._limits.signer_sessions:
            raise not_delivered(
                DeliveryCode.BUSY,
                f"{signer} has begun {self._of_signer[signer]} ceremonies, as many as it may",
            )


def aborted(signer: str, reason: bytes) -> DeliveryProblem:
    """Return the answer to the others after a participant has ended the ceremony."""
    return DeliveryProblem(
        code=DeliveryCode.ABORTED,
        detail=f"{signer} has ended the ceremony",
        signer=signer,
        abort_reason=reason,
    )


def _expired(session: Session) -> DeliveryProblem:
    return DeliveryProblem(
        code=DeliveryCode.EXPIRED, detail="the ticket has expired", silent=session.silent()
    )


def _silent(session: Session, seconds: float) -> DeliveryProblem:
    return DeliveryProblem(
        code=DeliveryCode.EXPIRED,
        detail=f"no participant handed in for {seconds:.0f} s, so this server dropped the ceremony",
        silent=session.silent(),
    )
