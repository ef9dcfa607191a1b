"""A copy of a key for another signer group, step by step."""

from collections.abc import Mapping, Sequence

from custody.wire.outcomes import DealtShares, Outcome, PreparedImport
from custody.wire.signed_bytes import SignedBytes
from tests.integration.ceremonies import orders
from tests.integration.ceremonies.orders import Key
from tests.integration.ceremonies.parties import Parties


def statement_of(outcome: Outcome) -> SignedBytes:
    assert isinstance(outcome.result, PreparedImport), outcome
    [statement] = outcome.result.statements
    return statement


def dealing_of(outcome: Outcome) -> SignedBytes:
    assert isinstance(outcome.result, DealtShares), outcome
    return outcome.result.dealing


async def import_keys(parties: Parties, key: Key, new: Key) -> list[SignedBytes]:
    """The statement of each new signer, by index."""
    outcomes = await parties.hold(orders.prepare_copy(key, new), new.signers)
    return [statement_of(outcome) for outcome in outcomes.values()]


async def dealings(
    parties: Parties, key: Key, new: Key, dealers: Sequence[str] | None = None
) -> dict[str, SignedBytes]:
    """What t old signers deal to the new ones, by dealer in order of the index."""
    dealers = dealers or key.quorum
    order = orders.deal(key, new, dealers, await import_keys(parties, key, new))
    outcomes = await parties.hold(order, dealers)
    return {name: dealing_of(outcome) for name, outcome in outcomes.items()}


async def copied(
    parties: Parties, key: Key, new: Key, dealt: Mapping[str, SignedBytes] | None = None
) -> Key:
    """The copy in use."""
    dealt = dealt or await dealings(parties, key, new)
    order = orders.copy_key(key, new, list(dealt.values()))
    return await parties.take_into_use(new, order, await parties.prepare(order))
