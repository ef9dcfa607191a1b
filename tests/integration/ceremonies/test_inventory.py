"""What signers sign for an inventory: no client may believe it before the key is in use."""

from collections.abc import Sequence

import pytest

from custody.wire.algorithms import EDDSA_ED25519, Store
from custody.wire.attestations import (
    ClaimedKey,
    PinnedGroup,
    PinnedNodes,
    Unattested,
    check_attestations,
)
from custody.wire.inventory import HeldKey, Holding
from custody.wire.signed_bytes import SignedBytes
from mpc.held_keys import SignerKeys
from mpc.shares.erasure import erase
from tests.integration.ceremonies import orders
from tests.integration.ceremonies.conftest import Start
from tests.integration.ceremonies.orders import Key
from tests.integration.ceremonies.parties import NAMES, Parties


async def inventories(parties: Parties) -> list[HeldKey]:
    """Ask every signer, as anybody may who answers its heartbeats."""
    held: list[HeldKey] = []
    for name, party in parties.by_name.items():
        keys = SignerKeys(party.pool, name, parties.organisation.members[name].identity)
        async for page in keys.pages(100):
            held += page
    return held


def signed(held: Sequence[HeldKey]) -> list[SignedBytes]:
    return [each.attestation for each in held if each.attestation is not None]


def check(parties: Parties, key: Key, attestations: Sequence[SignedBytes]) -> None:
    """Check the key as a client does that pins its signers. Raise Unattested."""
    assert key.public_key is not None
    identities = {
        name: parties.organisation.members[name].identity.public_key for name in key.signers
    }
    group = PinnedGroup(key.threshold, key.signers)
    pinned = PinnedNodes({}, identities, {}, {orders.SIGNER_GROUP: group})
    claimed = ClaimedKey(key.id, None, (), Store.MPC, key.algorithm, key.public_key)
    check_attestations(attestations, claimed, pinned)


async def test_an_inventory_attests_no_key_before_its_activation(start: Start):
    """A control plane that lies would show the address, and have the shares erased afterwards."""
    parties = await start()
    key = Key(EDDSA_ED25519, 2, NAMES[:3])
    order = orders.generate(key)
    confirmed = await parties.prepare(order)
    new = parties.confirmed_key(key, order, confirmed)
    after_confirming = await inventories(parties)
    promises = await parties.promise(new, confirmed)
    after_promising = await inventories(parties)
    for held in (after_confirming, after_promising):
        assert [each.holding for each in held] == [Holding.WAITING] * 3
        assert {each.key_id for each in held} == {key.id}
        assert signed(held) == []
        with pytest.raises(Unattested):
            check(parties, new, signed(held))
    await parties.hold(orders.activate(new, promises), new.signers)
    check(parties, new, signed(await inventories(parties)))


async def test_an_erased_share_is_stated_without_proof(start: Start):
    """So a restored control plane does not call it missing."""
    parties = await start()
    key = await parties.make_key(Key(EDDSA_ED25519, 2, NAMES[:3]))
    await parties.hold(orders.archive(key.reference()), key.signers)
    one = key.signers[0]
    await erase(parties[one].pool, one, key.id, operator="ada", reason="moved to zurich")
    held = await inventories(parties)
    assert [each.key_id for each in held] == [key.id] * 3
    erased = [each for each in held if each.holding is Holding.ERASED]
    assert [each.attestation for each in erased] == [None]
    assert len(signed(held)) == 2


async def test_a_pending_set_and_a_repaired_share_are_stated_without_proof(start: Start):
    parties = await start()
    key = await parties.make_key(Key(EDDSA_ED25519, 2, NAMES[:3]))
    await parties.prepare(orders.refresh(key))
    repaired = "UPDATE shares SET state = 'repaired' WHERE state = 'active'"
    await parties[key.signers[0]].rows(repaired)
    held = await inventories(parties)
    by_holding = {
        holding: [each.attestation for each in held if each.holding is holding]
        for holding in Holding
    }
    assert by_holding[Holding.WAITING] == [None] * 3
    assert by_holding[Holding.REPAIRED] == [None]
    assert len(by_holding[Holding.IN_USE]) == len(signed(held)) == 2
    with pytest.raises(Unattested):
        check(parties, key, signed(held))
