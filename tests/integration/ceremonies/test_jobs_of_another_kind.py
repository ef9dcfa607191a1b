"""Jobs that ask for one thing under the name of another: signers do none of them."""

import asyncio
from dataclasses import replace
from uuid import uuid4

import pytest

from custody.wire.algorithms import ECDSA_SECP256K1, EDDSA_ED25519
from custody.wire.jobs import Endpoint, JobKind
from custody.wire.outcomes import OutcomeStatus
from custody.wire.requests import RefreshKey, RepairShare, SignHash
from tests.integration.ceremonies import orders
from tests.integration.ceremonies.orders import Key, Order
from tests.integration.ceremonies.parties import NAMES, Parties, ended, wanted
from tests.integration.ceremonies.test_whole_paths import approve_repair, child_order

ONE, TWO, THREE = NAMES[:3]
SIGN = SignHash(kind="Hash", hash=bytes(32))


async def ends(parties: Parties, order: Order, among: tuple[str, ...]) -> set[tuple[str, str]]:
    """Status and code of each signer's outcome."""
    outcomes = (await parties.hold(order, among)).values()
    return {(outcome.status.value, ended(outcome)[0]) for outcome in outcomes}


async def test_a_set_that_is_in_use_signs_no_proof_of_possession(with_key):
    """What ProveKey signs carries no request, and passes no gate: it is for new sets alone."""
    parties, key = await with_key(EDDSA_ED25519)
    proof = orders.prove(key, key.quorum)
    assert await ends(parties, proof, key.quorum) == {("FAILED", "no_share")}


async def test_a_proof_of_possession_is_of_the_set_that_its_ticket_uses(with_key):
    parties, key = await with_key(EDDSA_ED25519)
    order = orders.refresh(key)
    new = parties.confirmed_key(key, order, await parties.prepare(order))
    assert new.shares is not None
    for changes in ({"share_set_id": key.shares}, {"generation": 0}):
        proof = orders.prove(new, new.quorum).with_ticket(**changes)
        assert await ends(parties, proof, new.quorum) == {("FAILED", "wrong_generation")}
    await parties.prove(new)


async def test_no_key_is_made_as_a_later_generation(start):
    """With a later generation it would take the place of the key that is in use."""
    parties = await start()
    order = orders.generate(Key(EDDSA_ED25519, 2, NAMES[:3])).with_ticket(generation=1)
    assert await ends(parties, order, NAMES[:3]) == {("REFUSED", "bad_ticket")}


@pytest.mark.parametrize(
    ("endpoint", "request_", "code"),
    [
        (Endpoint.SIGNATURES, SIGN, "malformed_job"),
        (Endpoint.KEYS, RefreshKey(), "malformed_job"),
        (Endpoint.REFRESHES, SIGN, "malformed_request"),
        (Endpoint.REPAIRS, RefreshKey(), "malformed_request"),
    ],
)
async def test_a_refresh_that_the_application_did_not_ask_for_is_denied(
    with_key, endpoint, request_, code
):
    """Its request may have passed the owner's locks, as a signature's does: for that alone."""
    parties, key = await with_key(EDDSA_ED25519)
    body = request_.model_dump_json(exclude_none=True).encode()
    lie = orders.refresh(key).with_job(endpoint=endpoint, request=body)
    assert await ends(parties, lie, key.signers) == {("DENIED", code)}


@pytest.mark.parametrize(
    ("endpoint", "request_"),
    [
        (Endpoint.REPAIRS, RepairShare(signer=TWO)),
        (Endpoint.REFRESHES, RefreshKey()),
    ],
    ids=["of another signer", "a refresh"],
)
async def test_a_repair_that_the_application_did_not_ask_for_is_denied(
    with_key, endpoint, request_
):
    parties, key = await with_key(EDDSA_ED25519)
    await parties[ONE].rows("DELETE FROM shares")
    for helper in (TWO, THREE):
        await approve_repair(parties[helper], key, ONE)
    body = request_.model_dump_json(exclude_none=True).encode()
    lie = orders.repair(key, ONE, [TWO, THREE]).with_job(endpoint=endpoint, request=body)
    assert await ends(parties, lie, key.signers) == {("DENIED", "request_mismatch")}
    assert await parties[ONE].states(key) == []


@pytest.mark.parametrize(
    "kind",
    [
        JobKind.PROVE_KEY,
        JobKind.PROMISE,
        JobKind.ACTIVATE_KEY,
        JobKind.ABANDON,
        JobKind.DISCARD,
    ],
)
async def test_what_becomes_of_a_set_is_not_ordered_under_the_name_of_a_child(with_key, kind):
    """A child has no set of its own: the order would be recorded and attested for another key."""
    parties, root = await with_key(ECDSA_SECP256K1)
    child = child_order(root, (0, 5), SIGN).job.key
    given = {
        JobKind.PROVE_KEY: orders.prove(root, root.quorum),
        JobKind.PROMISE: orders.promise(root, ()),
        JobKind.ACTIVATE_KEY: orders.activate(root, ()),
        JobKind.ABANDON: orders.abandon(root, uuid4()),
        JobKind.DISCARD: orders.discard(root, uuid4(), ()),
    }[kind]
    outcomes = await parties.hold(given.with_job(key=child), root.quorum)
    for outcome in outcomes.values():
        assert (outcome.status, outcome.code) == (OutcomeStatus.REFUSED, "malformed_job")


@pytest.mark.parametrize(
    "kind", [JobKind.PROMISE, JobKind.ACTIVATE_KEY, JobKind.ABANDON, JobKind.DISCARD]
)
async def test_an_order_names_the_set_that_it_is_about(with_key, kind):
    parties, key = await with_key(EDDSA_ED25519)
    nameless = orders.promise(replace(key, shares=None), ()).with_job(kind=kind)
    assert await ends(parties, nameless, (ONE,)) == {("REFUSED", "malformed_job")}


async def test_another_request_under_the_id_of_a_job_that_was_done_is_denied(with_key):
    parties, key = await with_key(EDDSA_ED25519)
    first = orders.sign(key, key.quorum, wanted(key))
    await parties.hold(first)
    second = orders.sign(key, key.quorum, wanted(key)).with_job(id=first.job.id)
    assert await ends(parties, second, key.quorum) == {("DENIED", "replayed")}
    again = (await parties.hold(first.again()))[ONE]
    assert again.status is OutcomeStatus.DONE


async def test_of_two_requests_under_one_id_at_once_one_is_denied(with_key):
    """Neither is in the journal when the other is looked up: the commit decides."""
    parties, key = await with_key(EDDSA_ED25519)
    one, other = (orders.discard(key, uuid4(), ()) for _ in range(2))
    claimed = [
        parties.control_plane.claimed(order) for order in (one, other.with_job(id=one.job.id))
    ]
    outcomes = await asyncio.gather(*(parties[ONE].do(each) for each in claimed))
    found = sorted((outcome.status.value, outcome.code) for outcome in outcomes)
    assert found == [("DENIED", "replayed"), ("DONE", None)]
