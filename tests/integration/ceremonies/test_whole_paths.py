"""Keys from their generation to refreshed and repaired shares, for each protocol."""

import itertools
from dataclasses import replace

import pytest

from custody.node.errors import Failed
from custody.wire.algorithms import ECDSA_SECP256K1, EDDSA_ED25519, SCHNORR_SECP256K1, Network
from custody.wire.derivation import child_public_key
from custody.wire.jobs import child_key_id
from custody.wire.outcomes import OutcomeStatus
from custody.wire.requests import SignHash
from custody.wire.signatures import verify
from custody.wire.tickets import PROTOCOL
from tests.integration.ceremonies import orders
from tests.integration.ceremonies.orders import Key
from tests.integration.ceremonies.parties import (
    NAMES,
    confirmations,
    ended,
    signature_of,
    wanted,
)
from tests.made_up_keys import made_up_key

ALGORITHMS = list(PROTOCOL)
FROST = [EDDSA_ED25519, SCHNORR_SECP256K1]


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
async def test_every_quorum_signs(with_key, algorithm):
    parties, key = await with_key(algorithm)
    for quorum in itertools.combinations(key.signers, 2):
        await parties.sign(key, quorum)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
async def test_a_refreshed_key_is_the_same_key_and_only_the_new_shares_are_kept(
    with_key, algorithm
):
    parties, key = await with_key(algorithm)
    open_shares = {party: await party.shares.active(key.id) for party in parties.of(key)}
    for party, stored in open_shares.items():
        await party.shares.open(stored)
    refreshed = await parties.refresh(key)
    for party, stored in open_shares.items():
        with pytest.raises(Failed, match="erased"):
            await party.shares.open(stored)
    assert (refreshed.public_key, refreshed.chain_code) == (key.public_key, key.chain_code)
    assert refreshed.generation == key.generation + 1
    for party in parties.of(key):
        assert await party.states(key) == ["retired", "active"]
    await parties.sign(refreshed, key.signers[1:])


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
async def test_the_generation_before_is_refused_once_the_next_is_in_use(with_key, algorithm):
    parties, old = await with_key(algorithm)
    await parties.refresh(old)
    outcomes = await parties.hold(orders.sign(old, old.quorum, wanted(old)))
    assert {ended(outcome)[0] for outcome in outcomes.values()} == {"wrong_generation"}


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
async def test_a_share_that_was_lost_is_repaired_signs_nothing_and_is_refreshed(
    with_key, algorithm
):
    parties, key = await with_key(algorithm)
    loser, *helpers = key.signers
    await parties[loser].rows("DELETE FROM shares")
    for helper in helpers:
        await approve_repair(parties[helper], key, loser)
    outcomes = await parties.hold(orders.repair(key, loser, helpers))
    assert {outcome.status for outcome in outcomes.values()} == {OutcomeStatus.DONE}
    assert await parties[loser].states(key) == ["repaired"]

    order = orders.sign(key, key.quorum, wanted(key))
    assert ended((await parties.hold(order, [loser]))[loser])[0] == "no_share"
    await parties.sign(key, helpers)

    refreshed = await parties.refresh(key)
    assert refreshed.public_key == key.public_key
    for quorum in itertools.combinations(key.signers, 2):
        await parties.sign(refreshed, quorum)


async def test_a_repair_is_refused_while_a_helpers_operator_has_not_approved_it(with_key):
    parties, key = await with_key(EDDSA_ED25519)
    loser, one, other = key.signers
    await parties[loser].rows("DELETE FROM shares")
    await approve_repair(parties[one], key, loser)
    outcomes = await parties.hold(orders.repair(key, loser, [one, other]).until(3))
    assert ended(outcomes[other])[0] == "repair_not_approved"
    assert ended(outcomes[one])[0] == "peer_aborted"
    for name in (one, other):  # whichever the application gets to read
        reason = outcomes[name].reason
        assert reason is not None
        assert f"mpc-signer repair approve {key.id} {loser} --reason" in reason
    assert outcomes[one].reason.startswith(f"{other} ended the ceremony")
    assert await parties[loser].states(key) == []


async def test_an_approved_repair_is_for_that_signer_alone(with_key):
    parties, key = await with_key(EDDSA_ED25519)
    loser, one, other = key.signers
    for helper in (one, other):
        await approve_repair(parties[helper], key, one)
    order = orders.repair(key, loser, [one, other])
    outcomes = await parties.hold(order, [one, other])
    assert {ended(outcome)[0] for outcome in outcomes.values()} == {"repair_not_approved"}


async def test_a_repair_takes_no_part_of_a_key_that_the_job_does_not_name(with_key):
    parties, key = await with_key(EDDSA_ED25519)
    loser, *helpers = key.signers
    await parties[loser].rows("DELETE FROM shares")
    for helper in helpers:
        await approve_repair(parties[helper], key, loser)
    other = replace(key, public_key=made_up_key(EDDSA_ED25519, 1))
    outcomes = await parties.hold(orders.repair(other, loser, helpers))
    assert {ended(outcomes[helper])[0] for helper in helpers} == {"key_mismatch"}
    assert ended(outcomes[loser])[0] == "peer_aborted"
    assert await parties[loser].states(key) == []


async def test_three_of_five_sign_without_the_other_two(with_key):
    parties, key = await with_key(EDDSA_ED25519, 3, 5)
    for quorum in itertools.combinations(NAMES, 3):
        await parties.sign(key, quorum)


async def test_a_child_signs_under_the_key_that_follows_from_its_path(with_key):
    parties, root = await with_key(ECDSA_SECP256K1)
    request = wanted(root)
    assert isinstance(request, SignHash)
    order = child_order(root, (0, 5), request)
    outcomes = await parties.hold(order)
    for outcome in outcomes.values():
        key = order.job.key
        assert key.public_key is not None
        verify(
            signature_of(outcome).signature, key.public_key, key.algorithm, None, request,
            request.hash,
        )  # fmt: skip


async def test_a_child_of_another_path_than_its_public_key_says_is_refused(with_key):
    parties, root = await with_key(ECDSA_SECP256K1)
    order = child_order(root, (0, 5), wanted(root))
    path = (0, 6)
    wrong = order.job.key.model_copy(
        update={"id": child_key_id(root.id, path, root.network), "path": path}
    )
    outcomes = await parties.hold(order.with_job(key=wrong))
    assert {ended(outcome)[0] for outcome in outcomes.values()} == {"key_mismatch"}


@pytest.mark.parametrize("algorithm", FROST, ids=str)
async def test_a_key_that_has_no_children_signs_for_none(with_key, algorithm):
    parties, root = await with_key(algorithm)
    child = child_key_id(root.id, (1,), root.network)
    key = root.reference().model_copy(update={"id": child, "root": root.id, "path": (1,)})
    outcomes = await parties.hold(orders.sign(root, root.quorum, wanted(root)).with_job(key=key))
    assert {ended(outcome)[0] for outcome in outcomes.values()} == {"key_mismatch"}


async def test_a_wallets_key_signs_for_no_other_network(with_key):
    parties, key = await with_key(SCHNORR_SECP256K1, network=Network.BITCOIN)
    await parties.sign(key)
    bare = replace(key, network=None)
    outcomes = await parties.hold(orders.sign(bare, key.quorum, wanted(bare)))
    assert {ended(outcome)[0] for outcome in outcomes.values()} == {"key_mismatch"}


async def test_a_job_with_another_public_key_than_the_shares_is_refused(with_key):
    parties, key = await with_key(EDDSA_ED25519)
    other = replace(key, public_key=made_up_key(EDDSA_ED25519, 2))
    outcomes = await parties.hold(orders.sign(other, key.quorum, wanted(key)))
    assert {ended(outcome)[0] for outcome in outcomes.values()} == {"key_mismatch"}


async def test_the_same_request_gets_the_same_answer_without_another_ceremony(with_key):
    parties, key = await with_key(EDDSA_ED25519)
    order = orders.sign(key, key.quorum, wanted(key))
    first = await parties.hold(order)
    assert await parties.hold(order.again()) == first
    for name in key.quorum:
        (used,) = await parties[name].rows(
            "SELECT count(*) AS tickets FROM used_tickets WHERE ceremony = :ceremony",
            ceremony=order.ceremony,
        )
        assert used.tickets == 1


async def test_a_new_key_signs_for_nobody_before_it_is_in_use(start):
    parties = await start()
    key = Key(EDDSA_ED25519, 2, NAMES[:3])
    order = orders.generate(key)
    confirmed = confirmations(await parties.hold(order))
    new = parties.confirmed_key(key, order, confirmed)
    outcomes = await parties.hold(orders.sign(new, new.quorum, wanted(new)))
    assert {ended(outcome)[0] for outcome in outcomes.values()} == {"no_share"}


def child_order(root: Key, path: tuple[int, ...], request) -> orders.Order:
    assert root.public_key is not None
    assert root.chain_code is not None
    child = root.reference().model_copy(
        update={
            "id": child_key_id(root.id, path, root.network),
            "root": root.id,
            "path": path,
            "public_key": child_public_key(root.public_key, root.chain_code, path),
        }
    )
    return orders.sign(root, root.quorum, request).with_job(key=child)


async def approve_repair(party, key: Key, signer: str) -> None:
    await party.rows(
        "INSERT INTO repair_approvals (key_id, signer, operator, reason, expires_at)"
        " VALUES (:key, :signer, 'operator', 'a lost disk', now() + interval '1 hour')",
        key=key.id,
        signer=signer,
    )


async def test_a_share_that_can_be_opened_is_not_replaced_by_a_repair(with_key):
    parties, key = await with_key(EDDSA_ED25519)
    target, *helpers = key.signers
    for helper in helpers:
        await approve_repair(parties[helper], key, target)
    outcomes = await parties.hold(orders.repair(key, target, helpers).until(3))
    assert ended(outcomes[target])[0] == "share_not_lost"
    assert await parties[target].states(key) == ["active"]
