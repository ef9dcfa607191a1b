"""The checks of a ticket before this signer holds its ceremony. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from custody.node.errors import Denied, Failed, Refused
from custody.node.handlers import Work
from custody.wire.delivery import DeliveryTicket
from custody.wire.jobs import JobKind
from custody.wire.tickets import NEW_KEY, CeremonyKind, Ticket, protocol_of
from mpc.restored.watch import LARGEST_OFFSET

LONGEST_CEREMONY = timedelta(minutes=30)

CEREMONY_OF = {
    JobKind.GENERATE_KEY: CeremonyKind.GENERATE,
    JobKind.IMPORT_KEY: CeremonyKind.IMPORT,
    JobKind.COPY_KEY: CeremonyKind.IMPORT,
    JobKind.SIGN: CeremonyKind.SIGN,
    JobKind.PROVE_KEY: CeremonyKind.SIGN,
    JobKind.REFRESH_KEY: CeremonyKind.REFRESH,
    JobKind.REPAIR_SHARE: CeremonyKind.REPAIR,
}


@dataclass(frozen=True)
class Quorum:
    """The owner's settings: this signer's identity, its peers, and the lowest threshold.

    ``identities``: Ed25519 public keys by signer, its own among them.
    """

    me: str
    identities: Mapping[str, bytes]
    min_threshold: int


def require_ticket(
    work: Work, quorum: Quorum, now: datetime, tickets_from: datetime | None = None
) -> Ticket:
    """Return the job's ticket if it binds the job and signers that are pinned here.

    ``tickets_from``: when this signer noticed that its database was restored; None if it never was.

    Raises Refused for one that cannot be right, Denied or Failed for one that is not wanted.
    """
    ticket, job = work.ticket, work.job
    if ticket is None:
        raise Refused("bad_ticket", f"a {job.kind} job needs a ticket")
    key = job.key
    for name, found, wanted in (
        ("kind", ticket.kind, CEREMONY_OF.get(JobKind(job.kind))),
        ("job_id", ticket.job_id, job.id),
        ("job_digest", ticket.job_digest, work.digest),
        ("key_id", ticket.key_id, key.root or key.id),
        ("protocol", ticket.protocol, protocol_of(key.algorithm)),
    ):
        if found != wanted:
            raise Refused("bad_ticket", f"the ticket's {name} is not that of its job")
    if job.kind not in (JobKind.SIGN,) and ticket.ceremony != job.id:
        raise Refused("bad_ticket", "the ticket's ceremony is not the job")
    if ticket.kind in NEW_KEY and ticket.generation != 0:
        # a later one would take the place of the key that is in use
        raise Refused("bad_ticket", "a key that is made has shares of generation 0")
    _require_same_meeting(ticket, work.delivery_ticket)
    if all(each.signer != quorum.me for each in ticket.participants):
        raise Refused("bad_ticket", "the ticket is for others")
    if not now < ticket.expires_at <= now + LONGEST_CEREMONY:
        raise Failed("ticket_expired", "the ceremony's time is over", transient=True)
    if ticket.issued_at > now + LARGEST_OFFSET:
        raise Failed("ticket_expired", "the ticket was issued in the future", transient=True)
    if tickets_from is not None and ticket.issued_at < tickets_from + LARGEST_OFFSET:
        raise Failed(
            "ticket_forgotten",
            "the ticket was issued before this signer's database was restored, so it may have been "
            "used already",
            transient=True,
        )
    require_signers(quorum, ticket.threshold, ticket.signers)
    return ticket


def require_signers(quorum: Quorum, threshold: int, signers: Sequence[str]) -> None:
    """Raise Denied for a threshold below the owner's, Failed for signers that are not pinned."""
    if threshold < quorum.min_threshold:
        raise Denied(
            "threshold_too_low",
            f"a threshold of {threshold}: this signer's owner wants at least "
            f"{quorum.min_threshold}",
        )
    unknown = tuple(name for name in signers if name not in quorum.identities)
    if unknown:
        raise Failed(
            "not_pinned",
            f"{', '.join(unknown)} is not pinned here: mpc-signer peers add",
            transient=True,
            culprits=unknown,
        )


def unlike_field(ticket: Ticket, shown: DeliveryTicket) -> str | None:
    """Name the first field in which a delivery ticket is not the ticket's; None without one.

    The limits are for the delivery server alone to compare with its own.
    """
    expected = DeliveryTicket.of(ticket)
    for name in ("meeting", "participants", "delivery", "expires_at"):
        if getattr(shown, name) != getattr(expected, name):
            return name
    return None


def _require_same_meeting(ticket: Ticket, shown: DeliveryTicket | None) -> None:
    """Check that the delivery server and the signers have the same ceremony."""
    if shown is None:
        raise Refused("bad_ticket", "the ticket comes without one for the delivery server")
    unlike = unlike_field(ticket, shown)
    if unlike is not None:
        raise Refused("bad_ticket", f"the delivery ticket has another {unlike} than the ticket")


def index_of(ticket: Ticket, signer: str) -> int:
    """Return the index of a participant."""
    return next(each.index for each in ticket.participants if each.signer == signer)
