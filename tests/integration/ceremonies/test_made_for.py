"""What signers attest of the request that a key was made for, whatever becomes of its shares."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.node.applications import Applications
from custody.wire.algorithms import EDDSA_ED25519
from custody.wire.jobs import Endpoint
from custody.wire.outcomes import ActivatedShare
from custody.wire.signed_bytes import ATTESTATION_TYPE, DetachedSignature, PinnedKeys, SigningKey
from custody.wire.signed_requests import payload_type
from custody.wire.statements import Attestation, MadeFor
from tests.integration.ceremonies import orders
from tests.integration.ceremonies.orders import Key, Order
from tests.integration.ceremonies.parties import NAMES, Parties
from tests.integration.ceremonies.test_whole_paths import approve_repair

APPLICATION = SigningKey(Ed25519PrivateKey.generate())
BODY = (
    b'{"scheme": "EdDSA", "curve": "ed25519", "store": "mpc", "signer_group": "treasury",'
    b' "external_id": "order-7"}'
)
UNSIGNED = MadeFor(endpoint=Endpoint.KEYS, external_id="order-7", application=None)
SIGNED = UNSIGNED.model_copy(update={"application": APPLICATION.public_key})


def wanted(key: Key) -> Order:
    """Key generation, as the application has asked for it and signed."""
    made = APPLICATION.sign(payload_type(Endpoint.KEYS), BODY)
    signature = DetachedSignature(signature=made.signature, signing_key_id=made.signing_key_id)
    return orders.generate(key).with_job(request=BODY, request_signature=signature)


async def pin_application(parties: Parties, names: tuple[str, ...] = NAMES[:3]) -> None:
    for name in names:
        await Applications(parties[name].pool).add("shop", APPLICATION.public_key)


async def attested(parties: Parties, key: Key, order: Order) -> tuple[Key, list[MadeFor | None]]:
    """The key with the new set in use, and what each signer attests that it was made for."""
    confirmed = await parties.prepare(order)
    new = parties.confirmed_key(key, order, confirmed)
    promised = await parties.promise(new, confirmed)
    # an attacker who has the control plane sends the order, with a request of its own
    order = orders.activate(new, promised).with_job(
        request=BODY.replace(b"order-7", b"order-8"), endpoint=Endpoint.WALLETS
    )
    found = []
    for name, outcome in (await parties.hold(order, new.signers)).items():
        assert isinstance(outcome.result, ActivatedShare), outcome
        identity = PinnedKeys([parties.organisation.members[name].identity.public_key])
        payload = identity.open(ATTESTATION_TYPE, outcome.result.attestation)
        found.append(Attestation.model_validate_json(payload).made_for)
    return new, found


async def test_it_is_the_signed_request_in_every_generation_and_after_a_repair(start):
    parties = await start()
    await pin_application(parties)
    key = Key(EDDSA_ED25519, 2, NAMES[:3])
    key, made_for = await attested(parties, key, wanted(key))
    assert made_for == [SIGNED] * 3
    key, made_for = await attested(parties, key, orders.refresh(key))
    assert made_for == [SIGNED] * 3
    loser, *helpers = key.signers
    await parties[loser].rows("DELETE FROM shares")
    for helper in helpers:
        await approve_repair(parties[helper], key, loser)
    await parties.hold(orders.repair(key, loser, helpers))
    for _ in range(2):
        key, made_for = await attested(parties, key, orders.refresh(key))
        assert made_for == [SIGNED] * 3


@pytest.mark.parametrize("pinned", [(), NAMES[:1]])
async def test_a_signer_names_the_application_whose_signature_it_has_verified(start, pinned):
    parties = await start()
    await pin_application(parties, pinned)
    key = Key(EDDSA_ED25519, 2, NAMES[:3])
    _, made_for = await attested(parties, key, wanted(key))
    assert made_for == [SIGNED] * len(pinned) + [UNSIGNED] * (3 - len(pinned))
