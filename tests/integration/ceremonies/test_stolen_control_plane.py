"""What a control plane that somebody else has cannot get out of signers by orders of its own."""

import pytest

from tests.integration.ceremonies import orders
from tests.integration.ceremonies.orders import Key
from tests.integration.ceremonies.parties import NAMES, confirmations, ended
from wire.algorithms import (
    ECDSA_SECP256K1,
    ECDSA_SECP256R1,
    EDDSA_ED25519,
    SCHNORR_SECP256K1,
    Algorithm,
    Network,
)


@pytest.mark.parametrize(
    ("made", "claimed"),
    [
        (EDDSA_ED25519, SCHNORR_SECP256K1),
        (SCHNORR_SECP256K1, EDDSA_ED25519),
        (ECDSA_SECP256K1, ECDSA_SECP256R1),
    ],
    ids=str,
)
async def test_a_key_is_attested_as_nothing_but_what_its_shares_are(
    with_key, made: Algorithm, claimed: Algorithm
):
    """Half of all Ed25519 keys are x coordinates on secp256k1 too: a p2tr address of nobody's."""
    parties, key = await with_key(made)
    order = orders.refresh(key)
    confirmed = await parties.prepare(order)
    new = parties.confirmed_key(key, order, confirmed)
    await parties.prove(new)
    reference = new.reference().model_copy(
        update={"scheme": claimed.scheme, "curve": claimed.curve}
    )
    lie = orders.activate(new, confirmed).with_job(key=reference)
    for outcome in (await parties.hold(lie, new.signers)).values():
        assert ended(outcome)[0] == "key_mismatch"


async def test_a_set_is_not_taken_into_use_as_another_keys(start):
    parties = await start()
    key = Key(EDDSA_ED25519, 2, NAMES[:3], Network.SOLANA)
    order = orders.generate(key)
    confirmed = confirmations(await parties.hold(order))
    new = parties.confirmed_key(key, order, confirmed)
    await parties.prove(new)
    for changes in ({"public_key": bytes(32)}, {"public_key": None}, {"network": None}):
        reference = new.reference().model_copy(update=changes)
        lie = orders.activate(new, confirmed).with_job(key=reference)
        for outcome in (await parties.hold(lie, new.signers)).values():
            assert ended(outcome)[0] == "key_mismatch"
    await parties.take_into_use(key, order, confirmed)
