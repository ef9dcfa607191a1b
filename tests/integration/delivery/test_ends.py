"""However a ceremony ends, nobody waits for longer than need be, and all are told why."""

import asyncio
import signal

import pytest

from devstack.delivery import DeliveryServer
from mpc.ceremonies.delivery_client import CeremonyExpired, DeliveryUnavailable, PeerAborted
from tests.integration.delivery.ceremonies import ControlPlane, Party
from tests.integration.delivery.conftest import SIGNERS, Connect, Server, until_held


async def test_an_abort_releases_who_waits_and_names_who_and_why(
    server: Server, parties: list[Party], control_plane: ControlPlane
):
    ticket = control_plane.ticket(*SIGNERS)
    waiting = [party.hand_in(ticket, 0, *SIGNERS) for party in parties[:2]]
    await server.until_held(2 * 2 * len(b"ciphertext"))
    await parties[2].abort(ticket, b"sealed for the others")
    for each in waiting:
        with pytest.raises(PeerAborted) as caught:
            await asyncio.wait_for(each, 2)
        assert (caught.value.signer, caught.value.reason) == ("signer-3", b"sealed for the others")


async def test_an_abort_that_comes_first_is_told_to_who_comes_after(
    parties: list[Party], control_plane: ControlPlane
):
    ticket = control_plane.ticket(*SIGNERS)
    await parties[2].abort(ticket)
    await parties[1].abort(ticket, b"another reason")  # the first one holds
    with pytest.raises(PeerAborted, match="signer-3 ended the ceremony"):
        await parties[0].hand_in(ticket, 0, *SIGNERS)


async def test_what_was_complete_before_an_abort_can_still_be_collected(
    parties: list[Party], control_plane: ControlPlane
):
    ticket = control_plane.ticket(*SIGNERS)
    await asyncio.gather(*(party.hand_in(ticket, 0, *SIGNERS) for party in parties))
    await parties[2].abort(ticket)
    assert len(await parties[0].hand_in(ticket, 0, *SIGNERS)) == 2
    with pytest.raises(PeerAborted):
        await parties[0].hand_in(ticket, 1, *SIGNERS)


async def test_at_the_deadline_the_silent_are_named(
    parties: list[Party], control_plane: ControlPlane
):
    ticket = control_plane.ticket(*SIGNERS, seconds=1.5)
    waiting = [party.hand_in(ticket, 0, *SIGNERS) for party in parties[:2]]
    for each in waiting:
        with pytest.raises(CeremonyExpired) as caught:
            await asyncio.wait_for(each, 5)
        assert caught.value.silent == ("signer-3",)


async def test_without_a_word_from_the_server_the_deadline_still_holds(
    process: DeliveryServer, connect: Connect, control_plane: ControlPlane
):
    process.start()
    party = await connect("signer-1", url=process.url)
    waiting = party.hand_in(control_plane.ticket(*SIGNERS, seconds=1), 0, *SIGNERS)
    await until_held(process.health_port, 2 * len(b"ciphertext"))
    process.process.signal(signal.SIGSTOP)
    try:
        with pytest.raises(CeremonyExpired) as caught:
            await asyncio.wait_for(waiting, 5)
        assert caught.value.silent == ()
    finally:
        process.process.signal(signal.SIGCONT)


async def test_when_a_peer_says_no_hello_the_ceremony_is_forgotten_and_the_peer_named(
    server: Server, connect: Connect, control_plane: ControlPlane
):
    await server.start(hello_seconds=1)
    party = await connect("signer-1")
    ticket = control_plane.ticket(*SIGNERS)
    waiting = party.hand_in(ticket, 0, *SIGNERS)
    with pytest.raises(CeremonyExpired) as caught:
        await asyncio.wait_for(waiting, 5)
    assert caught.value.silent == ("signer-2", "signer-3")
    assert "custody_delivery_sessions 0.0" in await server.metrics()
    assert "custody_delivery_held_bytes 0.0" in await server.metrics()


async def test_a_peer_that_falls_silent_later_is_waited_for_longer_and_named(
    server: Server, connect: Connect, control_plane: ControlPlane
):
    await server.start(hello_seconds=0.1, idle_seconds=1)
    parties = [await connect(name) for name in SIGNERS]
    ticket = control_plane.ticket(*SIGNERS)
    await asyncio.gather(*(party.hand_in(ticket, 0, *SIGNERS) for party in parties))
    waiting = [party.hand_in(ticket, 1, *SIGNERS) for party in parties[:2]]
    for each in waiting:
        with pytest.raises(CeremonyExpired) as caught:
            await asyncio.wait_for(each, 5)
        assert caught.value.silent == ("signer-3",)


async def test_a_killed_server_is_unavailable_after_a_few_attempts(
    process: DeliveryServer, connect: Connect, control_plane: ControlPlane
):
    process.start()
    party = await connect("signer-1", url=process.url)
    waiting = party.hand_in(control_plane.ticket(*SIGNERS), 0, *SIGNERS)
    await until_held(process.health_port, 2 * len(b"ciphertext"))
    process.kill()
    with pytest.raises(DeliveryUnavailable, match="cannot reach delivery-1"):
        await asyncio.wait_for(waiting, 10)


async def test_a_server_that_was_started_anew_knows_no_ceremony_half_way(
    process: DeliveryServer, connect: Connect, control_plane: ControlPlane
):
    process.start()
    two = [await connect(name, url=process.url) for name in SIGNERS[:2]]
    ticket = control_plane.ticket(*SIGNERS[:2])
    await asyncio.gather(*(party.hand_in(ticket, 0, *SIGNERS[:2]) for party in two))
    process.kill()
    await asyncio.to_thread(process.start)
    with pytest.raises(DeliveryUnavailable, match="does not know the ceremony"):
        await two[0].hand_in(ticket, 1, *SIGNERS[:2])


async def test_a_server_that_is_told_to_stop_releases_who_waits(
    process: DeliveryServer, connect: Connect, control_plane: ControlPlane
):
    process.start()
    party = await connect("signer-1", url=process.url)
    waiting = party.hand_in(control_plane.ticket(*SIGNERS), 0, *SIGNERS)
    await until_held(process.health_port, 2 * len(b"ciphertext"))
    await asyncio.to_thread(process.stop)
    with pytest.raises(DeliveryUnavailable, match="this server stops"):
        await waiting
    assert '"stopped"' in process.log.read_text()


async def test_a_participant_that_left_is_still_delivered_for(
    server: Server, parties: list[Party], control_plane: ControlPlane
):
    ticket = control_plane.ticket(*SIGNERS)
    gone = parties[0].hand_in(ticket, 0, *SIGNERS, content=b"from one who left")
    await server.until_held(2 * len(b"from one who left"))
    gone.cancel()
    answers = await asyncio.gather(*(party.hand_in(ticket, 0, *SIGNERS) for party in parties[1:]))
    assert all(answer["signer-1"] == b"from one who left" for answer in answers)
