"""Admission: a server serves only the participants that a meeting's delivery ticket names. Pure."""

from datetime import datetime, timedelta
from uuid import UUID

from pydantic import ValidationError

from custody.delivery.problems import not_delivered
from custody.runtime.peer_certificate import PeerCertificate
from custody.wire.delivery import DeliveryCode, DeliveryTicket
from custody.wire.signed_bytes import DELIVERY_TICKET_TYPE, BadSignedBytes, PinnedKeys, SignedBytes

LONGEST_CEREMONY = timedelta(minutes=30)


class Admission:
    """Checks tickets: the control plane's signature, and the name of this server."""

    def __init__(self, pinned: PinnedKeys, name: str) -> None:
        self._pinned = pinned
        self._name = name

    def admit(
        self, signed: SignedBytes, meeting: UUID, signer: str, now: datetime
    ) -> DeliveryTicket:
        """Return the ticket if it admits this signer to this meeting on this server now.

        Raise NotDelivered.
        """
        try:
            payload = self._pinned.open(DELIVERY_TICKET_TYPE, signed)
            ticket = DeliveryTicket.model_validate_json(payload)
        except BadSignedBytes as error:
            raise not_delivered(
                DeliveryCode.BAD_TICKET, f"this server does not accept the ticket: {error}"
            ) from None
        except ValidationError as error:
            raise not_delivered(
                DeliveryCode.BAD_TICKET, f"the ticket has {error.error_count()} malformed fields"
            ) from None
        if ticket.meeting != meeting:
            raise not_delivered(DeliveryCode.BAD_TICKET, "the ticket is for another meeting")
        if ticket.delivery != self._name:
            raise not_delivered(
                DeliveryCode.BAD_TICKET,
                f"the ticket names the server {ticket.delivery!r}, but this is {self._name!r}",
            )
        if not now < ticket.expires_at <= now + LONGEST_CEREMONY:
            raise not_delivered(
                DeliveryCode.BAD_TICKET,
                f"the ticket expires at {ticket.expires_at}, but this server's clock shows {now}",
            )
        require_participant(signer, tuple(ticket.participants))
        return ticket


def require_participant(signer: str, participants: tuple[str, ...]) -> None:
    """Raise NotDelivered unless the signer takes part."""
    if signer not in participants:
        raise not_delivered(
            DeliveryCode.NOT_A_PARTICIPANT, f"{signer} does not take part in this ceremony"
        )


def require_signer(peer: PeerCertificate | None, now: datetime) -> str:
    """Return the node id that a connection's certificate proves. Raise NotDelivered."""
    if peer is None or peer.node is None:
        raise not_delivered(
            DeliveryCode.CERTIFICATE_REJECTED,
            "the certificate names no node. Request another one with: pki csr node",
        )
    if peer.not_after <= now:
        raise not_delivered(
            DeliveryCode.CERTIFICATE_REJECTED,
            f"the certificate expired at {peer.not_after}, while this connection was open",
        )
    return peer.node
