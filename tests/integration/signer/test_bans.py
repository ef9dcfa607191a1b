"""Bans: what a signer states itself, what it learns from others, and what it does not believe."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.database.pool import Pool
from custody.wire.signed_bytes import BAN_TYPE, SignedBytes, SigningKey
from custody.wire.statements import Ban
from mpc.bans.bans import Bans

ME, OTHER, THIRD = "signer-1", "signer-2", "signer-3"
KEY = uuid4()


@pytest.fixture
def identities(identity: SigningKey) -> dict[str, SigningKey]:
    others = {name: SigningKey(Ed25519PrivateKey.generate()) for name in (OTHER, THIRD)}
    return {ME: identity, **others}


@pytest.fixture
def pinned(identities: dict[str, SigningKey]) -> dict[str, bytes]:
    return {name: signer.public_key for name, signer in identities.items()}


@pytest.fixture
def bans(pool: Pool, identity: SigningKey) -> Bans:
    return Bans(pool, ME, identity)


def stated(by: SigningKey, signer: str, banned: str, key_id: UUID = KEY) -> SignedBytes:
    ban = Ban(
        key_id=key_id, signer=signer, banned=banned, reason="lied", ceremony=None,
        at=datetime.now(UTC),
    )  # fmt: skip
    return by.sign(BAN_TYPE, ban.model_dump_json().encode())


async def test_a_banned_signer_bars_every_quorum_with_it_under_that_key(bans: Bans):
    await bans.ban(KEY, OTHER, "a check failed", uuid4())
    assert await bans.among(KEY, [OTHER, THIRD]) == (OTHER,)
    assert await bans.among(KEY, [THIRD]) == ()
    assert await bans.among(uuid4(), [OTHER, THIRD]) == ()


async def test_a_ban_is_stated_as_it_was_signed(bans: Bans, identity: SigningKey, pinned):
    await bans.ban(KEY, OTHER, "a check failed", None)
    (signed,) = await bans.statements(KEY)
    assert signed.signing_key_id == identity.key_id
    assert await bans.own(10) == [signed]
    assert await bans.statements(uuid4()) == []


async def test_banning_again_keeps_the_first_reason(bans: Bans):
    await bans.ban(KEY, OTHER, "the first", None)
    await bans.ban(KEY, OTHER, "the second", None)
    assert [ban.reason for ban in await bans.all()] == ["the first"]


async def test_a_peers_ban_of_this_signer_bars_that_peer(bans: Bans, identities, pinned):
    await bans.learn(KEY, [stated(identities[OTHER], OTHER, ME)], pinned)
    assert await bans.among(KEY, [OTHER, THIRD]) == (OTHER,)
    assert await bans.own(10) == []


async def test_a_ban_between_two_others_bars_a_quorum_of_both(bans: Bans, identities, pinned):
    await bans.learn(KEY, [stated(identities[OTHER], OTHER, THIRD)], pinned)
    assert await bans.among(KEY, [OTHER, THIRD]) == (THIRD,)
    assert await bans.among(KEY, [OTHER]) == ()


async def test_a_restored_database_learns_its_own_bans_from_a_peer(bans: Bans, pool: Pool, pinned):
    await bans.ban(KEY, OTHER, "a check failed", None)
    passed_on = await bans.statements(KEY)
    await pool.rows("TRUNCATE bans")
    await bans.learn(KEY, passed_on, pinned)
    assert await bans.among(KEY, [OTHER]) == (OTHER,)
    assert await bans.own(10) == passed_on


async def test_nobody_bans_in_anothers_name(bans: Bans, identities, pinned):
    stranger = SigningKey(Ed25519PrivateKey.generate())
    pool = [
        stated(identities[OTHER], THIRD, ME),
        stated(identities[OTHER], ME, THIRD),
        stated(stranger, THIRD, ME),
        stated(identities[OTHER], OTHER, OTHER),
        stated(identities[OTHER], OTHER, THIRD, uuid4()),
        stated(identities[OTHER], OTHER, THIRD).model_copy(update={"signature": bytes(64)}),
        identities[OTHER].sign(BAN_TYPE, b"{}"),
        identities[OTHER].sign("another type", stated(identities[OTHER], OTHER, ME).payload),
    ]
    await bans.learn(KEY, pool, pinned)
    assert await bans.all() == []


async def test_the_newest_of_its_own_bans_come_first(bans: Bans):
    for _ in range(3):
        await bans.ban(uuid4(), OTHER, "a check failed", None)
    newest = [Ban.model_validate_json(each.payload).at for each in await bans.own(2)]
    assert len(newest) == 2
    assert newest == sorted(newest, reverse=True)
