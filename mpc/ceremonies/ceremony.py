"""A ceremony of this signer with others, from the first hello to the result.

Nothing of it is written down but that its ticket was used. Whatever goes wrong ends it; the next
attempt is another ceremony.
"""

import asyncio
import typing
from asyncio import Task
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import structlog

from custody.database.pool import Pool
from custody.node.decisions import require_thawed
from custody.node.errors import Refused
from custody.node.freeze import Freeze
from custody.wire.signed_bytes import SignedBytes, SigningKey
from custody.wire.tickets import CeremonyKind, Protocol, Ticket
from mpc._native import Messages
from mpc.bans.ban_locks import BanLocks
from mpc.bans.bans import Bans
from mpc.ceremonies.ceremony_ends import as_failed, counted, ticket_digest
from mpc.ceremonies.delivery_client import DeliveryClient
from mpc.ceremonies.envelopes import CeremonyChannel
from mpc.ceremonies.guarded_phases import GuardedPhases
from mpc.ceremonies.hello import Opened
from mpc.ceremonies.tickets import Quorum, index_of
from mpc.ceremonies.used_tickets import use_ticket
from mpc.restored.watch import RestoreWatch

log = structlog.get_logger()

HELLO = 0
"""Number of the exchange in which signers agree on keys; the protocol's begin with 1."""


class Session(typing.Protocol):
    """One participant's state of a threshold protocol; mpc._native has one for each."""

    @property
    def exchanges(self) -> int: ...
    @property
    def guarded(self) -> frozenset[int]: ...
    def start(self) -> Messages: ...
    def advance(self, incoming: Mapping[int, tuple[bytes, bytes]]) -> Messages | None: ...


Running = TypeVar("Running", bound=Session)
Result = TypeVar("Result")
Incoming = Mapping[str, tuple[bytes, bytes]]
"""Broadcast and private message by the name of their sender."""


@dataclass(frozen=True)
class Admitted:
    """A ticket that was checked, the bytes of it that were signed, and who may take part.

    ``delivery_ticket``: what the delivery server is shown instead. ``deadline``: the ticket's, or
    the job's where that is sooner. ``bans``: those of the key that this signer knows, which it
    tells the others. ``require_unarchived``: raises Denied if the key was archived meanwhile.
    """

    ticket: Ticket
    signed: SignedBytes
    delivery_ticket: SignedBytes
    quorum: Quorum
    deadline: datetime
    bans: list[SignedBytes]
    require_unarchived: Callable[[], Awaitable[None]]

    @property
    def digest(self) -> bytes:
        """SHA-256 of the signed bytes: signers with different tickets do not get past the hello."""
        return ticket_digest(self.signed)


class Ceremonies:
    """Holds ceremonies with the signers that tickets name."""

    def __init__(
        self,
        *,
        pool: Pool,
        signer: SigningKey,
        delivery: DeliveryClient,
        bans: Bans,
        locks: BanLocks,
        freeze: Freeze,
        restore_watch: RestoreWatch,
    ) -> None:
        self.pool = pool
        self.signer = signer
        self.delivery = delivery
        self.bans = bans
        self.locks = locks
        self.freeze = freeze
        self.restore_watch = restore_watch
        self._leaving = set[Task[None]]()

    async def hold(
        self, admitted: Admitted, make: Callable[[bytes], Running], *, opens_early: bool = False
    ) -> Running:
        """Hold a ceremony; return its session with the result. Raise Failed or Refused.

        ``make`` gets the 32-byte session id, to which every participant has contributed.
        ``opens_early``: the protocol's first messages are public, need no session id, and leave
        with the hello.
        """
        ticket = admitted.ticket
        log.debug("ceremony begins", ceremony=str(ticket.ceremony), meeting=str(ticket.meeting))
        with counted(ticket), as_failed(ticket, admitted.digest):
            ceremony = Ceremony(self, admitted, make)
            try:
                return await ceremony.hold(opens_early)
            finally:
                # however it ended: this process is alive, and its rows in flight are not left
                await self._leave(ceremony.phases)

    async def _leave(self, phases: GuardedPhases) -> None:
        """Leave the guarded phases, also if this task is cancelled meanwhile."""
        if not phases.have_begun:
            return
        leaving = asyncio.create_task(phases.leave())
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)
        await asyncio.shield(leaving)


class Ceremony(typing.Generic[Running]):
    """One ceremony: its channel to the others, its session, and its guarded phases."""

    def __init__(
        self, ceremonies: Ceremonies, admitted: Admitted, make: Callable[[bytes], Running]
    ) -> None:
        ticket, quorum = admitted.ticket, admitted.quorum
        self.phases = GuardedPhases(ticket, ceremonies.bans, ceremonies.locks)
        self._ceremonies = ceremonies
        self._admitted = admitted
        self._ticket = ticket
        self._make = make
        self._channel = CeremonyChannel(
            ticket, admitted.digest, quorum.me, ceremonies.signer, quorum.identities
        )
        self._others = [each.signer for each in ticket.participants if each.signer != quorum.me]
        self._advances = 0

    async def hold(self, opens_early: bool) -> Running:
        """Exchange messages until the session has its result; return the session."""
        session = self._make(self._admitted.digest) if opens_early else None
        opening = b"" if session is None else (await self._compute(session.start)).broadcast
        used = asyncio.create_task(self._use_ticket())
        try:
            hellos = await self._meet(opening)
        finally:
            await used  # before anything leaves that depends on a secret
        if session is None:
            session = self._make(self._channel.session_id)
            # what it computes here is of no peer's making, and leaves once nothing bars them
            messages, _ = await asyncio.gather(
                self._compute(session.start), self._require_no_ban(hellos)
            )
            going_out: Messages | None = messages
        else:
            openings = {name: (hello.opening, b"") for name, hello in hellos.items()}
            going_out = await self._advance(session, openings)
        number = HELLO
        last = session.exchanges - 1 if opens_early else session.exchanges
        while going_out is not None:
            number += 1
            if number == last:
                # with our last messages a peer that held back its own has the signature
                await self._admitted.require_unarchived()
            incoming = await self._exchange(number, going_out)
            going_out = await self._advance(session, incoming)
        return session

    async def _use_ticket(self) -> None:
        """Remember the ticket, on disk. Raises Refused when it was used before."""
        ceremony = self._ticket.ceremony
        if not await use_ticket(self._ceremonies.pool, ceremony):
            raise Refused("ticket_used", f"ceremony {ceremony} was held here before")

    async def _meet(self, opening: bytes) -> dict[str, Opened]:
        """Exchange hellos: keys of the ceremony, contributions, bans."""
        hello = self._channel.hello(self._admitted.bans, opening)
        incoming = await self._deliver(HELLO, dict.fromkeys(self._others, hello))
        return self._channel.open_hellos(incoming)

    async def _exchange(self, number: int, messages: Messages) -> Incoming:
        names = {each.index: each.signer for each in self._ticket.participants}
        private = {names[index]: message for index, message in messages.private.items()}
        # the others need no more than our messages
        require_thawed(self._ceremonies.freeze)
        self._ceremonies.restore_watch.require_whole()
        sealed = self._channel.seal(number, messages.broadcast, private)
        return self._channel.open(number, await self._deliver(number, sealed))

    async def _deliver(self, number: int, messages: Mapping[str, bytes]) -> dict[str, bytes]:
        """Hand in a message for each of the others; return theirs."""
        admitted = self._admitted
        return await self._ceremonies.delivery.exchange(
            self._ticket.delivery, admitted.delivery_ticket, number, messages, admitted.deadline
        )

    async def _require_no_ban(self, hellos: Mapping[str, Opened]) -> None:
        """Learn what the others know of bans, ours too, which a restored database may lack."""
        if not can_ban(self._ticket):
            return
        key_id = self._ticket.key_id
        heard = [ban for hello in hellos.values() for ban in hello.bans]
        if heard:
            # bans of other signers than the key's are not wanted, however many a peer sends
            identities = self._admitted.quorum.identities
            group = {name: identities[name] for name in self._ticket.signers}
            await self._ceremonies.bans.learn(key_id, heard, group)
        await self.phases.require_none_banned(self._others)
        if self._ticket.kind is not CeremonyKind.SIGN:
            # signing looks under its locks
            await self._ceremonies.locks.require_none_left(key_id, self._others)

    async def _advance(self, session: Running, incoming: Incoming) -> Messages | None:
        self._advances += 1
        indexed = {index_of(self._ticket, name): both for name, both in incoming.items()}
        if not session.guarded:
            return await self._compute(lambda: session.advance(indexed))
        if self._advances in session.guarded:
            return await self.phases.in_locks(session, self._others, indexed)
        return await self.phases.after_locks(session, self._others, indexed)

    async def _compute(self, phase: Callable[[], Result]) -> Result:
        """Compute a phase: in a thread, except for FROST, whose phases take less time than that."""
        if can_ban(self._ticket):
            return await asyncio.to_thread(phase)
        return phase()


def can_ban(ticket: Ticket) -> bool:
    """Return whether a message of its protocol can test a secret, so that its sender is banned."""
    return ticket.protocol is Protocol.DKLS23_SECP256K1
