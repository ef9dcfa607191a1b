"""No job changes what a key is: each kind of job, with each fact of its key told otherwise."""

from collections.abc import Callable
from uuid import uuid4

from custody.wire.algorithms import ECDSA_SECP256K1, EDDSA_ED25519, SCHNORR_SECP256K1, Network
from custody.wire.jobs import CHILD_KINDS, JobKind, child_key_id
from custody.wire.outcomes import OutcomeStatus
from custody.wire.signed_bytes import SignedBytes
from custody.wire.tickets import Participant, protocol_of
from tests.integration.ceremonies import orders
from tests.integration.ceremonies.orders import Key, Order
from tests.integration.ceremonies.parties import (
    NAMES,
    Parties,
    confirmations,
    ended,
    promise_of,
    wanted,
)
from tests.integration.ceremonies.test_whole_paths import approve_repair, child_order
from tests.made_up_keys import made_up_key

ONE, TWO, THREE = NAMES[:3]
IN_USE = (JobKind.SIGN, JobKind.APPROVE, JobKind.REFRESH_KEY, JobKind.REPAIR_SHARE)
"""Kinds about the set in use; of the others, these are about a set that all have promised:"""
PROMISED = (JobKind.ACTIVATE_KEY, JobKind.DISCARD)
NEW_KEYS = (
    JobKind.GENERATE_KEY,
    JobKind.PREPARE_IMPORT,
    JobKind.IMPORT_KEY,
    JobKind.COPY_KEY,
)
ERASING = (JobKind.ABANDON, JobKind.DISCARD)


def approve(key: Key) -> Order:
    """A signer's own decision about a request to sign; an order without a ticket."""
    job = orders.sign(key, key.quorum, wanted(key)).job
    return Order(job.model_copy(update={"kind": JobKind.APPROVE, "step_of": job.id}))


def order_of(kind: JobKind, key: Key, new: Key, evidence: list[SignedBytes]) -> Order:
    """An order that holds. ``new``: the key with the set that the refresh has made."""
    assert new.shares is not None
    match kind:
        case JobKind.SIGN:
            return orders.sign(key, key.quorum, wanted(key))
        case JobKind.APPROVE:
            return approve(key)
        case JobKind.REFRESH_KEY:
            return orders.refresh(key)
        case JobKind.REPAIR_SHARE:
            return orders.repair(key, THREE, [ONE, TWO])
        case JobKind.PROVE_KEY:
            return orders.prove(new, new.quorum)
        case JobKind.PROMISE:
            return orders.promise(new, evidence)
        case JobKind.ACTIVATE_KEY:
            return orders.activate(new, evidence)
        case JobKind.ABANDON:
            return orders.abandon(new, new.shares)
        case JobKind.DISCARD:
            return orders.discard(new, new.shares, evidence)
        case JobKind.ARCHIVE_KEY | JobKind.UNARCHIVE_KEY:
            return orders.archive(key.reference(), undo=kind is JobKind.UNARCHIVE_KEY)
        case JobKind.DEAL_SHARES:
            return orders.deal(key, orders.copy_of(key, 2, key.signers), key.quorum, ())
    raise AssertionError(f"{kind.value} is not in this test")


def told(**changes: object) -> Callable[[Order, Key], Order]:
    """The key reference says otherwise, and the ticket goes with it."""

    def lie(order: Order, _: Key) -> Order:
        reference = order.job.key.model_copy(update=changes)
        lied = order.with_job(key=reference)
        if lied.ticket is None:
            return lied
        return lied.with_ticket(protocol=protocol_of(reference.algorithm))

    return lie


def a_child(order: Order, key: Key) -> Order:
    """The root's own public key, under the id of a child."""
    child = child_key_id(key.id, (0, 5), key.network)
    return told(id=child, root=key.id, path=(0, 5))(order, key)


JOB_LIES: dict[str, Callable[[Order, Key], Order]] = {
    "network": told(network=None),
    "address type": told(scheme=ECDSA_SECP256K1.scheme, public_key=made_up_key(ECDSA_SECP256K1)),
    "scheme and curve": told(
        **EDDSA_ED25519._asdict(), network=None, public_key=made_up_key(EDDSA_ED25519)
    ),
    "public key": told(public_key=made_up_key(SCHNORR_SECP256K1)),
    "public key: none": told(public_key=None),
    "root and path": a_child,
}
TICKET_LIES: dict[str, dict[str, object]] = {
    "group": {"group": "another"},
    "threshold": {"threshold": 3},
    "signers": {"signers": [TWO, ONE, THREE]},
    "more signers": {"signers": [ONE, TWO, THREE, NAMES[3]]},
}


def ticket_lie(order: Order, changes: dict[str, object]) -> Order:
    """A ticket whose parts go together, for as many participants as its kind wants."""
    assert order.ticket is not None
    signers = list(changes.get("signers", order.ticket.signers))  # type: ignore[call-overload]
    threshold = changes.get("threshold", order.ticket.threshold)
    assert isinstance(threshold, int)
    size = {
        JobKind.SIGN: threshold,
        JobKind.PROVE_KEY: threshold,
        JobKind.REFRESH_KEY: len(signers),
        JobKind.REPAIR_SHARE: order.ticket.threshold + 1,
    }[JobKind(order.job.kind)]
    if order.job.kind == JobKind.REPAIR_SHARE and "threshold" in changes:
        changes, size = {"threshold": 2, "group": "another"}, 3  # of 2-of-3, all take part
    everyone = [Participant(signer=name, index=index) for index, name in enumerate(signers, 1)]
    return order.with_ticket(participants=everyone[:size], **changes)


def expected(kind: JobKind, fact: str) -> str | None:
    """The code; None where the fact is none of the order's."""
    if fact == "root and path" and kind not in CHILD_KINDS:
        return "malformed_job"
    if fact == "public key: none" and kind is JobKind.DEAL_SHARES:
        return "malformed_job"
    if fact == "public key: none" and kind in ERASING:
        return None
    if fact == "scheme and curve" and kind is JobKind.SIGN:
        return "not_signable"  # Ed25519 signs no hashes, whatever the key is
    return "key_mismatch"


async def check_kinds(
    parties: Parties, kinds: list[JobKind], key: Key, new: Key, evidence: list[SignedBytes]
) -> None:
    """No kind of order is carried out with any fact told otherwise; nothing changes."""
    party = parties[ONE]
    before = await party.states(key)
    for kind in kinds:
        for fact, lie in JOB_LIES.items():
            code = expected(kind, fact)
            if code is not None:
                order = lie(order_of(kind, key, new, evidence), key)
                outcome = (await parties.hold(order, [ONE]))[ONE]
                assert ended(outcome)[0] == code, (kind, fact, outcome.reason)
        order = order_of(kind, key, new, evidence)
        for fact, changes in TICKET_LIES.items() if order.ticket is not None else ():
            lied = ticket_lie(order_of(kind, key, new, evidence), changes)
            outcome = (await parties.hold(lied, [ONE]))[ONE]
            assert ended(outcome)[0] == "bad_ticket", (kind, fact, outcome.reason)
    assert await party.states(key) == before


async def test_no_kind_of_job_is_done_with_any_fact_of_its_key_told_otherwise(with_key):
    parties, key = await with_key(SCHNORR_SECP256K1, network=Network.BITCOIN)
    # so that nothing else is in the way of the lies about groups of four, and of repairs
    fourth = parties.organisation.members[NAMES[3]]
    await parties[ONE].peers.add(fourth.name, fourth.identity.public_key)
    await approve_repair(parties[ONE], key, THREE)
    done: list[JobKind] = []

    order = orders.refresh(key)
    confirmed = confirmations(await parties.hold(order))
    new = parties.confirmed_key(key, order, confirmed)
    waiting = [kind for kind in JobKind if kind not in (*IN_USE, *PROMISED, *NEW_KEYS)]
    await check_kinds(parties, [*IN_USE, *waiting], key, new, confirmed)
    done += [*IN_USE, *waiting]

    await parties.prove(new)
    promised = [
        promise_of(outcome)
        for outcome in (await parties.hold(orders.promise(new, confirmed), new.signers)).values()
    ]
    await check_kinds(parties, list(PROMISED), key, new, promised)
    done += PROMISED
    assert {*done, *NEW_KEYS} == set(JobKind)
    # and with every fact told right it is the same key that has the new set in use
    for outcome in (await parties.hold(orders.activate(new, promised), new.signers)).values():
        assert outcome.status is OutcomeStatus.DONE, outcome
    await parties.sign(new)


async def test_a_refresh_does_not_move_a_wallets_key_to_another_network(with_key):
    parties, key = await with_key(ECDSA_SECP256K1, network=Network.ETHEREUM)
    for network in (None, Network.BITCOIN):
        lie = told(network=network)(orders.refresh(key), key)
        outcomes = await parties.hold(lie)
        assert {ended(outcome)[0] for outcome in outcomes.values()} == {"key_mismatch"}
    for party in parties.of(key):
        assert await party.states(key) == ["active"]


async def test_a_key_is_not_made_under_the_name_of_a_child(start):
    """The set would be stored under the root's id, with the child's network."""
    parties = await start()
    key = Key(ECDSA_SECP256K1, 2, NAMES[:3])
    order = orders.generate(key)
    for outcome in (await parties.hold(a_child(order, key))).values():
        assert ended(outcome)[0] == "malformed_job"


async def test_a_key_is_made_for_the_request_of_its_own_id_alone(start):
    parties = await start()
    key, other = Key(ECDSA_SECP256K1, 2, NAMES[:3]), Key(ECDSA_SECP256K1, 2, NAMES[:3])
    order = orders.generate(key).with_job(step_of=other.id)
    for outcome in (await parties.hold(order)).values():
        assert ended(outcome)[0] == "malformed_job"


async def test_a_child_of_a_wallets_key_signs_for_no_other_network(with_key):
    parties, root = await with_key(ECDSA_SECP256K1, network=Network.ETHEREUM)
    honest = child_order(root, (0, 5), wanted(root))
    assert {each.status for each in (await parties.hold(honest)).values()} == {OutcomeStatus.DONE}
    for network in (None, Network.BITCOIN):
        child = child_key_id(root.id, (0, 5), network)
        lie = told(id=child, network=network)(child_order(root, (0, 5), wanted(root)), root)
        request = child_order(root, (0, 5), wanted(root)).job
        approval = request.model_copy(
            update={"kind": JobKind.APPROVE, "step_of": uuid4(), "key": lie.job.key}
        )
        for order in (lie, Order(approval)):
            outcomes = await parties.hold(order, [ONE, TWO])
            assert {ended(outcome)[0] for outcome in outcomes.values()} == {"key_mismatch"}


async def test_a_repair_gives_no_share_under_another_network(with_key):
    """Also where the one that lost its share has an older one left, which says what the key is."""
    parties, old = await with_key(SCHNORR_SECP256K1, network=Network.BITCOIN)
    key = await parties.refresh(old)
    for helper in (ONE, TWO):
        await approve_repair(parties[helper], key, THREE)
    await parties[THREE].rows("DELETE FROM shares WHERE state = 'active'")
    order = told(network=None)(orders.repair(key, THREE, [ONE, TWO]), key)
    outcomes = await parties.hold(order)
    assert {ended(outcome)[0] for outcome in outcomes.values()} == {"key_mismatch"}
