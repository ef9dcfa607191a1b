"""Signers make one-time import keys, and state them."""

from dataclasses import replace
from uuid import uuid4

import pytest

from custody.wire.algorithms import ECDSA_SECP256K1, ECDSA_SECP256R1, EDDSA_ED25519
from custody.wire.hybrid_keys import HybridPublicKey
from custody.wire.imports import ImportKeyStatement
from custody.wire.jobs import KeyHolders
from custody.wire.outcomes import Outcome, OutcomeStatus, PreparedImport
from custody.wire.signed_bytes import IMPORT_KEY_TYPE, PinnedKeys, SignedBytes
from tests.integration.ceremonies import orders
from tests.integration.ceremonies.orders import Key, Order
from tests.integration.ceremonies.parties import NAMES, Parties, ended
from tests.made_up_keys import made_up_key

ONE, TWO, THREE = NAMES[:3]


def wanted() -> Key:
    return Key(ECDSA_SECP256K1, 2, NAMES[:3])


def signed(outcome: Outcome) -> SignedBytes:
    assert isinstance(outcome.result, PreparedImport), outcome
    [statement] = outcome.result.statements
    return statement


def stated(parties: Parties, name: str, outcome: Outcome) -> ImportKeyStatement:
    """What a signer has stated under its identity key."""
    identity = parties.organisation.members[name].identity.public_key
    payload = PinnedKeys([identity]).open(IMPORT_KEY_TYPE, signed(outcome))
    return ImportKeyStatement.model_validate_json(payload)


async def test_each_signer_states_a_key_of_its_own_for_the_whole_group(start):
    parties = await start()
    key = wanted()
    outcomes = await parties.hold(orders.prepare_import(key), key.signers)
    said = {name: stated(parties, name, outcome) for name, outcome in outcomes.items()}
    assert all(each.agreed == said[ONE].agreed for each in said.values())
    assert len({each.import_key for each in said.values()}) == 3
    for name, each in said.items():
        assert (each.import_id, each.node, each.application) == (key.id, name, None)
        assert (each.group, each.threshold, each.signers) == (
            orders.SIGNER_GROUP, 2, list(key.signers),
        )  # fmt: skip


async def test_what_is_sealed_to_a_statement_opens_at_that_signer_alone(start):
    parties = await start()
    key = wanted()
    outcomes = await parties.hold(orders.prepare_import(key), key.signers)
    said = stated(parties, ONE, outcomes[ONE])
    sealed = HybridPublicKey(said.import_key).seal(b"sub-share", b"info")
    for name in (ONE, TWO):
        import_keys = parties[name].import_keys
        stored = await import_keys.find(key.id)
        assert stored is not None
        private_key = await import_keys.open(stored)
        if name == ONE:
            assert private_key.open(sealed, b"info") == b"sub-share"
        else:
            with pytest.raises(ValueError, match="not sealed for this key"):
                private_key.open(sealed, b"info")


async def test_asked_again_it_states_the_same_key(start):
    parties = await start()
    key = wanted()
    first = (await parties.hold(orders.prepare_import(key), [ONE]))[ONE]
    again = (await parties.hold(orders.prepare_import(key), [ONE]))[ONE]
    assert again.job_id != first.job_id
    assert signed(again) == signed(first)


async def test_another_group_gets_no_key_of_the_same_import(start):
    parties = await start()
    key = wanted()
    await parties.hold(orders.prepare_import(key), [ONE])
    for other in (replace(key, threshold=3), replace(key, signers=(ONE, THREE, TWO))):
        outcome = (await parties.hold(orders.prepare_import(other), [ONE]))[ONE]
        assert (outcome.status, outcome.code) == (OutcomeStatus.DENIED, "import_exists")


async def refusal(parties: Parties, order: Order) -> tuple[str, tuple[str, ...]]:
    """How signer-1 refuses; nothing is stored."""
    outcome = (await parties.hold(order, [ONE]))[ONE]
    assert await parties[ONE].rows("SELECT FROM import_keys") == []
    return ended(outcome)


async def test_a_group_that_the_owner_does_not_want_gets_no_key(start):
    parties = await start(min_threshold=3)
    code, _ = await refusal(parties, orders.prepare_import(wanted()))
    assert code == "threshold_too_low"


async def test_a_group_with_a_stranger_gets_no_key_and_the_stranger_is_named(start):
    parties = await start()
    with_stranger = replace(wanted(), signers=(*NAMES[:3], "signer-9"))
    assert await refusal(parties, orders.prepare_import(with_stranger)) == (
        "not_pinned",
        ("signer-9",),
    )


async def test_the_group_is_the_one_that_the_application_asked_for(start):
    parties = await start()
    code, _ = await refusal(parties, orders.prepare_import(wanted(), group="another"))
    assert code == "request_mismatch"
    without = orders.prepare_import(wanted())
    job = without.job.model_copy(update={"holders": None})
    assert (await refusal(parties, replace(without, job=job)))[0] == "request_mismatch"


async def test_a_job_that_does_not_go_together_is_denied(start):
    parties = await start()
    others = KeyHolders(group=orders.SIGNER_GROUP, threshold=2, signers=(TWO, THREE))
    order = orders.prepare_import(wanted())
    key = order.job.key
    for changes, code in (
        ({"holders": others}, "malformed_job"),
        ({"step_of": uuid4()}, "malformed_job"),
        ({"key": replace(wanted(), algorithm=EDDSA_ED25519, id=key.id).reference()},
         "request_mismatch"),
    ):  # fmt: skip
        changed = order.job.model_copy(update={"id": uuid4(), **changes})
        assert (await refusal(parties, Order(changed)))[0] == code
    unsupported = orders.prepare_import(replace(wanted(), algorithm=ECDSA_SECP256R1))
    assert (await refusal(parties, unsupported))[0] == "malformed_job"
    of_copy = orders.prepare_copy(wanted(), replace(wanted(), public_key=made_up_key()))
    of_nothing = of_copy.with_job(copied_from=None, step_of=uuid4())
    assert (await refusal(parties, of_nothing))[0] == "malformed_job"
