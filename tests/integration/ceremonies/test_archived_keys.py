"""An archived key signs nothing at a signer, whatever the control plane orders."""

from dataclasses import replace
from uuid import uuid4

from custody.wire.algorithms import ECDSA_SECP256K1, EDDSA_ED25519, Network
from custody.wire.jobs import child_key_id
from custody.wire.outcomes import Outcome, OutcomeStatus
from mpc.shares.erasure import erase
from tests.integration.ceremonies import orders
from tests.integration.ceremonies.orders import Key, Order
from tests.integration.ceremonies.parties import NAMES, Parties, ended, wanted
from tests.integration.ceremonies.test_facts_of_a_key import approve
from tests.integration.ceremonies.test_whole_paths import approve_repair, child_order


async def done(parties: Parties, order: Order, among: tuple[str, ...]) -> None:
    outcomes = await parties.hold(order, among)
    assert {each.status for each in outcomes.values()} == {OutcomeStatus.DONE}, outcomes


def assert_archived(outcomes: dict[str, Outcome]) -> None:
    assert {ended(outcome)[0] for outcome in outcomes.values()} == {"key_archived"}
    assert {outcome.status for outcome in outcomes.values()} == {OutcomeStatus.DENIED}


async def test_archived_signers_neither_approve_nor_sign_until_they_have_unarchived(with_key):
    parties, key = await with_key(EDDSA_ED25519)
    await done(parties, orders.archive(key.reference()), key.signers)
    for order in (approve(key), orders.sign(key, key.quorum, wanted(key))):
        assert_archived(await parties.hold(order, key.quorum))
    await done(parties, orders.archive(key.reference(), undo=True), key.signers)
    await parties.sign(key)


async def test_a_quorum_of_others_signs_while_too_few_signers_have_archived(with_key):
    """That is why the API refuses signatures first, and n - t + 1 signers must archive."""
    parties, key = await with_key(EDDSA_ED25519)
    await done(parties, orders.archive(key.reference()), NAMES[:1])
    await parties.sign(key, NAMES[1:3])


async def test_a_child_of_an_archived_key_signs_for_no_network(with_key):
    """Keys of two networks at one path are one private key under two ids."""
    parties, root = await with_key(ECDSA_SECP256K1)
    child = child_order(root, (0,), wanted(root))
    await done(parties, orders.archive(child.job.key), root.signers)
    assert_archived(await parties.hold(child, root.quorum))
    assert_archived(await parties.hold(child_order(root, (0, 5), wanted(root)), root.quorum))
    other = child.job.key.model_copy(
        update={
            "network": Network.ETHEREUM,
            "id": child_key_id(root.id, (0,), Network.ETHEREUM),
        }
    )
    assert_archived(await parties.hold(child.with_job(id=uuid4(), key=other), root.quorum))
    await done(parties, child_order(root, (1,), wanted(root)), root.quorum)

    await done(parties, orders.archive(root.reference()), root.signers)
    assert_archived(await parties.hold(child_order(root, (1,), wanted(root)), root.quorum))


async def test_the_shares_of_an_archived_key_are_refreshed(with_key):
    parties, key = await with_key(EDDSA_ED25519)
    await done(parties, orders.archive(key.reference()), key.signers)
    refreshed: Key = await parties.refresh(key)
    assert refreshed.generation == key.generation + 1
    order = orders.sign(refreshed, key.quorum, wanted(key))
    assert_archived(await parties.hold(order, key.quorum))


async def test_a_signer_that_has_lost_its_share_archives_the_key(with_key):
    parties, key = await with_key(EDDSA_ED25519)
    await parties[NAMES[0]].rows("DELETE FROM shares")
    await done(parties, orders.archive(key.reference()), key.signers)


async def test_a_signer_whose_shares_were_erased_has_none_and_takes_none(with_key):
    parties, key = await with_key(EDDSA_ED25519)
    one, two, three = NAMES[:3]
    await done(parties, orders.archive(key.reference()), key.signers)
    await erase(parties[one].pool, one, key.id, operator="ada", reason="moved to zurich")
    await done(parties, orders.archive(key.reference(), undo=True), key.signers)
    for order in (orders.sign(key, (one, two), wanted(key)), orders.refresh(key)):
        outcomes = await parties.hold(order.until(2), (one,))
        assert ended(outcomes[one])[0] == "no_share"
    for helper in (two, three):
        await approve_repair(parties[helper], key, one)
    outcomes = await parties.hold(orders.repair(key, one, (two, three)).until(2))
    assert ended(outcomes[one])[0] == "share_erased"
    again = orders.generate(replace(key, public_key=None, chain_code=None, shares=None))
    outcomes = await parties.hold(again, (one,))
    assert ended(outcomes[one])[0] == "key_exists"
    await parties.sign(key, (two, three))


async def test_no_signer_archives_a_key_under_other_facts(with_key):
    parties, key = await with_key(EDDSA_ED25519)
    lie = key.reference().model_copy(update={"network": Network.SOLANA})
    outcomes = await parties.hold(orders.archive(lie), key.signers)
    assert {ended(outcome)[0] for outcome in outcomes.values()} == {"key_mismatch"}
    await parties.sign(key)
