"""The attestations of a real copy, as a client with pinned nodes checks them."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from custody.client import Key, NotAttested, PinnedGroup, PinnedNodes
from custody.client.pinned_nodes import AttestedKeys
from custody.wire.algorithms import ECDSA_SECP256K1
from custody.wire.resources import KeyStatus
from custody.wire.statements import Attestation
from tests.integration.ceremonies import orders
from tests.integration.ceremonies.copying import copied
from tests.integration.ceremonies.parties import NAMES, Parties
from tests.integration.ceremonies.test_inventory import inventories, signed

ONE, TWO, THREE = NAMES[:3]


async def shown(parties: Parties, key_id: UUID) -> Key:
    """Return the key as an honest control plane shows it."""
    attestations = signed([each for each in await inventories(parties) if each.key_id == key_id])
    said = Attestation.model_validate_json(attestations[0].payload)
    assert said.made_for is not None
    facts = said.model_dump(
        include={
            "store", "scheme", "curve", "network", "public_key", "protection", "threshold",
            "signers", "chain_code", "imported",
        }
    )  # fmt: skip
    return Key(
        id=said.key_id, status=KeyStatus.ACTIVE, signer_group=said.group, generation=0, root=None,
        path=None, attestations=tuple(attestations), external_id=said.made_for.external_id,
        name=None, tags=[], reason=None, created_at=datetime.now(UTC),
        copied_from=said.made_for.copied_from, **facts,
    )  # fmt: skip


async def test_a_copy_is_the_key_that_its_old_signers_attest(with_key):
    parties, key = await with_key(ECDSA_SECP256K1)
    other = await parties.make_key(orders.Key(ECDSA_SECP256K1, 2, key.signers))
    new = await copied(parties, key, orders.copy_of(key, 2, (THREE, ONE, TWO)))
    copy, origin, another = [await shown(parties, each.id) for each in (new, key, other)]
    members = parties.organisation.members
    identities = {name: members[name].identity.public_key for name in key.signers}
    group = PinnedGroup(2, key.signers)
    client = AttestedKeys(PinnedNodes({}, identities, {}, {orders.SIGNER_GROUP: group}))

    check = client.check(copy)
    assert next(check).path == f"/v1/keys/{key.id}"
    with pytest.raises(StopIteration):
        check.send(origin)

    check = client.check(copy)
    next(check)
    with pytest.raises(NotAttested):
        check.send(another.model_copy(update={"id": key.id}))
