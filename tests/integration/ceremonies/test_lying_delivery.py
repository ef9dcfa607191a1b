"""A delivery server that lies: a ceremony ends, or with the right result; nobody is banned."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from aiohttp import web

from custody.wire.algorithms import ECDSA_SECP256K1, EDDSA_ED25519
from custody.wire.delivery import DeliveryCode, DeliveryProblem
from custody.wire.outcomes import OutcomeStatus, PreparedShare
from custody.wire.requests import CREATE_SIGNATURE
from tests.integration.ceremonies import orders
from tests.integration.ceremonies.orders import Key, Order
from tests.integration.ceremonies.parties import (
    NAMES,
    Organisation,
    Parties,
    check_signature,
    ended,
    signature_of,
    wanted,
)
from tests.integration.ceremonies.scripted_delivery import Answer, ScriptedDelivery, honestly
from tests.unit.mpc.native.lies import flip

ONE, TWO, THREE = NAMES[:3]


@pytest.fixture
async def server(organisation: Organisation) -> AsyncIterator[ScriptedDelivery]:
    async with ScriptedDelivery().serving(organisation.server_leaf) as server:
        yield server


def first_of(messages: dict[str, bytes]) -> str:
    return min(messages)


def drops(_: ScriptedDelivery, __: UUID, ___: int, ____: str, messages: dict[str, bytes]) -> Answer:
    return {name: each for name, each in messages.items() if name != first_of(messages)}


def changes_the_signature(
    _: ScriptedDelivery, __: UUID, ___: int, ____: str, messages: dict[str, bytes]
) -> Answer:
    return messages | {first_of(messages): flip(5)(messages[first_of(messages)])}


def changes_the_end(
    _: ScriptedDelivery, __: UUID, ___: int, ____: str, messages: dict[str, bytes]
) -> Answer:
    return messages | {first_of(messages): flip(-1)(messages[first_of(messages)])}


def cuts(_: ScriptedDelivery, __: UUID, ___: int, ____: str, messages: dict[str, bytes]) -> Answer:
    return messages | {first_of(messages): messages[first_of(messages)][:-1]}


def empties(
    _: ScriptedDelivery, __: UUID, ___: int, ____: str, messages: dict[str, bytes]
) -> Answer:
    return dict.fromkeys(messages, b"")


def inflates(
    _: ScriptedDelivery, __: UUID, ___: int, ____: str, messages: dict[str, bytes]
) -> Answer:
    return messages | {first_of(messages): messages[first_of(messages)] + bytes(600_000)}


def swaps_recipients(
    server: ScriptedDelivery, ceremony: UUID, number: int, me: str, messages: dict[str, bytes]
) -> Answer:
    """What was for us goes to another, and the other's to us."""
    return {
        sender: next(
            each
            for recipient, each in sorted(server.handed[ceremony, number][sender].items())
            if recipient != me or len(server.handed[ceremony, number][sender]) == 1
        )
        for sender in messages
    }


def swaps_senders(
    _: ScriptedDelivery, __: UUID, ___: int, ____: str, messages: dict[str, bytes]
) -> Answer:
    names = sorted(messages)
    return dict(zip(names, [messages[name] for name in reversed(names)], strict=True))


def echoes(
    server: ScriptedDelivery, ceremony: UUID, number: int, me: str, messages: dict[str, bytes]
) -> Answer:
    """Our own words, as everybody else's."""
    return {sender: server.handed[ceremony, number][me][sender] for sender in messages}


def replays_the_exchange_before(
    server: ScriptedDelivery, ceremony: UUID, number: int, me: str, messages: dict[str, bytes]
) -> Answer:
    before = server.handed.get((ceremony, number - 1))
    return messages if before is None else {sender: before[sender][me] for sender in messages}


def replays_another_ceremony(
    server: ScriptedDelivery, ceremony: UUID, number: int, me: str, messages: dict[str, bytes]
) -> Answer:
    for (other, at), exchange in server.handed.items():
        if other != ceremony and at == number and exchange.keys() >= messages.keys():
            return {sender: exchange[sender].get(me, b"") for sender in messages}
    return messages


def adds_a_stranger(
    _: ScriptedDelivery, __: UUID, ___: int, ____: str, messages: dict[str, bytes]
) -> Answer:
    return {**messages, "signer-9": messages[first_of(messages)]}


def says_that_one_has_ended_it(
    _: ScriptedDelivery, __: UUID, ___: int, ____: str, messages: dict[str, bytes]
) -> Answer:
    problem = DeliveryProblem(
        code=DeliveryCode.ABORTED, detail="", signer=first_of(messages), abort_reason=b"bad_message"
    )
    return web.Response(status=409, text=problem.model_dump_json())


def answers_nonsense(
    _: ScriptedDelivery, __: UUID, ___: int, ____: str, messages: dict[str, bytes]
) -> Answer:
    return web.Response(body=b"\xff" * 100)


def fails(_: ScriptedDelivery, __: UUID, ___: int, ____: str, messages: dict[str, bytes]) -> Answer:
    return web.Response(status=500, text="no")


ENDS_IT = {
    drops: "bad_message",
    changes_the_signature: "bad_message",
    changes_the_end: "bad_message",
    cuts: "bad_message",
    empties: "bad_message",
    inflates: "bad_message",
    swaps_recipients: "bad_message",
    swaps_senders: "bad_message",
    echoes: "bad_message",
    replays_the_exchange_before: "bad_message",
    replays_another_ceremony: "bad_message",
    adds_a_stranger: "bad_message",
    says_that_one_has_ended_it: "peer_aborted",
    answers_nonsense: "delivery_unavailable",
    fails: "delivery_unavailable",
}


def at(exchange: int, deceit, only_to: str | None = None):
    """The deceit at one exchange, towards all or one; honest before and after."""

    def only_then(
        server: ScriptedDelivery, ceremony: UUID, number: int, me: str, messages: dict[str, bytes]
    ) -> Answer:
        is_now = number == exchange and only_to in (None, me)
        return (deceit if is_now else honestly)(server, ceremony, number, me, messages)

    return only_then


async def no_wrong_result(parties: Parties, key: Key, order: Order) -> set[str]:
    """Each signature is right, and no signer is the only one with a share.

    Returns the codes of the others.
    """
    outcomes = await parties.hold(order)
    codes = set()
    for outcome in outcomes.values():
        if outcome.status is not OutcomeStatus.DONE:
            codes.add(ended(outcome)[0])
        elif not isinstance(outcome.result, PreparedShare):
            request = CREATE_SIGNATURE.validate_json(order.job.request)
            check_signature(key, request, signature_of(outcome))
    for party in parties.of(key):
        assert await party.bans.all() == []
        assert await party.rows("SELECT FROM in_flight") == []
        await party.rows("DELETE FROM shares WHERE state = 'confirmed'")
    return codes


@pytest.mark.parametrize("algorithm", [ECDSA_SECP256K1, EDDSA_ED25519], ids=str)
async def test_no_deceit_of_the_server_gives_a_wrong_signature_or_a_ban(
    with_key, server, algorithm
):
    parties, key = await with_key(algorithm, 2 if algorithm == ECDSA_SECP256K1 else 3, 3,
                                  delivery_url=server.url)  # fmt: skip
    await parties.sign(key)  # something to replay
    for exchange in (0, 1, 2, 3) if algorithm == ECDSA_SECP256K1 else (0, 1):
        for deceit, code in ENDS_IT.items():
            if (exchange, deceit) == (0, replays_the_exchange_before):
                continue  # there is none
            if deceit is swaps_recipients and exchange == 0:
                continue  # a hello is the same for all
            if deceit is swaps_senders and key.threshold == 2:
                continue  # there is but one other
            if deceit is swaps_recipients and key.threshold == 2:
                continue
            server.deceit = at(exchange, deceit)
            order = orders.sign(key, key.quorum, wanted(key)).until(20)
            codes = await no_wrong_result(parties, key, order)
            assert codes == {code}, (exchange, deceit.__name__)
    server.deceit = honestly
    await parties.sign(key)


@pytest.mark.parametrize("kind", ["generate", "refresh"])
async def test_no_deceit_of_the_server_leaves_shares_that_do_not_go_together(
    with_key, server, kind
):
    parties, key = await with_key(EDDSA_ED25519, delivery_url=server.url)
    await parties.sign(key)
    for exchange in (0, 1, 2, 3):
        for deceit in (changes_the_end, swaps_senders, replays_the_exchange_before, drops):
            if exchange == 0 and deceit is replays_the_exchange_before:
                continue
            server.deceit = at(exchange, deceit)
            if kind == "generate":
                order = orders.generate(Key(EDDSA_ED25519, 2, key.signers))
            else:
                order = orders.refresh(key)
            codes = await no_wrong_result(parties, key, order.until(20))
            assert codes == {"bad_message"}, (exchange, deceit.__name__)
    server.deceit = honestly
    await parties.sign(await parties.refresh(key))


async def test_messages_that_are_late_or_in_another_order_do_no_harm(with_key, server):
    parties, key = await with_key(EDDSA_ED25519, 3, 3, delivery_url=server.url)
    server.delay = 0.3
    server.deceit = lambda *told: dict(reversed(told[-1].items()))
    await parties.sign(key)
    await parties.sign(await parties.refresh(key))


async def test_a_server_that_never_answers_costs_the_ceremonys_time(with_key, server):
    parties, key = await with_key(EDDSA_ED25519, delivery_url=server.url)
    server.delay = 60.0
    order = orders.sign(key, key.quorum, wanted(key)).until(1)
    assert await no_wrong_result(parties, key, order) == {"peer_silent"}


async def test_one_that_is_lied_to_ends_it_alone_and_the_others_have_nothing_wrong(
    with_key, server
):
    parties, key = await with_key(EDDSA_ED25519, 3, 3, delivery_url=server.url)
    for exchange in (0, 1):
        server.deceit = at(exchange, changes_the_end, only_to=TWO)
        order = orders.sign(key, key.quorum, wanted(key)).until(2)
        codes = await no_wrong_result(parties, key, order)
        assert "bad_message" in codes
        assert codes <= {"bad_message", "peer_silent"}


async def test_a_server_in_league_with_the_control_plane_cannot_have_two_digests_signed_at_once(
    with_key, server
):
    """Each signer has a ticket that is good for itself; they find out at the hello."""
    parties, key = await with_key(ECDSA_SECP256K1, delivery_url=server.url)
    one = orders.sign(key, [ONE, TWO], wanted(key))
    two = orders.sign(key, [ONE, TWO], wanted(key)).with_ticket(
        ceremony=one.ceremony, meeting=one.meeting
    )
    outcomes = await parties.give({ONE: one, TWO: two})
    assert {ended(outcome) for outcome in outcomes.values()} == {("bad_message", ())}
    assert "another ticket" in (outcomes[ONE].reason or "")
