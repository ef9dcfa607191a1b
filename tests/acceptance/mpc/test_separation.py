"""No signer has what another has, and none has the key."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from custody.client import Key
from custody.node.connections import open_database
from custody.node.errors import Failed
from custody.runtime.configuration import read_settings
from devstack.signer import Signer
from mpc._native import Share
from mpc.settings import SignerSettings
from mpc.shares.encryption_keys import open_encryption_keys
from mpc.shares.shares import Shares
from tests.acceptance.mpc.conftest import SCHEMES


@asynccontextmanager
async def shares_of(signer: Signer, keys_of: Signer | None = None) -> AsyncIterator[Shares]:
    """A signer's shares, read with its encryption key, or another's."""
    settings = read_settings(signer.config, SignerSettings)
    others = read_settings((keys_of or signer).config, SignerSettings)
    async with (
        open_database(settings) as database,
        open_database(others) as database_of_keys,
        open_encryption_keys(others, database_of_keys) as keys,
    ):
        yield Shares(database, keys)


async def share_of(signer: Signer, key: Key) -> Share:
    async with shares_of(signer) as shares:
        stored = await shares.active(key.id)
        assert stored is not None
        return await shares.open(stored)


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_each_signer_has_one_share_of_its_own_and_none_has_the_key(stack, keys, scheme):
    key = keys[scheme]
    shares = [await share_of(stack.signers[name], key) for name in key.signers]
    assert [share.index for share in shares] == [1, 2, 3]
    assert {share.public_key for share in shares} == {key.public_key}
    public = [share.verifying_shares[share.index] for share in shares]  # of each one's secret alone
    assert len(set(public)) == len(shares)
    assert all(each[-32:] != key.public_key[-32:] for each in public)


async def test_a_signer_outside_of_the_group_has_nothing(stack, keys):
    async with shares_of(stack.signers["signer-4"]) as shares:
        for key in keys.values():
            assert await shares.active(key.id) is None


async def test_a_database_opens_under_its_own_signers_encryption_key_alone(stack, keys):
    one, other = stack.signers["signer-1"], stack.signers["signer-2"]
    async with shares_of(one, keys_of=other) as shares:
        stored = await shares.active(keys["EdDSA"].id)
        assert stored is not None
        with pytest.raises(Failed, match="which is not here"):
            await shares.open(stored)


def test_each_signer_has_an_identity_of_its_own(stack):
    identities = {signer.identity_public_key for signer in stack.signers.all}
    assert len(identities) == len(stack.signers.all)
