"""How a set of shares comes into use or goes: with all n, or with none; never with some.

A signer is interrupted by an error that no signer handles, as its process would be by SIGKILL:
nothing is journalled, nobody is told.
"""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from custody.wire.algorithms import ECDSA_SECP256K1, EDDSA_ED25519
from custody.wire.outcomes import ActivatedShare, NothingMade, OutcomeStatus, PromisedShare
from custody.wire.signed_bytes import (
    ABANDONMENT_TYPE,
    CONFIRMATION_TYPE,
    PROMISE_TYPE,
    SignedBytes,
    SigningKey,
)
from custody.wire.statements import Abandonment, Promise
from mpc.ceremonies import ceremony
from mpc.ceremonies.envelopes import CeremonyChannel
from tests.integration.ceremonies import orders
from tests.integration.ceremonies.orders import ControlPlane, Key, Order
from tests.integration.ceremonies.parties import (
    NAMES,
    Parties,
    abandonment,
    ended,
    promise_of,
    wanted,
)

ONE, TWO, THREE = NAMES[:3]


class Killed(BaseException):
    """The end of a process, at whatever it was at."""


class Kills:
    """Ends a signer's part in ceremonies at a call of its channel: ``seal`` 2, ``open`` 1."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self._at: tuple[str, str, int] | None = None
        patch.setattr(ceremony, "CeremonyChannel", self._channel)

    def kill(self, parties: Parties, name: str, call: str, number: int) -> None:
        self._at = (name, call, number)

        async def abort(*_: Any) -> None:
            pass

        self._patch.setattr(parties[name].delivery, "abort", abort)

    def stop(self) -> None:
        self._at = None

    def _channel(self, ticket: Any, digest: bytes, me: str, *more: Any) -> CeremonyChannel:
        kills = self

        class Channel(CeremonyChannel):
            def _take_turn(self, turn: str, number: int, then: tuple[str, int]) -> None:
                if kills._at == (me, turn, number):
                    raise Killed
                super()._take_turn(turn, number, then)

        return Channel(ticket, digest, me, *more)


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> Kills:
    return Kills(monkeypatch)


async def hold_with_kill(parties: Parties, order: Order, killed: str) -> dict[str, Any]:
    """The outcomes of the others, which find out by the deadline."""
    others = [name for name in order.participants if name != killed]
    claimed = parties.control_plane.claimed(order)
    tasks = {name: parties[name].do(claimed) for name in (killed, *others)}
    results = await asyncio.gather(*tasks.values(), return_exceptions=True)
    outcomes: dict[str, Any] = dict(zip(tasks, results, strict=True))
    assert isinstance(outcomes.pop(killed), Killed)
    return outcomes


async def clear_away(parties: Parties, key: Key, order: Order) -> None:
    """As an honest control plane does after a ceremony that not all have confirmed."""
    about = key if key.id == order.job.key.id else replace(key, id=order.job.key.id)
    said = await parties.hold(orders.abandon(about, order.ceremony), key.signers)
    kept = [name for name, each in said.items() if isinstance(each.result, PromisedShare)]
    if kept:
        evidence = [abandonment(said[name]) for name in said if name not in kept]
        await parties.hold(orders.discard(about, order.ceremony, evidence), kept)
    for party in parties.of(key):
        rows = await party.rows(
            "SELECT state, ciphertext FROM shares WHERE ceremony = :ceremony",
            ceremony=order.ceremony,
        )
        assert [row.ciphertext for row in rows] == [None]
        assert rows[0].state in ("abandoned", "discarded")


AT = [("hello", 0), ("open", 0), ("seal", 1), ("open", 1), ("seal", 2), ("open", 2), ("seal", 3),
      ("open", 3)]  # fmt: skip


@pytest.mark.parametrize("kind", ["generate", "refresh"])
async def test_a_signer_killed_at_any_exchange_leaves_nothing_over(with_key, kills, kind):
    parties, key = await with_key(EDDSA_ED25519)
    for call, number in AT:
        kills.kill(parties, TWO, call, number)
        if kind == "generate":
            about = Key(EDDSA_ED25519, 2, key.signers)
            order = orders.generate(about).until(1.5)
        else:
            about, order = key, orders.refresh(key).until(1.5)
        outcomes = await hold_with_kill(parties, order, TWO)
        if (call, number) == AT[-1]:  # it had handed in all that the others need
            assert {outcome.status for outcome in outcomes.values()} == {OutcomeStatus.DONE}
        else:
            assert {ended(each) for each in outcomes.values()} == {("peer_silent", (TWO,))}
        await clear_away(parties, about, order)
        await parties.sign(key, [ONE, THREE])  # with the shares that were in use before
    kills.stop()
    if kind == "refresh":
        key = await parties.refresh(key)
    await parties.sign(key, [TWO, THREE])


async def test_a_signer_killed_while_signing_costs_that_attempt(with_key, kills):
    parties, key = await with_key(ECDSA_SECP256K1)
    for call, number in (("hello", 0), ("open", 1), ("seal", 2), ("open", 2), ("seal", 3)):
        kills.kill(parties, TWO, call, number)
        order = orders.sign(key, [ONE, TWO], wanted(key)).until(1.5)
        outcomes = await hold_with_kill(parties, order, TWO)
        assert ended(outcomes[ONE]) == ("peer_silent", (TWO,))
    kills.stop()
    await parties.sign(key, [ONE, TWO])  # none of these left anything in flight


async def half_confirmed(parties: Parties, key: Key, kills: Kills) -> Order:
    """A refresh that ONE and THREE have confirmed, and TWO has not."""
    order = orders.refresh(key)
    kills.kill(parties, TWO, "open", 3)
    outcomes = await hold_with_kill(parties, order, TWO)
    assert {outcome.status for outcome in outcomes.values()} == {OutcomeStatus.DONE}
    kills.stop()
    return order


async def promised_by_one(parties: Parties, key: Key) -> Order:
    """A refresh that all have confirmed, and ONE alone has promised."""
    order = orders.refresh(key)
    confirmed = await parties.prepare(order)
    new = parties.confirmed_key(key, order, confirmed)
    await parties.prove(new)
    promise_of((await parties.hold(orders.promise(new, confirmed), [ONE]))[ONE])
    return order


async def test_a_promised_share_is_thrown_away_by_the_abandonments_of_t_others_alone(with_key):
    parties, key = await with_key(EDDSA_ED25519)
    order = await promised_by_one(parties, key)
    members = parties.organisation.members

    def said(signer: str, by: str | None = None, **changes: Any) -> SignedBytes:
        fields = {"key_id": key.id, "ceremony": order.ceremony, "signer": signer} | changes
        payload = Abandonment(**fields).model_dump_json().encode()
        identity: SigningKey = members[by or signer].identity
        return identity.sign(ABANDONMENT_TYPE, payload)

    stranger = ControlPlane().signer
    forged = stranger.sign(ABANDONMENT_TYPE, said(TWO).payload)
    for second in (
        [],
        [said(THREE)],  # the same again
        [said(ONE)],  # its own
        [said(TWO, ceremony=uuid4())],
        [said(TWO, key_id=uuid4())],
        [said(TWO, by=THREE)],
        [said(NAMES[3])],  # of no signer of the set
        [forged],
        [forged.model_copy(update={"signing_key_id": members[TWO].identity.key_id})],
        [said(TWO).model_copy(update={"payload": said(THREE).payload})],
        [members[TWO].identity.sign(CONFIRMATION_TYPE, said(TWO).payload)],
    ):
        discarding = orders.discard(key, order.ceremony, [said(THREE), *second])
        outcome = (await parties.hold(discarding, [ONE]))[ONE]
        assert (outcome.status, outcome.code) == (OutcomeStatus.DENIED, "bad_evidence")
        assert await parties[ONE].states(key) == ["active", "promised"]
    told = await parties.hold(orders.abandon(key, order.ceremony), [TWO, THREE])
    evidence = [abandonment(outcome) for outcome in told.values()]
    discarding = orders.discard(key, order.ceremony, evidence)
    assert (await parties.hold(discarding, [ONE]))[ONE].status is OutcomeStatus.DONE
    assert await parties[ONE].states(key) == ["active", "discarded"]


async def test_who_has_promised_does_not_abandon_but_says_so_again(with_key):
    parties, key = await with_key(EDDSA_ED25519)
    order = await promised_by_one(parties, key)
    outcomes = await parties.hold(orders.abandon(key, order.ceremony), [ONE])
    promise_of(outcomes[ONE])
    assert await parties[ONE].states(key) == ["active", "promised"]


async def test_who_has_confirmed_alone_gives_up_for_good_when_asked(with_key, kills):
    parties, key = await with_key(EDDSA_ED25519)
    order = orders.refresh(key)
    confirmed = await parties.prepare(order)
    new = parties.confirmed_key(key, order, confirmed)
    await parties.prove(new)
    for _ in range(2):
        abandonment((await parties.hold(orders.abandon(key, order.ceremony), [ONE]))[ONE])
    outcomes = await parties.hold(orders.promise(new, confirmed), key.signers)
    assert ended(outcomes[ONE])[0] == "no_share"
    assert await parties[ONE].states(key) == ["active", "abandoned"]


@pytest.mark.parametrize("lies", ["before the others promise", "after they have"])
async def test_no_control_plane_and_lying_signer_have_some_use_what_others_throw_away(
    with_key, lies
):
    """LIAR states everything, in whatever order suits: that it promises, and that it abandons."""
    parties, key = await with_key(EDDSA_ED25519)
    liar, honest = THREE, [ONE, TWO]
    order = orders.refresh(key)
    confirmed = await parties.prepare(order)
    new = parties.confirmed_key(key, order, confirmed)
    await parties.prove(new)
    identity = parties.organisation.members[liar].identity
    gone = Abandonment(key_id=key.id, ceremony=order.ceremony, signer=liar)
    lied = identity.sign(ABANDONMENT_TYPE, gone.model_dump_json().encode())
    if lies == "before the others promise":
        told = await parties.hold(orders.abandon(key, order.ceremony), [ONE])
        evidence = [lied, abandonment(told[ONE])]
        promised = await parties.hold(orders.promise(new, confirmed), [TWO, liar])
        said = [promise_of(each) for each in promised.values()]
        used = await parties.hold(orders.activate(new, said), [TWO])
        assert ended(used[TWO])[0] == "bad_evidence"
        discarded = await parties.hold(orders.discard(key, order.ceremony, evidence), [TWO])
        assert discarded[TWO].status is OutcomeStatus.DONE
        assert await parties[ONE].states(key) == ["active", "abandoned"]
        assert await parties[TWO].states(key) == ["active", "discarded"]
        await parties.sign(key, honest)
    else:
        outcomes = await parties.hold(orders.promise(new, confirmed), key.signers)
        said = [promise_of(each) for each in outcomes.values()]
        used = await parties.hold(orders.activate(new, said), [ONE])
        assert isinstance(used[ONE].result, ActivatedShare)
        for _ in range(2):
            told = await parties.hold(orders.abandon(key, order.ceremony), [TWO])
            promise_of(told[TWO])
            discarded = await parties.hold(orders.discard(key, order.ceremony, [lied]), [TWO])
            assert ended(discarded[TWO])[0] == "bad_evidence"
        used = await parties.hold(orders.activate(new, said), [TWO])
        assert isinstance(used[TWO].result, ActivatedShare)
        await parties.sign(new, honest)


async def test_a_set_is_abandoned_by_two_orders_at_once(start):
    """Of two requests that both clean up after a third, in one commit of the journal."""
    parties = await start()
    key, ceremony = Key(EDDSA_ED25519, 2, NAMES[:3]), uuid4()
    told = await asyncio.gather(
        *(parties.hold(orders.abandon(key, ceremony), [ONE]) for _ in range(5))
    )
    assert len({abandonment(each[ONE]).payload for each in told}) == 1
    assert await parties[ONE].states(key) == ["abandoned"]


async def test_of_two_that_both_must_sign_one_discards_what_the_other_gave_up(with_key):
    parties, key = await with_key(EDDSA_ED25519, 2, 2)
    order = await promised_by_one(parties, key)
    told = await parties.hold(orders.abandon(key, order.ceremony), [TWO])
    discarding = orders.discard(key, order.ceremony, [abandonment(told[TWO])])
    assert (await parties.hold(discarding, [ONE]))[ONE].status is OutcomeStatus.DONE
    await parties.sign(await parties.refresh(key))


async def test_who_has_abandoned_a_set_never_confirms_it(start, kills):
    parties = await start()
    key = Key(EDDSA_ED25519, 2, NAMES[:3])
    order = orders.generate(key)
    said = await parties.hold(orders.abandon(key, order.ceremony), [TWO])
    abandonment(said[TWO])
    outcomes = await parties.hold(order)
    assert outcomes[TWO].result is None
    assert await parties[TWO].states(key) == ["abandoned"]


@pytest.mark.parametrize("phase", ["promise", "activate"])
async def test_each_phase_takes_what_all_have_stated_and_nothing_else(start, phase):
    parties = await start()
    key = Key(EDDSA_ED25519, 2, NAMES[:3])
    order, other_order = orders.generate(key), orders.generate(Key(EDDSA_ED25519, 2, NAMES[:3]))
    confirmed, others = await parties.prepare(order), await parties.prepare(other_order)
    new = parties.confirmed_key(key, order, confirmed)
    if phase == "promise":
        give, payload_type, said, waiting = (
            orders.promise,
            CONFIRMATION_TYPE,
            confirmed,
            "confirmed",
        )
        early = (await parties.hold(orders.promise(new, confirmed), [ONE]))[ONE]
        assert ended(early)[0] == "not_proved"
        await parties.prove(new)
    else:
        early = (await parties.hold(orders.activate(new, confirmed), [ONE]))[ONE]
        assert ended(early)[0] == "no_share"
        give, payload_type, waiting = orders.activate, PROMISE_TYPE, "promised"
        said = await parties.promise(new, confirmed)
    third = Promise.model_validate_json(said[2].payload)
    identity: SigningKey = parties.organisation.members[THREE].identity

    def stated(statement: Promise) -> SignedBytes:
        return identity.sign(payload_type, statement.model_dump_json().encode())

    another_type = CONFIRMATION_TYPE if phase == "activate" else PROMISE_TYPE
    for evidence in (
        [],
        said[:2],
        [said[0], said[0], said[1]],
        [*said[:2], others[2]],
        [said[0], stated(third.model_copy(update={"signer": TWO, "index": 2})), said[2]],
        [*said[:2], stated(third.model_copy(update={"transcript": bytes(32)}))],
        [*said[:2], ControlPlane().signer.sign(payload_type, said[2].payload)],
        [*said[:2], identity.sign(another_type, said[2].payload)],
    ):
        outcome = (await parties.hold(give(new, evidence), [ONE]))[ONE]
        assert (outcome.status, outcome.code) == (OutcomeStatus.DENIED, "bad_evidence")
        assert await parties[ONE].states(key) == [waiting]
    first = await parties.hold(give(new, said), key.signers)
    again = await parties.hold(give(new, said), key.signers)
    for outcomes in (first, again):
        results = [type(each.result) for each in outcomes.values()]
        assert results == [PromisedShare if phase == "promise" else ActivatedShare] * 3
    if phase == "activate":
        for party in parties.of(key):
            assert await party.states(key) == ["active"]
        await parties.sign(new)


async def test_a_set_in_use_is_neither_discarded_nor_abandoned(with_key):
    parties, key = await with_key(EDDSA_ED25519)
    assert key.shares is not None
    lied = []
    for name in (TWO, THREE):
        payload = Abandonment(key_id=key.id, ceremony=key.shares, signer=name).model_dump_json()
        identity = parties.organisation.members[name].identity
        lied.append(identity.sign(ABANDONMENT_TYPE, payload.encode()))
    outcomes = await parties.hold(orders.discard(key, key.shares, lied), [ONE])
    assert ended(outcomes[ONE])[0] == "bad_evidence"
    told = await parties.hold(orders.abandon(key, key.shares), [ONE])
    promise_of(told[ONE])
    assert await parties[ONE].states(key) == ["active"]


async def test_what_was_discarded_or_replaced_is_not_promised_again(with_key):
    """The order comes again: after a crash, or from who hopes for another answer."""
    parties, key = await with_key(EDDSA_ED25519)
    order = await promised_by_one(parties, key)
    await clear_away(parties, key, order)
    for _ in range(2):
        told = await parties.hold(orders.abandon(key, order.ceremony), [ONE])
        assert told[ONE].result == NothingMade()
    await parties.refresh(key)
    assert key.shares is not None
    told = await parties.hold(orders.abandon(key, key.shares), [ONE])
    assert told[ONE].result == NothingMade()
    assert await parties[ONE].states(key) == ["retired", "discarded", "active"]


async def test_a_set_half_of_which_is_confirmed_leaves_the_one_before_in_use(with_key, kills):
    parties, key = await with_key(EDDSA_ED25519)
    order = await half_confirmed(parties, key, kills)
    await parties.sign(key, [ONE, TWO])
    refused = await parties.hold(orders.refresh(key).until(3))
    assert {ended(refused[name])[0] for name in (ONE, THREE)} == {"set_pending"}
    await clear_away(parties, key, order)
    refreshed = await parties.refresh(key)
    await parties.sign(refreshed, [TWO, THREE])
