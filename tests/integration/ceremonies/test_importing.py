"""An application's private key becomes shares of all n signers, and exists whole nowhere else."""

import itertools
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.node.applications import Applications
from custody.wire.algorithms import (
    ECDSA_SECP256K1,
    EDDSA_ED25519,
    SCHNORR_SECP256K1,
    Algorithm,
    Network,
)
from custody.wire.imports import ImportedKey, ImportKeyStatement
from custody.wire.jobs import Endpoint
from custody.wire.outcomes import Outcome, OutcomeStatus
from custody.wire.signed_bytes import DetachedSignature, SigningKey
from custody.wire.signed_requests import payload_type
from custody.wire.statements import Attestation
from custody.wire.tickets import protocol_of
from devstack.s3 import S3Server
from mpc.recover.private_key import recovered
from mpc.recover.share_set import SetFacts
from tests.customers import Customer
from tests.integration.ceremonies import orders
from tests.integration.ceremonies.importing import Application, import_keys, import_whole
from tests.integration.ceremonies.orders import Key, Order
from tests.integration.ceremonies.parties import NAMES, Parties, ended
from tests.integration.ceremonies.test_inventory import inventories
from tests.integration.ceremonies.test_whole_paths import approve_repair
from tests.unit.mpc.native import feldman

ONE, TWO, THREE = NAMES[:3]
FROST = EDDSA_ED25519
KINDS = [
    (ECDSA_SECP256K1, None),
    (ECDSA_SECP256K1, Network.ETHEREUM),
    (SCHNORR_SECP256K1, Network.BITCOIN),
    (EDDSA_ED25519, Network.SOLANA),
]


def wanted(algorithm: Algorithm = FROST, network: Network | None = None) -> Key:
    return Key(algorithm, 2, NAMES[:3], network)


async def attested(parties: Parties, key: Key) -> list[Attestation]:
    """What the signers attest of the key in use."""
    signed = [held for held in await inventories(parties) if held.key_id == key.id]
    return [
        Attestation.model_validate_json(held.attestation.payload)
        for held in signed
        if held.attestation is not None
    ]


@pytest.mark.parametrize(("algorithm", "network"), KINDS)
async def test_an_imported_key_signs_with_every_quorum_and_is_attested_as_imported(
    start, algorithm, network
):
    parties = await start()
    application = Application(wanted(algorithm, network))
    key = await import_whole(parties, application)
    assert key.public_key == application.public_key
    assert key.chain_code == application.sealed_chain_code
    assert key.generation == 0
    for quorum in itertools.combinations(key.signers, 2):
        await parties.sign(key, quorum)
    said = await attested(parties, key)
    assert [each.imported for each in said] == [True] * 3
    assert {each.public_key for each in said} == {application.public_key}
    for name in key.signers:
        assert await parties[name].states(key) == ["active"]
        assert await parties[name].rows("SELECT FROM import_keys") == []


@pytest.mark.parametrize("algorithm", [FROST, ECDSA_SECP256K1])
async def test_no_share_of_an_imported_key_is_what_the_application_dealt(start, algorithm):
    parties = await start()
    application = Application(wanted(algorithm))
    key = await import_whole(parties, application)
    secrets = {}
    for index, party in enumerate(parties.of(key), 1):
        stored = await party.shares.active(key.id)
        share = await party.shares.open(stored)
        assert share.secret_share() != application.sub_shares[party.name]
        secrets[index] = int.from_bytes(share.secret_share())
    curve = feldman.curve_of(protocol_of(algorithm))
    assert feldman.private_key(curve, secrets) == application.private_key


async def test_a_key_stays_imported_after_a_repair_and_a_refresh(start):
    parties = await start()
    key = await import_whole(parties, Application(wanted()))
    loser, *helpers = key.signers
    await parties[loser].rows("DELETE FROM shares")
    for helper in helpers:
        await approve_repair(parties[helper], key, loser)
    await parties.hold(orders.repair(key, loser, helpers))
    refreshed = await parties.refresh(key)
    assert refreshed.public_key == key.public_key
    assert [each.imported for each in await attested(parties, refreshed)] == [True] * 3
    await parties.sign(refreshed, (loser, helpers[0]))


async def outcomes_of(
    parties: Parties, key: Key, imported: ImportedKey, **orders_of: Order
) -> dict[str, tuple[str, tuple[str, ...]]]:
    """How each signer ends the import; nobody stores anything."""
    order = orders.import_key(key, imported).until(3)
    given = {name: orders_of.get(name.replace("-", "_"), order) for name in key.signers}
    outcomes = await parties.give(given)
    for name in key.signers:
        assert await parties[name].rows("SELECT FROM shares") == []
        assert await parties[name].rows("SELECT FROM import_keys WHERE key_id IS NOT NULL") == []
    return {name: ended(outcome) for name, outcome in outcomes.items()}


@pytest.mark.parametrize("algorithm", [EDDSA_ED25519, ECDSA_SECP256K1, SCHNORR_SECP256K1])
async def test_a_wrong_sub_share_for_one_signer_is_named_and_nothing_is_stored(start, algorithm):
    parties = await start()
    application = Application(wanted(algorithm))
    number = int.from_bytes(application.sub_shares[TWO]) + 1
    application.sub_shares[TWO] = number.to_bytes(32)
    statements = await import_keys(parties, application.key)
    order = orders.import_key(application.key, application.imported(statements)).until(3)
    outcomes = await parties.hold(order)
    assert ended(outcomes[TWO]) == ("bad_dealing", ())
    assert outcomes[TWO].status is OutcomeStatus.FAILED
    assert not outcomes[TWO].transient
    assert "the application's sub-shares are wrong: the sub-share is not on the" in (
        outcomes[TWO].reason or ""
    )
    for name in application.key.signers:
        assert ended(outcomes[name])[0] in ("bad_dealing", "peer_aborted")
        assert await parties[name].rows("SELECT FROM shares") == []


async def test_an_application_that_announces_another_key_than_it_deals_is_refused(start):
    parties = await start()
    application, other = Application(wanted()), Application(wanted())
    application.commitments = (other.commitments[0], application.commitments[1])
    statements = await import_keys(parties, application.key)
    found = await outcomes_of(parties, application.key, application.imported(statements))
    assert {code for code, _ in found.values()} <= {"bad_dealing", "peer_aborted"}


def changed(imported: ImportedKey, **changes: object) -> ImportedKey:
    return imported.model_copy(update=changes)


async def test_a_control_plane_that_swaps_two_signers_ciphertexts_gets_no_key(start):
    parties = await start()
    application = Application(wanted())
    imported = application.imported(await import_keys(parties, application.key))
    assert imported.sealed is not None
    swapped = {**imported.sealed, ONE: imported.sealed[TWO], TWO: imported.sealed[ONE]}
    found = await outcomes_of(parties, application.key, changed(imported, sealed=swapped))
    assert found[ONE][0] == found[TWO][0] == "bad_dealing"


async def test_a_signer_without_a_sub_share_gets_no_key(start):
    parties = await start()
    application = Application(wanted())
    imported = application.imported(await import_keys(parties, application.key))
    assert imported.sealed is not None
    without = {name: sealed for name, sealed in imported.sealed.items() if name != THREE}
    found = await outcomes_of(parties, application.key, changed(imported, sealed=without))
    assert found[THREE][0] == "bad_dealing"


async def test_other_commitments_or_another_chain_code_for_one_signer_are_noticed(start):
    """The sub-share opens only beside the facts that the application has sealed it for."""
    parties = await start()
    application = Application(wanted(ECDSA_SECP256K1))
    imported = application.imported(await import_keys(parties, application.key))
    other = Application(replace(application.key), application.private_key)
    for lie in ({"commitments": other.commitments}, {"chain_code": bytes(32)}):
        order = orders.import_key(application.key, changed(imported, **lie)).until(3)
        found = await outcomes_of(parties, application.key, imported, signer_2=order)
        assert found[TWO][0] == "bad_dealing"


async def test_a_control_plane_that_deals_a_key_of_its_own_to_one_signer_gets_no_key(start):
    """It knows all public keys, and may seal what it likes. The others do not follow."""
    parties = await start()
    application = Application(wanted())
    statements = await import_keys(parties, application.key)
    own = Application(application.key)
    order = orders.import_key(application.key, own.imported(statements)).until(3)
    found = await outcomes_of(
        parties, application.key, application.imported(statements), signer_2=order
    )
    assert {code for code, _ in found.values()} <= {
        "bad_message", "peer_aborted", "peer_silent", "delivery_unavailable", "ceremony_aborted",
    }  # fmt: skip


async def refused_by_one(parties: Parties, order: Order) -> Outcome:
    outcome = (await parties.hold(order.until(3), [ONE]))[ONE]
    assert outcome.result is None
    return outcome


async def test_an_import_key_is_for_the_group_and_the_algorithm_that_it_states(start):
    parties = await start(signers=4)
    application = Application(wanted())
    imported = application.imported(await import_keys(parties, application.key))
    key = application.key
    for other in (
        replace(key, threshold=3),
        replace(key, signers=(ONE, THREE, TWO)),
        replace(key, signers=NAMES[:4]),
    ):
        outcome = await refused_by_one(parties, orders.import_key(other, imported))
        assert (outcome.status, outcome.code) == (OutcomeStatus.DENIED, "import_mismatch")
    schnorr = Application(wanted(SCHNORR_SECP256K1))
    statements = {
        name: ImportKeyStatement.model_validate(
            {
                **(await import_keys(parties, key))[name].model_dump(),
                "import_id": imported.import_id,
            }
        )
        for name in key.signers
    }
    outcome = await refused_by_one(
        parties, orders.import_key(schnorr.key, schnorr.imported(statements))
    )
    assert (outcome.status, outcome.code) == (OutcomeStatus.DENIED, "import_mismatch")


async def test_an_import_key_is_for_the_application_that_asked_for_it(start):
    parties = await start()
    shop = SigningKey(Ed25519PrivateKey.generate())
    await Applications(parties[ONE].pool).add("shop", shop.public_key)
    application = Application(wanted())
    imported = application.imported(await import_keys(parties, application.key))  # not signed
    order = orders.import_key(application.key, imported)
    made = shop.sign(payload_type(Endpoint.KEYS), order.job.request)
    signature = DetachedSignature(signature=made.signature, signing_key_id=made.signing_key_id)
    outcome = await refused_by_one(parties, order.with_job(request_signature=signature))
    assert (outcome.status, outcome.code) == (OutcomeStatus.DENIED, "import_mismatch")


async def test_an_import_is_used_for_one_key_alone_and_again_for_that_key(start):
    parties = await start()
    application = Application(wanted())
    imported = application.imported(await import_keys(parties, application.key))
    first = orders.import_key(application.key, imported)
    await parties.prepare(first)
    other = await refused_by_one(parties, orders.import_key(wanted(), imported))
    assert (other.status, other.code) == (OutcomeStatus.DENIED, "import_used")
    for outcome in (
        await parties.hold(orders.abandon(application.key, first.ceremony), application.key.signers)
    ).values():
        assert outcome.status is OutcomeStatus.DONE, outcome
    again = orders.import_key(application.key, imported)
    key = await parties.take_into_use(application.key, again, await parties.prepare(again))
    await parties.sign(key)


async def test_an_import_key_that_is_gone_takes_no_key(start):
    parties = await start()
    application = Application(wanted())
    imported = application.imported(await import_keys(parties, application.key))
    never = await refused_by_one(
        parties, orders.import_key(application.key, changed(imported, import_id=uuid4()))
    )
    assert never.code == "no_import_key"
    await parties[ONE].rows("DELETE FROM import_keys")
    gone = await refused_by_one(parties, orders.import_key(application.key, imported))
    assert (gone.code, gone.transient) == ("no_import_key", False)


async def test_a_key_that_is_in_use_is_not_imported_over(start):
    parties = await start()
    key = await import_whole(parties, Application(wanted()))
    application = Application(key)
    imported = application.imported(await import_keys(parties, key))
    found = await parties.hold(orders.import_key(replace(key, generation=0), imported).until(3))
    assert {ended(outcome)[0] for outcome in found.values()} == {"key_exists"}
    await parties.sign(key)


async def test_a_request_for_a_new_key_imports_none_and_an_import_is_no_generation(start):
    parties = await start()
    application = Application(wanted())
    imported = application.imported(await import_keys(parties, application.key))
    generate, import_ = orders.generate(wanted()), orders.import_key(application.key, imported)
    assert (await refused_by_one(parties, generate.with_job(request=import_.job.request))).code == (
        "request_mismatch"
    )
    assert (await refused_by_one(parties, import_.with_job(request=generate.job.request))).code == (
        "request_mismatch"
    )


@pytest.mark.parametrize("algorithm", [EDDSA_ED25519, ECDSA_SECP256K1, SCHNORR_SECP256K1])
async def test_the_customer_recovers_the_imported_private_key_from_share_copies(
    start, s3_server: S3Server, tmp_path: Path, algorithm
):
    customer = Customer.of(s3_server, tmp_path, ONE, TWO, THREE)
    layer4 = {name: customer.section_of(tmp_path, f"{name}/") for name in (ONE, TWO, THREE)}
    parties = await start(layer4=layer4)
    application = Application(wanted(algorithm))
    key = await import_whole(parties, application)
    copies = [copy for copy in customer.copies() if copy.key_id == key.id]
    assert sorted(copy.signer for copy in copies) == [ONE, TWO, THREE]
    assert all(copy.made_for is not None and copy.made_for.imported for copy in copies)
    order = feldman.curve_of(protocol_of(algorithm)).order
    for pair in itertools.combinations(copies, 2):
        found = recovered(SetFacts.of(pair[0]), pair)
        assert found.scalar in (application.private_key, order - application.private_key)
        assert found.public_key == application.public_key
        assert found.scalar == application.private_key or algorithm == SCHNORR_SECP256K1
