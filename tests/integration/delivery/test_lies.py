"""Whatever a delivery server does, signers get what was sent to them, or the ceremony ends."""

import asyncio
import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.wire.signed_bytes import SignedBytes, SigningKey
from custody.wire.tickets import CeremonyKind, Participant, Protocol, Ticket
from devstack.delivery import DeliveryOptions
from devstack.launcher import Tied
from mpc.ceremonies.delivery_client import (
    CeremonyExpired,
    DeliveryRefused,
    DeliveryUnavailable,
    PeerAborted,
)
from mpc.ceremonies.envelopes import BadMessage, CeremonyChannel
from tests.faults.lying_delivery import LieKind, LyingDelivery
from tests.integration.delivery.ceremonies import SERVER, ControlPlane, Party, meeting_of
from tests.integration.delivery.conftest import SIGNERS, Connect, Pki, job_signing_key

EXCHANGES = 3
LIES = [kind for kind in LieKind if kind is not LieKind.SILENCE]
ENDS = (BadMessage, PeerAborted, CeremonyExpired, DeliveryUnavailable)


@pytest.fixture
def liar(tmp_path: Path, pki: Pki, control_plane: ControlPlane) -> Iterator[LyingDelivery]:
    server = LyingDelivery(SERVER, tmp_path / SERVER, tmp_path / "log", Tied())
    server.configure(job_signing_key(control_plane), pki.server(), DeliveryOptions())
    server.start()
    yield server
    server.kill()


class Signers:
    """Signers that are honest, and tell each other who they are."""

    def __init__(self, parties: Sequence[Party], control_plane: ControlPlane) -> None:
        self._parties = parties
        self._control_plane = control_plane
        self._identities = {each.name: SigningKey(Ed25519PrivateKey.generate()) for each in parties}

    async def hold(self, seconds: float = 20.0) -> list[BaseException | None]:
        """Hold one ceremony; how it ended for each."""
        names = [each.name for each in self._parties]
        shown = self._control_plane.ticket(*names, seconds=seconds)
        ticket = ticket_of(meeting_of(shown), names, seconds)
        return await asyncio.gather(
            *(self._take_part(each, ticket, shown) for each in self._parties)
        )

    async def _take_part(
        self, party: Party, ticket: Ticket, signed: SignedBytes
    ) -> BaseException | None:
        digest = hashlib.sha256(ticket.model_dump_json().encode()).digest()
        public_keys = {name: signer.public_key for name, signer in self._identities.items()}
        mine = self._identities[party.name]
        channel = CeremonyChannel(ticket, digest, party.name, mine, public_keys)
        others = [name for name in ticket.signers if name != party.name]
        try:
            hello = channel.hello([], said(party.name, "all", 0))
            incoming = await party.exchange(signed, 0, dict.fromkeys(others, hello))
            for sender, opened in channel.open_hellos(incoming).items():
                assert opened.opening == said(sender, "all", 0)
            for number in range(1, EXCHANGES + 1):
                private = {name: said(party.name, name, number) for name in others}
                sealed = channel.seal(number, said(party.name, "all", number), private)
                incoming = await party.exchange(signed, number, sealed)
                for sender, both in channel.open(number, incoming).items():
                    assert both == (said(sender, "all", number), said(sender, party.name, number))
        except ENDS as error:
            with contextlib.suppress(DeliveryRefused):  # past its deadline there is no ceremony
                await party.abort(signed)
            return error
        return None


def ticket_of(meeting: UUID, names: Sequence[str], seconds: float) -> Ticket:
    """What the signers are given beside the delivery ticket."""
    return Ticket(
        ceremony=uuid4(),
        meeting=meeting,
        secret=os.urandom(32),
        kind=CeremonyKind.GENERATE,
        job_id=uuid4(),
        job_digest=bytes(32),
        key_id=uuid4(),
        generation=0,
        share_set_id=None,
        protocol=Protocol.FROST_ED25519,
        group="treasury",
        threshold=2,
        signers=list(names),
        participants=[Participant(signer=name, index=index) for index, name in enumerate(names, 1)],
        delivery=SERVER,
        issued_at=datetime.now(UTC),
        expires_at=datetime.now(UTC) + timedelta(seconds=seconds),
    )


def is_harmless(kind: LieKind, exchange: int, signers: int) -> bool:
    """Whether everybody still gets what was meant: hellos are the same for all recipients."""
    if kind is LieKind.MISDELIVER:
        return exchange == 0 or signers == 2
    return kind is LieKind.REORDER


def said(sender: str, recipient: str, number: int) -> bytes:
    return f"{sender} to {recipient} at {number}".encode()


@pytest.fixture(params=[2, 3], ids=["two-signers", "three-signers"])
async def signers(
    request: pytest.FixtureRequest,
    liar: LyingDelivery,
    connect: Connect,
    control_plane: ControlPlane,
) -> Signers:
    names = SIGNERS[: request.param]
    return Signers([await connect(name, url=liar.url) for name in names], control_plane)


async def test_an_honest_ceremony_comes_to_its_end(signers: Signers):
    assert not any(await signers.hold())


async def test_no_lie_at_any_exchange_is_believed(signers: Signers, liar: LyingDelivery):
    await signers.hold()  # for the lies that need a ceremony before
    for kind in LIES:
        for exchange in range(EXCHANGES + 1):
            liar.lie(kind, exchange, victim="signer-1")
            ended = await signers.hold()
            assert f"{kind.value} signer-1 {exchange}" in liar.told()
            assert (ended[0] is None) == is_harmless(kind, exchange, len(ended)), (kind, ended)
            liar.be_honest()
    assert not any(await signers.hold())


async def test_lies_to_everybody_at_once_are_not_believed_either(
    signers: Signers, liar: LyingDelivery
):
    await signers.hold()
    for kind in LIES:
        liar.lie(kind)
        ended = await signers.hold()
        assert all(ended) != is_harmless(kind, 1, len(ended)), (kind, ended)


async def test_a_server_that_falls_silent_ends_the_ceremony_at_its_deadline(
    signers: Signers, liar: LyingDelivery
):
    liar.lie(LieKind.SILENCE, 1)
    deadline = datetime.now(UTC) + timedelta(seconds=2)
    ended = await signers.hold(seconds=2)
    assert all(isinstance(error, ENDS) for error in ended)
    assert datetime.now(UTC) >= deadline
