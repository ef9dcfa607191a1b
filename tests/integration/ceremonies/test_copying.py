"""A key's old signers deal it to another group, without a moment in which it exists whole."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from custody.wire.algorithms import (
    ECDSA_SECP256K1,
    EDDSA_ED25519,
    SCHNORR_SECP256K1,
    Algorithm,
    Network,
)
from custody.wire.dealing_facts import DealingFacts
from custody.wire.dealings import Dealing
from custody.wire.hybrid_keys import HybridPublicKey
from custody.wire.imports import ImportKeyStatement
from custody.wire.outcomes import Outcome, OutcomeStatus
from custody.wire.signed_bytes import (
    DEALING_TYPE,
    IMPORT_KEY_TYPE,
    SignedBytes,
)
from custody.wire.statements import Attestation
from tests.integration.ceremonies import orders
from tests.integration.ceremonies.copying import (
    copied,
    dealings,
    import_keys,
)
from tests.integration.ceremonies.orders import Key
from tests.integration.ceremonies.parties import NAMES, Parties, ended
from tests.integration.ceremonies.test_inventory import inventories

ONE, TWO, THREE, FOUR, FIVE = NAMES
NEW_GROUP = (FIVE, ONE, FOUR, TWO, THREE)
"""Signers of the old group have another index here."""
ALGORITHMS = [ECDSA_SECP256K1, EDDSA_ED25519, SCHNORR_SECP256K1]


async def with_key(start: Any, algorithm: Algorithm = EDDSA_ED25519) -> tuple[Parties, Key]:
    """Five signers; the first three have a key, 2 of 3."""
    parties = await start(5)
    return parties, await parties.make_key(Key(algorithm, 2, NAMES[:3]))


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
async def test_the_new_group_signs_under_the_same_key_and_so_does_the_old_one(start, algorithm):
    parties, key = await with_key(start, algorithm)
    new = await copied(parties, key, orders.copy_of(key, 3, NEW_GROUP))
    assert (new.public_key, new.chain_code) == (key.public_key, key.chain_code)
    await parties.sign(new, (FIVE, FOUR, THREE))  # parties.sign verifies with the public key
    await parties.sign(new, (ONE, FOUR, TWO))
    await parties.sign(key)
    refreshed = await parties.refresh(new)
    await parties.sign(refreshed, (FIVE, ONE, FOUR))
    for name in new.signers:  # the one-time keys are gone
        assert await parties[name].rows("SELECT FROM import_keys") == []


async def test_the_copy_is_attested_with_its_origin_and_its_new_group(start):
    parties, key = await with_key(start)
    new = await copied(parties, key, orders.copy_of(key, 3, NEW_GROUP))
    said = [
        Attestation.model_validate_json(held.attestation.payload)
        for held in await inventories(parties)
        if held.key_id == new.id and held.attestation is not None
    ]
    assert len(said) == 5
    for each in said:
        assert (each.threshold, tuple(each.signers)) == (3, NEW_GROUP)
        assert each.made_for is not None
        assert each.made_for.copied_from == key.id


async def test_other_dealers_give_the_same_key(start):
    parties, key = await with_key(start)
    wanted = orders.copy_of(key, 3, NEW_GROUP)
    new = await copied(parties, key, wanted, await dealings(parties, key, wanted, (ONE, THREE)))
    await parties.sign(new, (FIVE, FOUR, TWO))


async def test_a_copy_of_a_copy_and_of_a_refreshed_key(start):
    parties, key = await with_key(start)
    key = await parties.refresh(key)
    first = await copied(parties, key, orders.copy_of(key, 2, (FOUR, FIVE)))
    second = await copied(parties, first, orders.copy_of(first, 3, NEW_GROUP))
    await parties.sign(second, (ONE, TWO, THREE))


# Old signers check the new group


async def refusals(
    parties: Parties, key: Key, new: Key, statements: list[SignedBytes], **changes: Any
) -> set[str]:
    order = orders.deal(key, new, key.quorum, statements, **changes)
    return {ended(outcome)[0] for outcome in (await parties.hold(order, key.quorum)).values()}


def statement(signed: SignedBytes) -> ImportKeyStatement:
    return ImportKeyStatement.model_validate_json(signed.payload)


def changed(parties: Parties, signed: SignedBytes, **fields: Any) -> SignedBytes:
    """A new signer's lie, under its own identity key."""
    said = statement(signed)
    identity = parties.organisation.members[said.node].identity
    lie = said.model_copy(update=fields)
    return identity.sign(IMPORT_KEY_TYPE, lie.model_dump_json().encode())


async def test_old_signers_deal_to_the_import_keys_of_all_new_signers_or_not_at_all(start):
    parties, key = await with_key(start)
    new = orders.copy_of(key, 3, NEW_GROUP)
    said = await import_keys(parties, key, new)
    stranger = parties.organisation.control_plane.signer.sign(IMPORT_KEY_TYPE, said[0].payload)
    now = datetime.now(UTC)
    for wrong in (
        said[1:],
        [*said, said[0]],
        [stranger, *said[1:]],
        [changed(parties, said[0], import_id=uuid4()), *said[1:]],
        [changed(parties, said[0], threshold=2), *said[1:]],
        [changed(parties, said[0], node=ONE), *said[1:]],
    ):
        assert await refusals(parties, key, new, wrong) == {"bad_evidence"}
    unusable = changed(parties, said[0], import_key=b"\xff" * len(statement(said[0]).import_key))
    order = orders.deal(key, new, key.quorum, [unusable, *said[1:]])
    for outcome in (await parties.hold(order, key.quorum)).values():
        assert ended(outcome) == ("bad_import_key", (NEW_GROUP[0],))
    late = changed(parties, said[0], expires_at=now - timedelta(seconds=1))
    assert await refusals(parties, key, new, [late, *said[1:]]) == {"no_import_key"}


async def test_old_signers_deal_only_to_a_group_that_their_owner_has_pinned(start):
    parties, key = await with_key(start)
    new = orders.copy_of(key, 3, NEW_GROUP)
    said = await import_keys(parties, key, new)
    for name in key.quorum:
        await parties[name].peers.remove(FIVE)
    order = orders.deal(key, new, key.quorum, said)
    for outcome in (await parties.hold(order, key.quorum)).values():
        assert ended(outcome) == ("not_pinned", (FIVE,))


async def test_old_signers_deal_only_the_set_that_they_use(start):
    parties, key = await with_key(start)
    new = orders.copy_of(key, 3, NEW_GROUP)
    said = await import_keys(parties, key, new)
    await parties.refresh(key)
    assert await refusals(parties, key, new, said) == {"wrong_generation"}


async def test_the_request_names_the_group(start):
    parties, key = await with_key(start)
    new = orders.copy_of(key, 3, NEW_GROUP)
    said = await import_keys(parties, key, new)
    holders = orders.deal(key, new, key.quorum, said).job.holders
    assert holders is not None
    another = holders.model_copy(update={"group": "another"})
    assert await refusals(parties, key, new, said, holders=another) == {"request_mismatch"}


async def test_dealers_out_of_order_are_a_malformed_job(start):
    parties, key = await with_key(start)
    new = orders.copy_of(key, 3, NEW_GROUP)
    said = await import_keys(parties, key, new)
    order = orders.deal(key, new, key.quorum, said).with_job(dealers=(2, 1))
    for outcome in (await parties.hold(order, key.quorum)).values():
        assert ended(outcome)[0] == "malformed_job"


async def test_without_a_signature_the_keys_own_threshold_is_the_lowest(start):
    """A control plane that chooses a new group needs as many liars to learn the key as before."""
    parties = await start(3)
    key = await parties.make_key(Key(EDDSA_ED25519, 3, NAMES[:3]))
    new = orders.copy_of(key, 2, (ONE, TWO))
    said = await import_keys(parties, key, new)
    assert await refusals(parties, key, new, said) == {"threshold_too_low"}


async def test_an_owner_may_allow_a_lower_threshold_without_a_signature(start):
    parties = await start(3, min_unsigned_copy_threshold=2)
    key = await parties.make_key(Key(EDDSA_ED25519, 3, NAMES[:3]))
    assert await dealings(parties, key, orders.copy_of(key, 2, (ONE, TWO)))


# New signers name the dealers that lie

Lie = Callable[[Parties, Dealing, dict[str, ImportKeyStatement]], dict[str, Any]]


def another_sub_share(
    parties: Parties, said: Dealing, keys: dict[str, ImportKeyStatement]
) -> dict[str, Any]:
    facts = DealingFacts(
        import_id=said.copy_id,
        holders=said.holders,
        algorithm=EDDSA_ED25519,
        public_key=said.public_key,
        commitments=said.commitments,
        chain_code=said.chain_code,
    )
    sealed = HybridPublicKey(keys[FOUR].import_key).seal(
        (5).to_bytes(32, "big"), facts.sealed_for(FOUR)
    )
    return {"sealed": {**said.sealed, FOUR: sealed}}


LIES: dict[str, Lie] = {
    "a sub-share that does not open": lambda _, said, __: {
        "sealed": {**said.sealed, FOUR: b"rubbish"}
    },
    "a sub-share that is not on the polynomial": another_sub_share,
    "other commitments": lambda _, said, __: {"commitments": said.commitments[::-1]},
    "another copy": lambda _, __, ___: {"copy_id": uuid4()},
    "another key": lambda _, __, ___: {"key_id": uuid4()},
    "a missing sub-share": lambda _, said, __: {
        "sealed": {name: each for name, each in said.sealed.items() if name != FOUR}
    },
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_dealer_that_lies_is_named_and_nothing_is_stored(start, lie: str):
    parties, key = await with_key(start)
    new = orders.copy_of(key, 3, NEW_GROUP)
    statements = await import_keys(parties, key, new)
    keys = {
        each.node: each
        for each in (ImportKeyStatement.model_validate_json(one.payload) for one in statements)
    }
    order = orders.deal(key, new, key.quorum, statements)
    dealt = [
        outcome.result.dealing  # type: ignore[union-attr]
        for outcome in (await parties.hold(order, key.quorum)).values()
    ]
    said = Dealing.model_validate_json(dealt[1].payload)
    lying = said.model_copy(update=LIES[lie](parties, said, keys))
    identity = parties.organisation.members[TWO].identity
    dealt[1] = identity.sign(DEALING_TYPE, lying.model_dump_json().encode())
    outcomes = await parties.hold(orders.copy_key(key, new, dealt).until(2))
    named = {name: ended(outcome) for name, outcome in outcomes.items()}
    assert named[FOUR] == ("bad_dealing", (TWO,))
    assert {code for code, _ in named.values()} <= {"bad_dealing", "peer_aborted", "peer_silent"}
    for name in new.signers:
        rows = await parties[name].rows("SELECT FROM shares WHERE key_id = :id", id=new.id)
        assert rows == []
    again = await copied(parties, key, new, await dealings(parties, key, new, (ONE, THREE)))
    await parties.sign(again)
    await parties.sign(key)


async def test_dealers_that_state_different_old_sets_are_not_believed(start):
    parties, key = await with_key(start)
    new = orders.copy_of(key, 3, NEW_GROUP)
    dealt = await dealings(parties, key, new)
    said = Dealing.model_validate_json(dealt[TWO].payload)
    lying = said.model_copy(update={"verifying_shares": said.verifying_shares[::-1]})
    identity = parties.organisation.members[TWO].identity
    dealt[TWO] = identity.sign(DEALING_TYPE, lying.model_dump_json().encode())
    outcomes = await parties.hold(orders.copy_key(key, new, list(dealt.values())))
    assert {ended(outcome) for outcome in outcomes.values()} == {("bad_dealing", ())}


async def test_fewer_dealings_or_one_twice_give_nothing(start):
    parties, key = await with_key(start)
    new = orders.copy_of(key, 3, NEW_GROUP)
    one, two = (await dealings(parties, key, new)).values()
    for evidence in ([], [one], [one, one], [two, one], [one, two, two]):
        outcomes = await parties.hold(orders.copy_key(key, new, evidence))
        assert {(each.status, each.code) for each in outcomes.values()} == {
            (OutcomeStatus.DENIED, "bad_evidence")
        }


async def test_new_signers_take_dealings_only_of_signers_that_they_have_pinned(start):
    parties, key = await with_key(start)
    new = orders.copy_of(key, 2, (FOUR, FIVE))
    dealt = await dealings(parties, key, new)
    await parties[FOUR].peers.remove(ONE)
    outcome: Outcome = (
        await parties.hold(orders.copy_key(key, new, list(dealt.values())), [FOUR])
    )[FOUR]
    assert ended(outcome)[0] == "bad_evidence"


async def test_new_signers_take_dealings_of_a_group_that_their_owner_has_pinned_whole(start):
    """An old signer that does not deal counts too: of t dealers one must be honest."""
    parties, key = await with_key(start)
    new = orders.copy_of(key, 2, (FOUR, FIVE))
    dealt = await dealings(parties, key, new)
    await parties[FOUR].peers.remove(THREE)
    order = orders.copy_key(key, new, list(dealt.values())).until(2)
    assert ended((await parties.hold(order, [FOUR]))[FOUR]) == ("not_pinned", (THREE,))


async def test_old_signers_deal_to_no_threshold_below_what_their_owner_wants(start):
    parties = await start(5, min_threshold=3)
    key = await parties.make_key(Key(EDDSA_ED25519, 3, NAMES[:3]))
    new = orders.copy_of(key, 2, (FOUR, FIVE))
    assert await refusals(parties, key, new, []) == {"threshold_too_low"}


async def test_a_wallets_copy_keeps_its_network(start):
    parties = await start(5)
    key = await parties.make_key(Key(ECDSA_SECP256K1, 2, NAMES[:3], Network.ETHEREUM))
    new = await copied(parties, key, orders.copy_of(key, 2, (FOUR, FIVE)))
    await parties.sign(new)
    other = replace(new, network=Network.BITCOIN)
    outcome = (await parties.hold(orders.refresh(other)))[FOUR]
    assert ended(outcome)[0] == "key_mismatch"
    wanted = orders.copy_of(key, 2, (FOUR, FIVE))
    dealt = list((await dealings(parties, key, wanted)).values())
    bare = replace(wanted, network=None)
    for outcome in (await parties.hold(orders.copy_key(key, bare, dealt))).values():
        assert ended(outcome) == ("bad_dealing", (ONE,))
