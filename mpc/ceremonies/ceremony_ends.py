"""The ends of a ceremony that did not succeed: as Failed, in the metrics, and for the others."""

import asyncio
import contextlib
import hashlib
from collections.abc import Iterator

from custody.node.errors import Failed, NotDone
from custody.node.handlers import Work
from custody.wire.signed_bytes import SignedBytes
from custody.wire.tickets import CeremonyKind, Ticket
from mpc._native import LocalMisuse, ProtocolAbort
from mpc.ceremonies.delivery_client import (
    CeremonyExpired,
    DeliveryClient,
    DeliveryRefused,
    DeliveryUnavailable,
    PeerAborted,
)
from mpc.ceremonies.envelopes import BadMessage
from mpc.ceremonies.ticket_seal import NO_REASON, TicketSeal
from mpc.ceremonies.tickets import index_of, unlike_field
from mpc.metrics import CEREMONIES
from mpc.repair_approvals import how_to_approve

_NOBODY_WAITS = ("ticket_used", "peer_aborted", "peer_silent")
"""Codes after which no other signer waits: the ceremony has ended for all, or (a ticket that was
used) may be under way in another attempt at the same job."""


def ticket_digest(signed: SignedBytes) -> bytes:
    """Return the SHA-256 of a ticket as it was signed."""
    return hashlib.sha256(signed.payload).digest()


def names_of(ticket: Ticket, indices: tuple[int, ...]) -> tuple[str, ...]:
    """Return the names of the key's signers with these indices."""
    return tuple(ticket.signers[index - 1] for index in indices)


def aborted(ticket: Ticket, error: ProtocolAbort) -> Failed:
    """Return Failed for a protocol that ended itself; its culprits by name."""
    culprits = names_of(ticket, error.culprits)
    return Failed("ceremony_aborted", error.reason, transient=True, culprits=culprits)


@contextlib.contextmanager
def counted(ticket: Ticket) -> Iterator[None]:
    """Count the ceremony inside by its end."""
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
def as_failed(ticket: Ticket, digest: bytes) -> Iterator[None]:
    """Turn what ends the ceremony inside into Failed, with the culprits by name.

    ``digest``: the SHA-256 of the signed ticket, which opens the others' sealed reasons.
    """
    try:
        yield
    except ProtocolAbort as error:
        raise aborted(ticket, error) from None
    except BadMessage as error:
        if error.code == "echo_mismatch":
            raise Failed("echo_mismatch", error.reason, transient=True) from None
        raise Failed("bad_message", error.reason, transient=True, culprits=error.culprits) from None
    except PeerAborted as error:
        reason = _reason_of_peer(ticket, digest, error)
        raise Failed("peer_aborted", reason, transient=True) from None
    except CeremonyExpired as error:
        silent = _participants(ticket, error.silent)
        reason = str(CeremonyExpired(silent))
        raise Failed("peer_silent", reason, transient=True, culprits=silent) from None
    except (DeliveryUnavailable, DeliveryRefused) as error:
        raise Failed("delivery_unavailable", str(error), transient=True) from None
    except LocalMisuse as error:
        raise Failed("protocol_failed", str(error), transient=True) from None


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


def _participants(ticket: Ticket, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the named participants: a delivery server may send any name."""
    return tuple(each.signer for each in ticket.participants if each.signer in names)


def _reason_of_peer(ticket: Ticket, digest: bytes, error: PeerAborted) -> str:
    """Return the reason if the participant that the delivery server names has sealed it."""
    if not _participants(ticket, (error.signer,)):
        return f"somebody ended the ceremony: {NO_REASON}"
    code = TicketSeal(ticket.secret, digest).open_reason(
        index_of(ticket, error.signer), error.reason
    )
    is_known = code == "repair_not_approved" and ticket.kind is CeremonyKind.REPAIR
    return f"{error.signer} ended the ceremony: {how_to_approve(ticket) if is_known else code}"
