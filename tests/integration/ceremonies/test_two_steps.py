"""How a set of shares comes into use or goes: with all n, or with none; never with some.

A signer is interrupted by an error that no signer handles, as its process would be by SIGKILL:
nothing is journalled, nobody is told.
"""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from mpc.ceremonies import ceremony
from mpc.ceremonies.envelopes import CeremonyChannel
from tests.integration.ceremonies import orders
from tests.integration.ceremonies.orders import ControlPlane, Key, Order
from tests.integration.ceremonies.parties import (
    NAMES,
    Parties,
    abandonment,
    confirmations,
    ended,
    wanted,
)
from wire.algorithms import ECDSA_SECP256K1, EDDSA_ED25519
from wire.envelope import ABANDONMENT_TYPE, CONFIRMATION_TYPE, SignedBytes, Signer
from wire.outcomes import ActivatedShare, OutcomeStatus, PreparedShare
from wire.statements import Abandonment, Confirmation

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
            def _step(self, step: str, number: int, then: tuple[str, int]) -> None:
                if kills._at == (me, step, number):
                    raise Killed
                super()._step(step, number, then)

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
    evidence = [
        abandonment(outcome)
        for outcome in said.values()
        if not isinstance(outcome.result, PreparedShare)
    ]
    kept = [name for name, each in said.items() if isinstance(each.result, PreparedShare)]
    assert evidence
    if kept:
        await parties.hold(orders.discard(about, order.ceremony, evidence[:1]), kept)
    for party in parties.of(key):
        rows = await party.rows(
            "SELECT state, ciphertext FROM shares WHERE ceremony = %(ceremony)s",
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


async def test_a_confirmed_share_is_thrown_away_by_an_abandonment_of_its_set_alone(with_key, kills):
    parties, key = await with_key(EDDSA_ED25519)
    order = await half_confirmed(parties, key, kills)
    members = parties.organisation.members

    def said(signer: str, by: str | None = None, **changes: Any) -> SignedBytes:
        fields = {"key_id": key.id, "ceremony": order.ceremony, "signer": signer} | changes
        payload = Abandonment(**fields).model_dump_json().encode()
        identity: Signer = members[by or signer].identity
        return identity.sign(ABANDONMENT_TYPE, payload)

    stranger = ControlPlane().signer
    forged = stranger.sign(ABANDONMENT_TYPE, said(TWO).payload)
    for evidence in (
        [],
        [said(TWO, ceremony=uuid4())],
        [said(TWO, key_id=uuid4())],
        [said(TWO, by=THREE)],
        [said(NAMES[3])],  # of no signer of the set
        [forged],
        [forged.model_copy(update={"signing_key_id": members[TWO].identity.key_id})],
        [said(TWO).model_copy(update={"payload": said(THREE).payload})],
        [members[TWO].identity.sign(CONFIRMATION_TYPE, said(TWO).payload)],
    ):
        discarding = orders.discard(key, order.ceremony, evidence)
        outcome = (await parties.hold(discarding, [ONE]))[ONE]
        assert (outcome.status, outcome.code) == (OutcomeStatus.DENIED, "bad_evidence")
        assert await parties[ONE].states(key) == ["active", "confirmed"]
    told = await parties.hold(orders.abandon(key, order.ceremony), [TWO])
    discarding = orders.discard(key, order.ceremony, [abandonment(told[TWO])])
    assert (await parties.hold(discarding, [ONE]))[ONE].status is OutcomeStatus.DONE
    assert await parties[ONE].states(key) == ["active", "discarded"]


async def test_who_has_confirmed_does_not_abandon_but_says_so_again(with_key, kills):
    parties, key = await with_key(EDDSA_ED25519)
    order = await half_confirmed(parties, key, kills)
    outcomes = await parties.hold(orders.abandon(key, order.ceremony), [ONE, THREE])
    assert len(confirmations(outcomes)) == 2
    assert await parties[ONE].states(key) == ["active", "confirmed"]


async def test_who_has_abandoned_a_set_never_confirms_it(start, kills):
    parties = await start()
    key = Key(EDDSA_ED25519, 2, NAMES[:3])
    order = orders.generate(key)
    said = await parties.hold(orders.abandon(key, order.ceremony), [TWO])
    abandonment(said[TWO])
    outcomes = await parties.hold(order)
    assert outcomes[TWO].result is None
    assert await parties[TWO].states(key) == ["abandoned"]


async def test_a_set_is_taken_into_use_with_the_confirmations_of_all_and_no_others(start):
    parties = await start()
    key = Key(EDDSA_ED25519, 2, NAMES[:3])
    order, other_order = orders.generate(key), orders.generate(Key(EDDSA_ED25519, 2, NAMES[:3]))
    confirmed, others = await parties.prepare(order), await parties.prepare(other_order)
    new = parties.confirmed_key(key, order, confirmed)
    assert ended((await parties.hold(orders.activate(new, confirmed), [ONE]))[ONE])[0] == (
        "not_proved"
    )
    await parties.prove(new)
    said = Confirmation.model_validate_json(confirmed[2].payload)
    members = parties.organisation.members
    relabelled = said.model_copy(update={"signer": TWO, "index": 2})
    by_three = members[THREE].identity.sign(
        CONFIRMATION_TYPE, relabelled.model_dump_json().encode()
    )
    of_more = said.model_copy(update={"transcript": bytes(32)})
    disagreeing = members[THREE].identity.sign(
        CONFIRMATION_TYPE, of_more.model_dump_json().encode()
    )
    for evidence in (
        [],
        confirmed[:2],
        [confirmed[0], confirmed[0], confirmed[1]],
        [*confirmed[:2], others[2]],
        [confirmed[0], by_three, confirmed[2]],
        [*confirmed[:2], disagreeing],
        [*confirmed[:2], ControlPlane().signer.sign(CONFIRMATION_TYPE, confirmed[2].payload)],
    ):
        outcome = (await parties.hold(orders.activate(new, evidence), [ONE]))[ONE]
        assert (outcome.status, outcome.code) == (OutcomeStatus.DENIED, "bad_evidence")
        assert await parties[ONE].states(key) == ["confirmed"]
    first = await parties.hold(orders.activate(new, confirmed), key.signers)
    again = await parties.hold(orders.activate(new, confirmed), key.signers)
    for outcomes in (first, again):
        assert all(isinstance(each.result, ActivatedShare) for each in outcomes.values())
    for party in parties.of(key):
        assert await party.states(key) == ["active"]
    await parties.sign(new)


async def test_a_set_in_use_is_neither_discarded_nor_abandoned(with_key):
    parties, key = await with_key(EDDSA_ED25519)
    assert key.shares is not None
    payload = Abandonment(key_id=key.id, ceremony=key.shares, signer=TWO).model_dump_json()
    lied = parties.organisation.members[TWO].identity.sign(ABANDONMENT_TYPE, payload.encode())
    outcomes = await parties.hold(orders.discard(key, key.shares, [lied]), [ONE])
    assert ended(outcomes[ONE])[0] == "bad_evidence"
    told = await parties.hold(orders.abandon(key, key.shares), [ONE])
    assert isinstance(told[ONE].result, PreparedShare)
    assert await parties[ONE].states(key) == ["active"]


async def test_what_was_discarded_or_replaced_is_not_confirmed_again(with_key, kills):
    """The order comes again: after a crash, or from who hopes for another answer."""
    parties, key = await with_key(EDDSA_ED25519)
    order = await half_confirmed(parties, key, kills)
    await clear_away(parties, key, order)
    for _ in range(2):
        told = await parties.hold(orders.abandon(key, order.ceremony), [ONE])
        assert not isinstance(told[ONE].result, PreparedShare)
    await parties.refresh(key)
    assert key.shares is not None
    told = await parties.hold(orders.abandon(key, key.shares), [ONE])
    assert told[ONE].result is None
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
