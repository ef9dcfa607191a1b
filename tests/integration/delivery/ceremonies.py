"""Ceremonies to deliver for: tickets as the control plane signs them, and who takes part."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.wire.delivery import DeliveryTicket
from custody.wire.signed_bytes import DELIVERY_TICKET_TYPE, SignedBytes, SigningKey
from mpc.ceremonies.delivery_client import DeliveryClient

SERVER = "delivery-1"


class ControlPlane:
    """Signs tickets."""

    def __init__(self) -> None:
        self.signer = SigningKey(Ed25519PrivateKey.generate())

    def ticket(
        self,
        *signers: str,
        meeting: UUID | None = None,
        seconds: float = 30.0,
        delivery: str = SERVER,
        message_bytes: int = 2**20,
        held_bytes: int = 2**30,
    ) -> SignedBytes:
        """All of ``signers`` take part."""
        ticket = DeliveryTicket(
            meeting=meeting or uuid4(),
            participants=list(signers),
            delivery=delivery,
            message_bytes=message_bytes,
            held_bytes=held_bytes,
            expires_at=datetime.now(UTC) + timedelta(seconds=seconds),
        )
        return self.sign(ticket)

    def sign(self, ticket: DeliveryTicket) -> SignedBytes:
        return self.signer.sign(DELIVERY_TICKET_TYPE, ticket.model_dump_json().encode())


class Party:
    """One signer's end: its client, under its own certificate."""

    def __init__(self, name: str, client: DeliveryClient) -> None:
        self.name = name
        self.client = client

    async def exchange(
        self, ticket: SignedBytes, number: int, outgoing: Mapping[str, bytes]
    ) -> dict[str, bytes]:
        deadline = DeliveryTicket.model_validate_json(ticket.payload).expires_at
        return await self.client.exchange(SERVER, ticket, number, outgoing, deadline)

    def hand_in(
        self, ticket: SignedBytes, number: int, *recipients: str, content: bytes = b"ciphertext"
    ) -> asyncio.Task[dict[str, bytes]]:
        """Begin an exchange: the same message to each recipient, then wait for theirs."""
        outgoing = {name: content for name in recipients if name != self.name}
        return asyncio.create_task(self.exchange(ticket, number, outgoing))

    async def abort(self, ticket: SignedBytes, reason: bytes = b"sealed") -> None:
        await self.client.abort(SERVER, ticket, reason)


def meeting_of(ticket: SignedBytes) -> UUID:
    return DeliveryTicket.model_validate_json(ticket.payload).meeting
