"""Two sets of one key never compete, and no key takes another's place."""

from custody.wire.algorithms import EDDSA_ED25519
from custody.wire.outcomes import OutcomeStatus, SetOfShares
from tests.integration.ceremonies import orders
from tests.integration.ceremonies.parties import ended


async def test_while_one_set_waits_no_other_is_made(with_key):
    """With two that all have promised, a lying control plane could activate both, in parts."""
    parties, key = await with_key(EDDSA_ED25519)
    order = orders.refresh(key)
    confirmed = await parties.prepare(order)
    outcomes = await parties.hold(orders.refresh(key))
    assert {ended(outcome)[0] for outcome in outcomes.values()} == {"set_pending"}
    for outcome in outcomes.values():
        assert outcome.shares == SetOfShares(ceremony=order.ceremony, generation=1)
    refreshed = await parties.take_into_use(key, order, confirmed)
    await parties.sign(refreshed)
    await parties.refresh(refreshed)


async def test_a_key_in_use_is_not_generated_again(with_key):
    parties, key = await with_key(EDDSA_ED25519)
    for generation, code, status in (
        (0, "key_exists", OutcomeStatus.DENIED),
        (7, "bad_ticket", OutcomeStatus.REFUSED),
    ):
        order = orders.generate(key).with_ticket(generation=generation)
        outcomes = await parties.hold(order)
        assert {ended(outcome)[0] for outcome in outcomes.values()} == {code}
        assert {outcome.status for outcome in outcomes.values()} == {status}
    await parties.sign(key)
