"""A delivery server serves only the signers of a signed ticket, each by its certificate."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from custody.wire.delivery import DeliveryCode
from custody.wire.signed_bytes import JOB_TYPE, TICKET_TYPE, SignedBytes
from mpc.ceremonies.delivery_client import DeliveryRefused, DeliveryUnavailable
from tests.integration.delivery.ceremonies import SERVER, ControlPlane, Party
from tests.integration.delivery.conftest import SIGNERS, Connect, Pki, Server


async def refused(party: Party, ticket: SignedBytes, number: int = 0) -> str:
    """The code that a hand-in is refused with."""
    with pytest.raises(DeliveryRefused) as caught:
        await party.hand_in(ticket, number, *SIGNERS)
    return caught.value.code


async def test_a_node_that_does_not_take_part_is_refused(
    server: Server, parties: list[Party], connect: Connect, control_plane: ControlPlane
):
    outsider = await connect("outsider")
    ticket = control_plane.ticket(*SIGNERS)
    assert await refused(outsider, ticket) == DeliveryCode.NOT_A_PARTICIPANT
    waiting = parties[0].hand_in(ticket, 0, *SIGNERS)
    await server.until_held(2 * len(b"ciphertext"))
    for number in (0, 1):
        assert await refused(outsider, ticket, number) == DeliveryCode.NOT_A_PARTICIPANT
    with pytest.raises(DeliveryRefused, match="does not take part"):
        await outsider.abort(ticket)
    assert not waiting.done()
    waiting.cancel()


async def test_a_participant_cannot_speak_for_another(
    server: Server, connect: Connect, pki: Pki, control_plane: ControlPlane
):
    """The certificate says who it is: what it hands in as signer-1 counts as signer-2's."""
    await server.start()
    impostor = await connect("signer-1", leaf=pki.node("signer-2"))
    with pytest.raises(DeliveryRefused, match="each other participant"):
        await impostor.hand_in(control_plane.ticket(*SIGNERS), 0, *SIGNERS)


async def test_a_forged_ticket_is_refused(parties: list[Party], control_plane: ControlPlane):
    good = control_plane.ticket(*SIGNERS)
    assert await refused(parties[0], ControlPlane().ticket(*SIGNERS)) == DeliveryCode.BAD_TICKET
    payload = good.payload.replace(b'"signer-3"', b'"signer-4"')
    changed = good.model_copy(update={"payload": payload})
    assert await refused(parties[0], changed) == DeliveryCode.BAD_TICKET


async def test_no_ticket_is_a_ticket_of_something_else(
    parties: list[Party], control_plane: ControlPlane
):
    ticket = control_plane.ticket(*SIGNERS)
    for payload_type in (JOB_TYPE, TICKET_TYPE):
        other = control_plane.signer.sign(payload_type, ticket.payload)
        assert await refused(parties[0], other) == DeliveryCode.BAD_TICKET


@pytest.mark.parametrize("seconds", [-1.0, 7200.0], ids=["expired", "good-for-too-long"])
async def test_a_ticket_of_another_time_is_refused(
    parties: list[Party], control_plane: ControlPlane, seconds: float
):
    ticket = control_plane.ticket(*SIGNERS, seconds=seconds)
    outgoing = {"signer-2": b"", "signer-3": b""}
    soon = datetime.now(UTC) + timedelta(seconds=5)
    with pytest.raises(DeliveryRefused, match="the ticket expires at") as caught:
        await parties[0].client.exchange(SERVER, ticket, 0, outgoing, soon)
    assert caught.value.code == DeliveryCode.BAD_TICKET


async def test_a_ticket_that_names_another_server_is_refused(
    parties: list[Party], control_plane: ControlPlane
):
    ticket = control_plane.ticket(*SIGNERS, delivery="delivery-2")
    assert await refused(parties[0], ticket) == DeliveryCode.BAD_TICKET


async def test_unlike_tickets_for_one_ceremony_end_it_at_once(
    server: Server, parties: list[Party], control_plane: ControlPlane
):
    meeting = uuid4()
    waiting = parties[0].hand_in(control_plane.ticket(*SIGNERS, meeting=meeting), 0, *SIGNERS)
    await server.until_held(2 * len(b"ciphertext"))
    other = control_plane.ticket(*SIGNERS, meeting=meeting)
    assert await refused(parties[1], other) == DeliveryCode.CONFLICT
    with pytest.raises(DeliveryRefused, match="different tickets"):
        await asyncio.wait_for(waiting, 2)


async def test_an_exchange_of_an_unknown_ceremony_says_so(
    parties: list[Party], control_plane: ControlPlane
):
    with pytest.raises(DeliveryUnavailable, match="does not know the ceremony"):
        await parties[0].hand_in(control_plane.ticket(*SIGNERS), 1, *SIGNERS)


async def test_a_certificate_that_names_no_node_is_refused(
    server: Server, connect: Connect, pki: Pki, control_plane: ControlPlane
):
    await server.start()
    with_server_certificate = await connect("signer-1", leaf=pki.nameless())
    ticket = control_plane.ticket(*SIGNERS)
    assert await refused(with_server_certificate, ticket) == DeliveryCode.CERTIFICATE_REJECTED


async def test_a_certificate_under_another_root_gets_no_connection(
    server: Server, connect: Connect, strangers: Pki
):
    await server.start()
    stranger = await connect("signer-1", leaf=strangers.node("signer-1"))
    with pytest.raises(DeliveryUnavailable, match="does not accept this node's certificate"):
        await stranger.client.facts(SERVER)


async def test_a_server_under_another_root_is_not_believed(
    server: Server, pki: Pki, strangers: Pki, connect: Connect
):
    await server.start()
    party = await connect("signer-1", ca=strangers.server().ca)
    with pytest.raises(DeliveryUnavailable, match="certificate verify failed"):
        await party.client.facts(SERVER)


async def test_signers_of_two_organisations_meet_under_two_roots(
    server: Server,
    connect: Connect,
    pki: Pki,
    strangers: Pki,
    control_plane: ControlPlane,
    tmp_path: Path,
):
    both = tmp_path / "both.pem"
    both.write_bytes(pki.server().ca.read_bytes() + strangers.server().ca.read_bytes())
    await server.start(client_ca=both)
    ours = await connect("signer-1")
    theirs = await connect("signer-2", leaf=strangers.node("signer-2"))
    ticket = control_plane.ticket("signer-1", "signer-2")
    handed_in = [party.hand_in(ticket, 0, "signer-1", "signer-2") for party in (ours, theirs)]
    assert [len(answer) for answer in await asyncio.gather(*handed_in)] == [1, 1]
