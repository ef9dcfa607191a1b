"""Messages reach their recipients, all at once, however often they are handed in."""

import asyncio

import pytest

from mpc.ceremonies.delivery_client import DeliveryRefused, DeliveryUnavailable
from tests.integration.delivery.ceremonies import SERVER, ControlPlane, Party
from tests.integration.delivery.conftest import SIGNERS, Server


def outgoing(party: Party, number: int) -> dict[str, bytes]:
    """A message of its own for each other signer."""
    return {
        name: f"{number} from {party.name} to {name}".encode()
        for name in SIGNERS
        if name != party.name
    }


async def test_everybody_gets_what_is_for_it_exchange_after_exchange(
    parties: list[Party], control_plane: ControlPlane
):
    ticket = control_plane.ticket(*SIGNERS)
    for number in range(4):
        answers = await asyncio.gather(
            *(party.exchange(ticket, number, outgoing(party, number)) for party in parties)
        )
        for party, answer in zip(parties, answers, strict=True):
            assert answer == {
                other.name: outgoing(other, number)[party.name]
                for other in parties
                if other is not party
            }


async def test_nobody_is_answered_before_all_have_handed_in(
    parties: list[Party], control_plane: ControlPlane
):
    ticket = control_plane.ticket(*SIGNERS)
    first, second, third = parties
    waiting = [first.hand_in(ticket, 0, *SIGNERS), second.hand_in(ticket, 0, *SIGNERS)]
    done, _ = await asyncio.wait(waiting, timeout=0.5)
    assert not done
    await third.hand_in(ticket, 0, *SIGNERS)
    await asyncio.gather(*waiting)


async def test_large_messages_arrive_whole(parties: list[Party], control_plane: ControlPlane):
    ticket = control_plane.ticket(*SIGNERS)
    content = bytes(range(256)) * 2048
    answers = await asyncio.gather(
        *(party.hand_in(ticket, 0, *SIGNERS, content=content) for party in parties)
    )
    assert all(message == content for answer in answers for message in answer.values())


async def test_the_same_bytes_again_are_the_same_hand_in(
    server: Server, parties: list[Party], control_plane: ControlPlane
):
    ticket = control_plane.ticket(*SIGNERS)
    first, second, third = parties
    lost = first.hand_in(ticket, 0, *SIGNERS)
    await server.until_held(2 * len(b"ciphertext"))
    lost.cancel()  # the connection goes with it, the messages stay
    again = first.hand_in(ticket, 0, *SIGNERS)
    await asyncio.gather(second.hand_in(ticket, 0, *SIGNERS), third.hand_in(ticket, 0, *SIGNERS))
    assert await again == {"signer-2": b"ciphertext", "signer-3": b"ciphertext"}
    # and after it was answered, too, as long as it has not begun the next exchange
    assert await first.hand_in(ticket, 0, *SIGNERS) == await again


async def test_an_answer_that_was_lost_is_given_again_though_others_have_gone_on(
    server: Server, parties: list[Party], control_plane: ControlPlane
):
    ticket = control_plane.ticket(*SIGNERS)
    first, second, third = parties
    await asyncio.gather(*(party.hand_in(ticket, 0, *SIGNERS) for party in parties))
    going_on = [second.hand_in(ticket, 1, *SIGNERS), third.hand_in(ticket, 1, *SIGNERS)]
    await server.until_held((2 + 2 * 2) * len(b"ciphertext"))  # two for the first, and theirs
    assert set(await first.hand_in(ticket, 0, *SIGNERS)) == {"signer-2", "signer-3"}
    await first.hand_in(ticket, 1, *SIGNERS)
    await asyncio.gather(*going_on)


async def test_other_bytes_are_refused_once_some_were_handed_in(
    server: Server, parties: list[Party], control_plane: ControlPlane
):
    ticket = control_plane.ticket(*SIGNERS)
    first, second, third = parties
    waiting = first.hand_in(ticket, 0, *SIGNERS)
    await server.until_held(2 * len(b"ciphertext"))
    with pytest.raises(DeliveryRefused, match="other messages") as caught:
        await first.hand_in(ticket, 0, *SIGNERS, content=b"changed")
    assert caught.value.code == "conflict"
    answers = await asyncio.gather(
        waiting, second.hand_in(ticket, 0, *SIGNERS), third.hand_in(ticket, 0, *SIGNERS)
    )
    assert answers[1]["signer-1"] == b"ciphertext"


@pytest.mark.parametrize("number", [0, 3])
async def test_an_exchange_that_is_not_due_is_refused(
    server: Server, parties: list[Party], control_plane: ControlPlane, number: int
):
    """One that is over, and one that not all can have come to."""
    ticket = control_plane.ticket(*SIGNERS)
    for done in (0, 1):
        await asyncio.gather(*(party.hand_in(ticket, done, *SIGNERS) for party in parties))
    waiting = parties[0].hand_in(ticket, 2, *SIGNERS, content=b"longer ciphertext")
    # four of the exchange before, which others may ask for again, and these two
    await server.until_held(4 * len(b"ciphertext") + 2 * len(b"longer ciphertext"))
    with pytest.raises(DeliveryRefused, match="not due"):
        await parties[0].hand_in(ticket, number, *SIGNERS)
    waiting.cancel()


@pytest.mark.parametrize(
    "recipients",
    [("signer-2",), ("signer-2", "signer-3", "signer-9"), ()],
    ids=["one-is-missing", "one-is-a-stranger", "none"],
)
async def test_each_other_participant_gets_one_message_and_nobody_else(
    parties: list[Party], control_plane: ControlPlane, recipients: tuple[str, ...]
):
    ticket = control_plane.ticket(*SIGNERS)
    with pytest.raises(DeliveryRefused, match="each other participant"):
        await parties[0].hand_in(ticket, 0, *recipients)


async def test_ceremonies_do_not_wait_for_each_other(
    parties: list[Party], control_plane: ControlPlane
):
    stuck, other = control_plane.ticket(*SIGNERS), control_plane.ticket(*SIGNERS)
    waiting = parties[0].hand_in(stuck, 0, *SIGNERS)
    await asyncio.gather(*(party.hand_in(other, 0, *SIGNERS) for party in parties))
    assert not waiting.done()
    waiting.cancel()


async def test_a_server_that_the_signer_does_not_know_is_unavailable(
    parties: list[Party], control_plane: ControlPlane
):
    with pytest.raises(DeliveryUnavailable, match="not in this signer's configuration"):
        await parties[0].client.abort("delivery-9", control_plane.ticket(*SIGNERS), b"sealed")


async def test_it_says_who_it_is(parties: list[Party]):
    assert (await parties[0].client.facts(SERVER)).name == SERVER
