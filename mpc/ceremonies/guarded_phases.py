"""The phases of a ceremony in which a counterparty may earn a ban: 2 and 3 of ECDSA signing.

Phase 2 begins under the ban locks. Its row stays on disk until phase 3 has ended well, so a signer
that is killed in between leaves the pair barred (dkls23's guards 1 and 2).
"""

import asyncio
from asyncio import Task
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import structlog

from custody.wire.tickets import Ticket
from mpc._native import BanCounterparty, Messages, ProtocolAbort
from mpc.bans.ban_locks import BanLocks, banned
from mpc.bans.bans import Bans
from mpc.ceremonies.ceremony_ends import aborted, names_of

log = structlog.get_logger()

Result = TypeVar("Result")
Incoming = Mapping[int, tuple[bytes, bytes]]
"""Broadcast and private message by the index of their sender."""


class Advancing(Protocol):
    """A session of a threshold protocol whose next phase is due."""

    def advance(self, incoming: Incoming) -> Messages | None: ...


class GuardedPhases:
    """The guarded phases of one ceremony, and the tasks in which they run."""

    def __init__(self, ticket: Ticket, bans: Bans, locks: BanLocks) -> None:
        self._ticket = ticket
        self._bans = bans
        self._locks = locks
        self._tasks: list[Task[Any]] = []

    async def in_locks(
        self, session: Advancing, others: Sequence[str], incoming: Incoming
    ) -> Messages | None:
        """Advance into the phase that must hold the ban locks. Raise Failed."""
        return await self._to_its_end(self._advance_in_locks(session, others, incoming))

    async def after_locks(
        self, session: Advancing, others: Sequence[str], incoming: Incoming
    ) -> Messages | None:
        """Advance into a phase after it, with signers that are not banned yet. Raise Failed."""
        await self.require_none_banned(others)
        done = await self._to_its_end(self._advance_or_ban(session, incoming))
        # phase 3 is the last that bans, and its messages need not wait for the disk
        self._in_background(self._locks.release(self._ticket.ceremony))
        return done

    async def require_none_banned(self, others: Sequence[str]) -> None:
        """Raise Failed banned_counterparty if one of ``others`` is banned under the key."""
        barred = await self._bans.among(self._ticket.key_id, others)
        if barred:
            raise banned(barred)

    @property
    def have_begun(self) -> bool:
        """Whether there may be a row in flight of this ceremony."""
        return bool(self._tasks)

    async def leave(self) -> None:
        """Return once the rows of these phases are gone, or are sure to go.

        Call it once a phase has begun.
        """
        await asyncio.wait(self._tasks)
        await self._locks.release(self._ticket.ceremony)

    async def _to_its_end(self, phase: Coroutine[None, None, Result]) -> Result:
        """Run a phase in a task of its own, which the end of the job does not end.

        Otherwise a signer that has earned a ban would escape it, and an honest one would be left in
        flight.
        """
        return await asyncio.shield(self._in_background(phase))

    def _in_background(self, work: Coroutine[None, None, Result]) -> Task[Result]:
        task = asyncio.create_task(work)
        self._tasks.append(task)
        return task

    async def _advance_in_locks(
        self, session: Advancing, others: Sequence[str], incoming: Incoming
    ) -> Messages | None:
        ticket = self._ticket
        async with self._locks.hold(ticket.key_id, others, ticket.ceremony):
            return await self._advance_or_ban(session, incoming)

    async def _advance_or_ban(self, session: Advancing, incoming: Incoming) -> Messages | None:
        """Raise Failed, after a counterparty that earned a ban is barred."""
        ticket = self._ticket
        try:
            return await asyncio.to_thread(session.advance, incoming)
        except ProtocolAbort as error:
            raise aborted(ticket, error) from None
        except BanCounterparty as error:
            culprit = names_of(ticket, (error.culprit,))
            log.error("counterparty banned", signer=culprit[0], key=str(ticket.key_id))
            await self._locks.ban(ticket.key_id, culprit[0], error.reason, ticket.ceremony)
            raise banned(culprit) from None
        except BaseException:
            self._locks.leave(ticket.ceremony)  # nobody knows how far the phase went
            raise
