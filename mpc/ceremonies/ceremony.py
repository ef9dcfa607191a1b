"""A ceremony, from the first hello to the result: exchange by exchange, with the other signers.

Nothing of it is written down but that its ticket was used. Whatever goes wrong ends it; the next
attempt is another ceremony.
"""

import asyncio
import contextlib
import hashlib
import typing
from asyncio import Task
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import structlog

from custody.database.pool import Pool
from custody.node.decisions import require_thawed
from custody.node.errors import Failed, NotDone, Refused
from custody.node.freeze import Freeze
from custody.node.handlers import Work
from custody.wire.signed_bytes import SignedBytes, SigningKey
from custody.wire.tickets import CeremonyKind, Protocol, Ticket
from mpc._native import BanCounterparty, LocalMisuse, Messages, ProtocolAbort
from mpc.bans.ban_locks import BanLocks, banned
from mpc.bans.bans import Bans
from mpc.ceremonies.delivery_client import (
    CeremonyExpired,
    DeliveryClient,
    DeliveryRefused,
    DeliveryUnavailable,
    PeerAborted,
)
from mpc.ceremonies.envelopes import BadMessage, CeremonyChannel
from mpc.ceremonies.hello import Opened
from mpc.ceremonies.ticket_seal import NO_REASON, TicketSeal
from mpc.ceremonies.tickets import Quorum, index_of, unlike_field
from mpc.ceremonies.used_tickets import use
from mpc.metrics import CEREMONIES
from mpc.repair_approvals import how_to_approve

log = structlog.get_logger()

HELLO = 0
"""Number of the exchange in which signers agree on keys; the protocol's begin with 1."""

_NOBODY_WAITS = ("ticket_used", "peer_aborted", "peer_silent")
"""Codes after which no other signer waits: the ceremony has ended for all, or (a ticket that was
used) may be under way in another attempt at the same job."""


class Session(typing.Protocol):
    """One participant's state of a threshold protocol; mpc._native has one for each."""

    @property
    def guarded(self) -> frozenset[int]: ...
    def start(self) -> Messages: ...
    def advance(self, incoming: Mapping[int, tuple[bytes, bytes]]) -> Messages | None: ...


Running = TypeVar("Running", bound=Session)
Result = TypeVar("Result")
Incoming = Mapping[str, tuple[bytes, bytes]]


@dataclass(frozen=True)
class Admitted:
    """A ticket that was checked, the bytes of it that were signed, and who may take part.

    ``delivery_ticket``: what the delivery server is shown instead. ``deadline``: the ticket's, or
    the job's where that is sooner. ``bans``: what is known here of the key's, for the others to
    know it too.
    """

    ticket: Ticket
    signed: SignedBytes
    delivery_ticket: SignedBytes
    quorum: Quorum
    deadline: datetime
    bans: list[SignedBytes]

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
    ) -> None:
        self._pool = pool
        self._signer = signer
        self._delivery = delivery
        self._bans = bans
        self._locks = locks
        self._freeze = freeze
        self._running: dict[UUID, list[Task[Any]]] = {}
        self._leaving = set[Task[None]]()

    async def hold(
        self, admitted: Admitted, make: Callable[[bytes], Running], *, opens_early: bool = False
    ) -> Running:
        """Hold a ceremony; return its session with the result. Raise Failed or Refused.

        ``make`` gets the 32-byte session id, to which every participant has contributed.
        ``opens_early``: the protocol's first messages are public, need no session id, and go along
        with the hello.
        """
        with _counted(admitted.ticket), _named(admitted):
            try:
                return await self._hold(admitted, make, opens_early)
            finally:
                # however it ended: this process is alive, and its rows in flight are not left
                await self._leave_locks(admitted.ticket.ceremony)

    async def _hold(
        self, admitted: Admitted, make: Callable[[bytes], Running], opens_early: bool
    ) -> Running:
        ticket, quorum = admitted.ticket, admitted.quorum
        log.debug("ceremony begins", ceremony=str(ticket.ceremony), meeting=str(ticket.meeting))
        channel = CeremonyChannel(
            ticket, admitted.digest, quorum.me, self._signer, quorum.identities
        )
        session = make(admitted.digest) if opens_early else None
        opening = b"" if session is None else (await _compute(ticket, session.start)).broadcast
        used = asyncio.create_task(self._use_once(ticket))
        try:
            opened = await self._meet(admitted, channel, opening)
        finally:
            await used  # before anything leaves that depends on a secret
        steps = 0
        if session is None:
            session = make(channel.session_id)
            # what it computes here is of no peer's making, and leaves once nothing bars them
            messages, _ = await asyncio.gather(
                _compute(ticket, session.start), self._require_no_ban(admitted, opened)
            )
            going_out: Messages | None = messages
        else:
            steps += 1
            openings = {name: (hello.opening, b"") for name, hello in opened.items()}
            going_out = await self._advance(ticket, session, steps, openings)
        number = HELLO
        while going_out is not None:
            number, steps = number + 1, steps + 1
            incoming = await self._exchange(admitted, channel, number, going_out)
            going_out = await self._advance(ticket, session, steps, incoming)
        return session

    async def _use_once(self, ticket: Ticket) -> None:
        """Remember the ticket, on disk. Raises Refused when it was used before."""
        if not await use(self._pool, ticket.ceremony):
            raise Refused("ticket_used", f"ceremony {ticket.ceremony} was held here before")

    async def _meet(
        self, admitted: Admitted, channel: CeremonyChannel, opening: bytes
    ) -> dict[str, Opened]:
        """Exchange hellos: keys of the ceremony, contributions, bans."""
        ticket, me = admitted.ticket, admitted.quorum.me
        others = [each.signer for each in ticket.participants if each.signer != me]
        incoming = await self._delivery.exchange(
            ticket.delivery,
            admitted.delivery_ticket,
            HELLO,
            dict.fromkeys(others, channel.hello(admitted.bans, opening)),
            admitted.deadline,
        )
        return channel.open_hellos(incoming)

    async def _require_no_ban(self, admitted: Admitted, opened: Mapping[str, Opened]) -> None:
        """Learn what the others know of bans, ours too, which a restored database may lack."""
        if not can_ban(admitted.ticket):
            return
        key_id, others = admitted.ticket.key_id, list(opened)
        heard = [statement for hello in opened.values() for statement in hello.bans]
        if heard:
            # of others there is nothing to know, however much a peer has to tell of them
            identities = admitted.quorum.identities
            group = {name: identities[name] for name in admitted.ticket.signers}
            await self._bans.learn(key_id, heard, group)
        await self._require_none_banned(admitted.ticket, others)
        if admitted.ticket.kind is not CeremonyKind.SIGN:
            # signing looks under its locks
            await self._locks.require_none_left(key_id, others)

    async def _require_none_banned(self, ticket: Ticket, others: list[str]) -> None:
        barred = await self._bans.among(ticket.key_id, others)
        if barred:
            raise banned(barred)

    async def _exchange(
        self, admitted: Admitted, channel: CeremonyChannel, number: int, messages: Messages
    ) -> Incoming:
        ticket = admitted.ticket
        names = {each.index: each.signer for each in ticket.participants}
        private = {names[index]: message for index, message in messages.private.items()}
        require_thawed(self._freeze)  # the others need no more than our messages
        incoming = await self._delivery.exchange(
            ticket.delivery,
            admitted.delivery_ticket,
            number,
            channel.seal(number, messages.broadcast, private),
            admitted.deadline,
        )
        return channel.open(number, incoming)

    async def _advance(
        self, ticket: Ticket, session: Session, step: int, incoming: Incoming
    ) -> Messages | None:
        indexed = {index_of(ticket, name): both for name, both in incoming.items()}
        if not session.guarded:
            return await _compute(ticket, lambda: session.advance(indexed))
        others = list(incoming)
        if step in session.guarded:
            phase = self._advance_in_locks(ticket, session, others, indexed)
            return await self._to_its_end(ticket, phase)
        await self._require_none_banned(ticket, others)
        done = await self._to_its_end(ticket, self._advance_or_ban(ticket, session, indexed))
        # phase 3 is the last that bans, and its messages need not wait for the disk
        self._in_background(ticket.ceremony, self._locks.release(ticket.ceremony))
        return done

    async def _to_its_end(
        self, ticket: Ticket, phase: Coroutine[None, None, Messages | None]
    ) -> Messages | None:
        """Run a guarded phase in a task of its own, which our own end does not end.

        A signer that has earned a ban would escape it, and another signer would be left in flight.
        """
        return await asyncio.shield(self._in_background(ticket.ceremony, phase))

    async def _advance_in_locks(
        self,
        ticket: Ticket,
        session: Session,
        others: list[str],
        incoming: Mapping[int, tuple[bytes, bytes]],
    ) -> Messages | None:
        async with self._locks.hold(ticket.key_id, others, ticket.ceremony):
            return await self._advance_or_ban(ticket, session, incoming)

    async def _advance_or_ban(
        self, ticket: Ticket, session: Session, incoming: Mapping[int, tuple[bytes, bytes]]
    ) -> Messages | None:
        """Raise Failed, after a counterparty that earned a ban is barred."""
        try:
            return await asyncio.to_thread(session.advance, incoming)
        except ProtocolAbort as error:
            raise _aborted(ticket, error) from None
        except BanCounterparty as error:
            culprit = _signers(ticket, (error.culprit,))
            log.error("counterparty banned", signer=culprit[0], key=str(ticket.key_id))
            await self._locks.ban(ticket.key_id, culprit[0], error.reason, ticket.ceremony)
            raise banned(culprit) from None
        except BaseException:
            self._locks.leave(ticket.ceremony)  # nobody knows how far the phase went
            raise

    def _in_background(self, ceremony: UUID, work: Coroutine[None, None, Result]) -> Task[Result]:
        task = asyncio.create_task(work)
        self._running.setdefault(ceremony, []).append(task)
        return task

    async def _leave_locks(self, ceremony: UUID) -> None:
        """Return once the rows of a ceremony's guarded phases are gone, or are sure to go."""
        running = self._running.pop(ceremony, None)
        if running is not None:
            leaving = asyncio.create_task(self._release_after(running, ceremony))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
            await asyncio.shield(leaving)

    async def _release_after(self, running: list[Task[Any]], ceremony: UUID) -> None:
        await asyncio.wait(running)
        await self._locks.release(ceremony)


async def withdraw(delivery: DeliveryClient, me: str, work: Work, code: str) -> None:
    """Release the other participants of a job's ceremony, now that this signer has left it.

    They learn the code, the delivery server does not.
    """
    ticket, signed, shown = work.ticket, work.signed_ticket, work.delivery_ticket
    if ticket is None or signed is None or shown is None or work.signed_delivery_ticket is None:
        return
    takes_part = any(each.signer == me for each in ticket.participants)
    if code in _NOBODY_WAITS or not takes_part or unlike_field(ticket, shown) is not None:
        return
    seal = TicketSeal(ticket.secret, ticket_digest(signed))
    reason = seal.seal_reason(index_of(ticket, me), code)
    with contextlib.suppress(DeliveryUnavailable, DeliveryRefused):
        await delivery.abort(ticket.delivery, work.signed_delivery_ticket, reason)


def ticket_digest(signed: SignedBytes) -> bytes:
    """SHA-256 of a ticket as it was signed."""
    return hashlib.sha256(signed.payload).digest()


def can_ban(ticket: Ticket) -> bool:
    """Return whether a message of its protocol can test a secret, so that its sender is banned."""
    return ticket.protocol is Protocol.DKLS23_SECP256K1


async def _compute(ticket: Ticket, step: Callable[[], Result]) -> Result:
    """Compute a step of the protocol: in a thread, except for FROST, whose steps take less time."""
    if ticket.protocol is Protocol.DKLS23_SECP256K1:
        return await asyncio.to_thread(step)
    return step()


def _signers(ticket: Ticket, indices: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(ticket.signers[index - 1] for index in indices)


def _participants(ticket: Ticket, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the named participants: a delivery server may send any name."""
    return tuple(each.signer for each in ticket.participants if each.signer in names)


def _aborted(ticket: Ticket, error: ProtocolAbort) -> Failed:
    return Failed(
        "ceremony_aborted",
        error.reason,
        transient=True,
        culprits=_signers(ticket, error.culprits),
    )


def _why_a_peer_ended(admitted: Admitted, error: PeerAborted) -> str:
    """Return the reason if the participant that the delivery server names has sealed it."""
    ticket = admitted.ticket
    if not _participants(ticket, (error.signer,)):
        return f"somebody ended the ceremony: {NO_REASON}"
    seal = TicketSeal(ticket.secret, admitted.digest)
    code = seal.open_reason(index_of(ticket, error.signer), error.reason)
    is_known = code == "repair_not_approved" and ticket.kind is CeremonyKind.REPAIR
    return f"{error.signer} ended the ceremony: {how_to_approve(ticket) if is_known else code}"


@contextlib.contextmanager
def _counted(ticket: Ticket) -> Iterator[None]:
    end = "internal_error"
    try:
        yield
        end = "done"
    except NotDone as error:
        end = error.code
        raise
    except asyncio.CancelledError:
        end = "cancelled"
        raise
    finally:
        CEREMONIES.labels(ticket.kind.value, end).inc()


@contextlib.contextmanager
def _named(admitted: Admitted) -> Iterator[None]:
    """Turn what ends a ceremony into Failed, with the culprits by name."""
    ticket = admitted.ticket
    try:
        yield
    except ProtocolAbort as error:
        raise _aborted(ticket, error) from None
    except BadMessage as error:
        if error.code == "echo_mismatch":
            raise Failed("echo_mismatch", error.reason, transient=True) from None
        raise Failed("bad_message", error.reason, transient=True, culprits=error.culprits) from None
    except PeerAborted as error:
        raise Failed("peer_aborted", _why_a_peer_ended(admitted, error), transient=True) from None
    except CeremonyExpired as error:
        silent = _participants(ticket, error.silent)
        reason = str(CeremonyExpired(silent))
        raise Failed("peer_silent", reason, transient=True, culprits=silent) from None
    except (DeliveryUnavailable, DeliveryRefused) as error:
        raise Failed("delivery_unavailable", str(error), transient=True) from None
    except LocalMisuse as error:
        raise Failed("protocol_failed", str(error), transient=True) from None
