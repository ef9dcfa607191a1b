"""What a control plane that somebody else has cannot get out of signers by orders of its own."""

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.node.freeze import Freeze
from custody.wire.algorithms import (
    ECDSA_SECP256K1,
    ECDSA_SECP256R1,
    EDDSA_ED25519,
    SCHNORR_SECP256K1,
    Algorithm,
    Network,
)
from custody.wire.jobs import child_key_id
from custody.wire.outcomes import OutcomeStatus
from custody.wire.public_keys import check_public_key
from custody.wire.signed_bytes import SigningKey
from tests.integration.ceremonies import orders
from tests.integration.ceremonies.orders import Key
from tests.integration.ceremonies.parties import (
    NAMES,
    Organisation,
    confirmations,
    ended,
    wanted,
)
from tests.integration.ceremonies.scripted_delivery import ScriptedDelivery, honestly
from tests.integration.ceremonies.test_whole_paths import child_order

ONE, TWO = NAMES[:2]


@pytest.fixture
async def server(organisation: Organisation) -> AsyncIterator[ScriptedDelivery]:
    """Its control plane's accomplice."""
    async with ScriptedDelivery().serving(organisation.server_leaf) as server:
        yield server


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
    start, made: Algorithm, claimed: Algorithm
):
    """Half of all Ed25519 keys are x coordinates on secp256k1 too: a p2tr address of nobody's.

    A key that is not a point of the claimed curve is refused as malformed before any comparison,
    so keys are made until one could be of both algorithms.
    """
    parties = await start()
    while True:
        key = Key(made, 2, NAMES[:3])
        order = orders.generate(key)
        confirmed = confirmations(await parties.hold(order))
        new = parties.confirmed_key(key, order, confirmed)
        with contextlib.suppress(ValueError):
            check_public_key(claimed, new.public_key)
            break
    promised = await parties.promise(new, confirmed)
    reference = new.reference().model_copy(
        update={"scheme": claimed.scheme, "curve": claimed.curve}
    )
    lie = orders.activate(new, promised).with_job(key=reference)
    for outcome in (await parties.hold(lie, new.signers)).values():
        assert ended(outcome)[0] == "key_mismatch"


async def test_a_set_is_not_taken_into_use_as_another_keys(start):
    parties = await start()
    key = Key(EDDSA_ED25519, 2, NAMES[:3], Network.SOLANA)
    order = orders.generate(key)
    confirmed = confirmations(await parties.hold(order))
    new = parties.confirmed_key(key, order, confirmed)
    promised = await parties.promise(new, confirmed)
    another = SigningKey(Ed25519PrivateKey.generate()).public_key
    for changes in ({"public_key": another}, {"public_key": None}, {"network": None}):
        reference = new.reference().model_copy(update=changes)
        for lie in (orders.promise(new, confirmed), orders.activate(new, promised)):
            outcomes = await parties.hold(lie.with_job(key=reference), new.signers)
            assert {ended(outcome)[0] for outcome in outcomes.values()} == {"key_mismatch"}
    outcomes = await parties.hold(orders.activate(new, promised), new.signers)
    assert {outcome.status for outcome in outcomes.values()} == {OutcomeStatus.DONE}


@pytest.mark.parametrize("algorithm", [ECDSA_SECP256K1, EDDSA_ED25519], ids=str)
async def test_a_ceremony_that_is_held_up_does_not_outlive_its_request(with_key, server, algorithm):
    """The application counts on it: it may have asked for the same again, in other words."""
    parties, key = await with_key(algorithm, delivery_url=server.url)
    server.delay = 2.0
    soon = datetime.now(UTC) + timedelta(seconds=1.5)
    order = orders.sign(key, key.quorum, wanted(key)).with_job(expires_at=soon)
    for outcome in (await parties.hold(order)).values():
        assert ended(outcome)[0] == "peer_silent"
    assert {number for _, number in server.handed} == {0}


@pytest.mark.parametrize("algorithm", [ECDSA_SECP256K1, EDDSA_ED25519], ids=str)
async def test_a_signer_that_is_frozen_in_the_middle_of_a_ceremony_says_nothing_more(
    with_key, server, organisation, algorithm
):
    parties, key = await with_key(algorithm, delivery_url=server.url)
    settings = organisation.signer_settings(ONE, "postgresql://unused", server.url, 2)
    freeze = Freeze(settings.node.state_directory)

    def freezing(*told):
        freeze.freeze("now")
        return honestly(*told)

    server.deceit = freezing
    order = orders.sign(key, key.quorum, wanted(key)).until(3)
    try:
        outcomes = await parties.hold(order, [ONE, TWO])
    finally:
        freeze.unfreeze()
    assert ended(outcomes[ONE])[0] == "frozen"
    assert not any(ONE in handed for (_, number), handed in server.handed.items() if number > 0)


async def test_a_signature_that_was_made_while_the_signer_was_frozen_does_not_leave(
    with_key, server, organisation
):
    """All messages were sent when it was frozen: the check after the handler is the last one."""
    parties, key = await with_key(EDDSA_ED25519, delivery_url=server.url)
    settings = organisation.signer_settings(ONE, "postgresql://unused", server.url, 2)
    freeze = Freeze(settings.node.state_directory)

    def freezing_at_the_end(asked, ceremony, number, recipient, messages):
        if (number, recipient) == (1, ONE):
            freeze.freeze("now")
        return honestly(asked, ceremony, number, recipient, messages)

    server.deceit = freezing_at_the_end
    order = orders.sign(key, key.quorum, wanted(key)).until(5)
    try:
        outcome = (await parties.hold(order, [ONE, TWO]))[ONE]
    finally:
        freeze.unfreeze()
    assert ended(outcome)[0] == "frozen"


async def test_what_an_application_signs_for_one_child_is_not_done_with_another(with_key):
    """No signer has a row of a child: its id says which one it is, and so for which network."""
    parties, root = await with_key(ECDSA_SECP256K1)
    meant = child_order(root, (0, 5), wanted(root)).job.key
    other = child_order(root, (0, 6), wanted(root))
    for changes in (
        {"id": meant.id},
        {"id": meant.id, "path": (0, 6)},
        {"id": root.id},
        {"id": uuid4()},
        {"network": Network.BITCOIN},
    ):
        lie = other.with_job(key=other.job.key.model_copy(update=changes))
        for outcome in (await parties.hold(lie)).values():
            assert ended(outcome)[0] == "malformed_job"


async def test_no_key_is_generated_under_the_id_of_a_child(start):
    parties = await start()
    key = Key(EDDSA_ED25519, 2, NAMES[:3])
    order = orders.generate(key)
    child = child_key_id(key.id, (0, 5), None)
    posing = order.with_job(key=order.job.key.model_copy(update={"id": child}))
    for outcome in (await parties.hold(posing)).values():
        assert ended(outcome)[0] == "malformed_job"
