"""What signers refuse of a control plane that is not honest, while all else is as it should be."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from custody.wire.algorithms import ECDSA_SECP256K1, EDDSA_ED25519, SCHNORR_SECP256K1
from custody.wire.outcomes import OutcomeStatus, SetOfShares
from custody.wire.signed_bytes import DELIVERY_TICKET_TYPE, TICKET_TYPE
from custody.wire.tickets import CeremonyKind, Participant, Protocol
from tests.integration.ceremonies import orders
from tests.integration.ceremonies.orders import ControlPlane, Key
from tests.integration.ceremonies.parties import NAMES, confirmations, ended, signature_of, wanted

ONE, TWO, THREE = NAMES[:3]


def codes(outcomes) -> set[str]:
    return {ended(outcome)[0] for outcome in outcomes.values()}


async def test_a_ticket_that_the_control_plane_has_not_signed_is_refused(with_key):
    parties, key = await with_key(EDDSA_ED25519)
    claimed = parties.control_plane.claimed(orders.sign(key, key.quorum, wanted(key)))
    assert claimed.ticket is not None
    forged = ControlPlane().signer.sign(TICKET_TYPE, claimed.ticket.payload)
    under_our_name = forged.model_copy(update={"signing_key_id": claimed.ticket.signing_key_id})
    for ticket in (forged, under_our_name):
        outcome = await parties[ONE].do(claimed.model_copy(update={"ticket": ticket}))
        assert (outcome.status, outcome.code) == (OutcomeStatus.REFUSED, "bad_ticket_signature")


@pytest.mark.parametrize(
    "change",
    [
        {"meeting": uuid4()},
        {"participants": [ONE, THREE]},
        {"participants": [ONE, TWO, THREE]},
        {"delivery": "delivery-2"},
        {"expires_at": datetime.now(UTC) + timedelta(minutes=5)},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_the_delivery_server_is_not_given_another_ceremony_than_the_signers(with_key, change):
    parties, key = await with_key(EDDSA_ED25519)
    order = orders.sign(key, key.quorum, wanted(key)).with_delivery_ticket(**change)
    outcomes = await parties.hold(order)
    assert codes(outcomes) == {"bad_ticket"}
    assert {outcome.status for outcome in outcomes.values()} == {OutcomeStatus.REFUSED}


async def test_a_delivery_ticket_is_signed_as_one(with_key):
    parties, key = await with_key(EDDSA_ED25519)
    claimed = parties.control_plane.claimed(orders.sign(key, key.quorum, wanted(key)))
    assert claimed.delivery_ticket is not None
    forged = ControlPlane().signer.sign(DELIVERY_TICKET_TYPE, claimed.delivery_ticket.payload)
    of_another_type = parties.control_plane.signer.sign(
        TICKET_TYPE, claimed.delivery_ticket.payload
    )
    for shown, code in (
        (forged, "bad_ticket_signature"),
        (of_another_type, "bad_ticket_signature"),
        (claimed.ticket, "bad_ticket_signature"),
        (None, "bad_ticket"),
    ):
        outcome = await parties[ONE].do(claimed.model_copy(update={"delivery_ticket": shown}))
        assert (outcome.status, outcome.code) == (OutcomeStatus.REFUSED, code)


async def test_signers_that_are_given_unlike_delivery_tickets_make_no_signature(with_key):
    """Alike in all that they compare themselves, so that the delivery server is who finds it."""
    parties, key = await with_key(EDDSA_ED25519)
    order = orders.sign(key, key.quorum, wanted(key)).until(5)
    outcomes = await parties.give({ONE: order, TWO: order.with_delivery_ticket(held_bytes=10_000)})
    assert codes(outcomes) <= {"delivery_unavailable", "peer_aborted"}


async def test_a_ceremony_without_a_ticket_is_refused(with_key):
    parties, key = await with_key(EDDSA_ED25519)
    order = orders.sign(key, key.quorum, wanted(key))
    outcomes = await parties.hold(replace(order, ticket=None), key.quorum)
    assert codes(outcomes) == {"bad_ticket"}


async def test_a_ticket_is_good_for_one_ceremony(with_key):
    parties, key = await with_key(EDDSA_ED25519)
    order = orders.sign(key, key.quorum, wanted(key)).until(1)
    assert codes(await parties.hold(order, [ONE])) == {"peer_silent"}
    late = order.until(2)  # signed again, and of the same ceremony
    outcomes = await parties.hold(late)
    assert ended(outcomes[ONE])[0] == "ticket_used"
    assert outcomes[TWO].result is None


async def test_another_request_under_a_ticket_that_was_used_is_refused(with_key):
    parties, key = await with_key(EDDSA_ED25519)
    first = orders.sign(key, key.quorum, wanted(key))
    signature_of((await parties.hold(first))[ONE])
    second = orders.sign(key, key.quorum, wanted(key)).with_ticket(ceremony=first.ceremony)
    assert codes(await parties.hold(second.until(2))) == {"ticket_used"}


async def test_a_ticket_that_is_given_twice_does_not_end_the_ceremony_that_is_under_way(with_key):
    parties, key = await with_key(EDDSA_ED25519)
    order = orders.sign(key, key.quorum, wanted(key))
    first = asyncio.create_task(parties.hold(order, [ONE]))
    await parties[ONE].has_begun(order)
    again = await parties.hold(order, [ONE])
    assert codes(again) == {"ticket_used"}
    other = await parties.hold(order, [TWO])
    assert signature_of(other[TWO]) == signature_of((await first)[ONE])


async def test_two_requests_within_one_ceremony_give_no_signature(with_key):
    parties, key = await with_key(SCHNORR_SECP256K1)
    one = orders.sign(key, key.quorum, wanted(key))
    two = orders.sign(key, key.quorum, wanted(key)).with_ticket(meeting=one.meeting)
    outcomes = await parties.give({ONE: one.until(3), TWO: two.until(3)})
    assert codes(outcomes) <= {"delivery_unavailable", "peer_aborted", "bad_message"}


async def test_signers_that_are_told_of_different_participants_do_nothing(with_key):
    parties, key = await with_key(EDDSA_ED25519)
    order = orders.sign(key, key.quorum, wanted(key))
    replaced = order.with_ticket(
        participants=[Participant(signer=ONE, index=1), Participant(signer=THREE, index=3)]
    )
    outcomes = await parties.give({ONE: replaced.until(3), TWO: order.until(3)})
    assert codes(outcomes) <= {"delivery_unavailable", "peer_aborted", "peer_silent"}


async def test_a_participant_of_the_control_planes_own_is_not_pinned(with_key):
    parties, key = await with_key(EDDSA_ED25519)
    theirs = replace(key, signers=(ONE, "signer-of-theirs", THREE))
    order = orders.sign(theirs, theirs.quorum, wanted(key))
    outcome = (await parties.hold(order, [ONE]))[ONE]
    assert ended(outcome) == ("not_pinned", ("signer-of-theirs",))


async def test_a_signer_that_is_no_longer_pinned_is_out_at_once(with_key):
    parties, key = await with_key(EDDSA_ED25519)
    await parties[ONE].peers.remove(TWO)
    outcome = (await parties.hold(orders.sign(key, key.quorum, wanted(key)), [ONE]))[ONE]
    assert ended(outcome) == ("not_pinned", (TWO,))


async def test_a_participant_with_another_identity_than_the_pinned_one_gets_nowhere(with_key):
    parties, key = await with_key(EDDSA_ED25519)
    await parties[ONE].peers.remove(TWO)
    await parties[ONE].peers.add(TWO, ControlPlane().signer.public_key)
    outcomes = await parties.hold(orders.sign(key, key.quorum, wanted(key)))
    assert ended(outcomes[ONE]) == ("bad_message", (TWO,))
    assert ended(outcomes[TWO])[0] == "peer_aborted"


UNFIT_TICKETS: list[tuple[dict[str, Any], str]] = [
    ({"signers": [TWO, ONE, THREE]}, "malformed_ticket"),
    ({"threshold": 3}, "malformed_ticket"),
    ({"participants": [Participant(signer=ONE, index=1)] * 2}, "malformed_ticket"),
    ({"kind": CeremonyKind.REFRESH}, "malformed_ticket"),
    ({"group": "another"}, "bad_ticket"),
    ({"digest": bytes(32)}, "bad_ticket"),
    ({"key_id": uuid4()}, "bad_ticket"),
    ({"job_id": uuid4()}, "bad_ticket"),
    ({"job_digest": bytes(32)}, "bad_ticket"),
    ({"protocol": Protocol.FROST_SECP256K1_TR}, "bad_ticket"),
    ({"generation": 1}, "wrong_generation"),
    ({"share_set_id": uuid4()}, "wrong_generation"),
    ({"delivery": "delivery-9"}, "delivery_unavailable"),
]


async def test_a_ticket_that_does_not_go_with_its_job_or_the_share_is_refused(with_key):
    parties, key = await with_key(EDDSA_ED25519)
    for changes, code in UNFIT_TICKETS:
        order = orders.sign(key, key.quorum, wanted(key)).with_ticket(**changes)
        assert codes(await parties.hold(order, key.quorum)) == {code}, changes


async def test_a_quorum_smaller_than_the_keys_threshold_is_refused(with_key):
    parties, key = await with_key(EDDSA_ED25519, 3, 3)
    smaller = replace(key, threshold=2)
    outcomes = await parties.hold(orders.sign(smaller, smaller.quorum, wanted(key)))
    assert codes(outcomes) == {"bad_ticket"}


async def test_a_threshold_below_what_the_owner_wants_is_denied(start):
    parties = await start(min_threshold=3)
    order = orders.generate(Key(EDDSA_ED25519, 2, NAMES[:3]))
    for outcome in (await parties.hold(order)).values():
        assert (outcome.status, outcome.code) == (OutcomeStatus.DENIED, "threshold_too_low")


async def test_a_key_for_another_group_than_the_application_asked_for_is_denied(start):
    parties = await start()
    order = orders.generate(Key(EDDSA_ED25519, 2, NAMES[:3])).with_ticket(group="another")
    for outcome in (await parties.hold(order)).values():
        assert (outcome.status, outcome.code) == (OutcomeStatus.DENIED, "request_mismatch")


async def test_a_second_set_that_was_under_way_when_the_first_came_into_use_changes_nothing(start):
    parties = await start()
    key = Key(EDDSA_ED25519, 2, NAMES[:3])
    first, second = orders.generate(key), orders.generate(key)
    late = asyncio.create_task(parties.hold(second, [ONE, TWO]))
    await parties[ONE].has_begun(second)
    in_use = await parties.take_into_use(key, first, await parties.prepare(first))
    claimed = parties.control_plane.claimed(second)
    assert ended(await parties[THREE].do(claimed))[0] == "key_exists"
    late.cancel()
    await parties.sign(in_use)


async def test_who_is_given_a_ticket_of_an_earlier_set_names_the_one_in_use(with_key):
    """A control plane whose database was restored from before the refresh learns of it so."""
    parties, old = await with_key(EDDSA_ED25519)
    new = await parties.refresh(old)
    in_use = SetOfShares(ceremony=new.shares, generation=1)
    for order in (orders.sign(old, old.quorum, wanted(old)), orders.refresh(old)):
        outcomes = await parties.hold(order)
        assert codes(outcomes) == {"wrong_generation"}
        assert {outcome.shares for outcome in outcomes.values()} == {in_use}


async def test_a_refresh_of_a_generation_that_is_not_the_next_is_refused(with_key):
    parties, key = await with_key(EDDSA_ED25519)
    for generation in (0, 2, 7):
        outcomes = await parties.hold(orders.refresh(key).with_ticket(generation=generation))
        assert codes(outcomes) == {"wrong_generation"}


async def test_a_message_of_somebody_elses_is_not_signed_as_proof_of_possession(start):
    parties = await start()
    key = Key(SCHNORR_SECP256K1, 2, NAMES[:3])
    order = orders.generate(key)
    new = parties.confirmed_key(key, order, confirmations(await parties.hold(order)))
    proof = orders.prove(new, new.quorum).with_ticket(digest=bytes(32))
    assert codes(await parties.hold(proof)) == {"bad_ticket"}


async def test_bans_of_signers_that_nobody_knows_do_not_fill_the_hello(with_key):
    """A peer may say that it bans whomever it likes: only the group's are remembered."""
    parties, key = await with_key(ECDSA_SECP256K1)
    for number in range(200):
        await parties[TWO].bans.ban(key.id, f"nobody-{number}", "they say so", None)
    await parties.sign(key)
    assert await parties[ONE].bans.all() == []
