"""Ceremonies to deliver for: tickets as the control plane signs them, and who takes part."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mpc.ceremonies.delivery_client import DeliveryClient
from wire.envelope import TICKET_TYPE, SignedBytes, Signer
from wire.tickets import CeremonyKind, Participant, Protocol, Ticket

SERVER = "delivery-1"


class ControlPlane:
    """Signs tickets."""

    def __init__(self) -> None:
        self.signer = Signer(Ed25519PrivateKey.generate())

    def ticket(
        self,
        *signers: str,
        ceremony: UUID | None = None,
        seconds: float = 30.0,
        delivery: str = SERVER,
    ) -> SignedBytes:
        """All of ``signers`` take part."""
        ticket = Ticket(
            ceremony=ceremony or uuid4(),
            kind=CeremonyKind.GENERATE,
            job_id=uuid4(),
            job_digest=bytes(32),
            key_id=uuid4(),
            generation=0,
            shares=None,
            protocol=Protocol.FROST_ED25519,
            group="treasury",
            threshold=2,
            signers=list(signers),
            participants=[
                Participant(signer=name, index=index) for index, name in enumerate(signers, 1)
            ],
            delivery=delivery,
            expires_at=datetime.now(UTC) + timedelta(seconds=seconds),
        )
        return self.sign(ticket)

    def sign(self, ticket: Ticket) -> SignedBytes:
        return self.signer.sign(TICKET_TYPE, ticket.model_dump_json().encode())


class Party:
    """One signer's end: its client, under its own certificate."""

    def __init__(self, name: str, client: DeliveryClient) -> None:
        self.name = name
        self.client = client

    async def exchange(
        self, ticket: SignedBytes, number: int, outgoing: Mapping[str, bytes]
    ) -> dict[str, bytes]:
        deadline = Ticket.model_validate_json(ticket.payload).expires_at
        return await self.client.exchange(SERVER, ticket, number, outgoing, deadline)

    def hand_in(
        self, ticket: SignedBytes, number: int, *recipients: str, content: bytes = b"ciphertext"
    ) -> asyncio.Task[dict[str, bytes]]:
        """Begin an exchange: the same message to each recipient, then wait for theirs."""
        outgoing = {name: content for name in recipients if name != self.name}
        return asyncio.create_task(self.exchange(ticket, number, outgoing))

    async def abort(self, ticket: SignedBytes, code: str = "bad_message") -> None:
        await self.client.abort(SERVER, ticket, code)


def ceremony_of(ticket: SignedBytes) -> UUID:
    return Ticket.model_validate_json(ticket.payload).ceremony
