"""Keys that are archived and un-archived by the client library, on a whole stack in HSM mode."""

import pytest

from custody.client import AsyncCustody, Custody, KeyArchived, Network
from tests.second_opinion import Wanted, check_signature


def test_an_archived_wallet_signs_nothing_until_it_is_unarchived(custody: Custody):
    wallet = custody.create_wallet(Network.ETHEREUM)
    archival = custody.archive_key(wallet.key_id, external_id=f"archive-{wallet.id}")
    assert custody.get_archival(wallet.key_id, archival.id) == archival
    assert custody.get_wallet(wallet.id).archived_at is not None
    assert wallet.id in {each.id for each in custody.list_wallets(archived=True)}
    assert wallet.id not in {each.id for each in custody.list_wallets(archived=False)}
    with pytest.raises(KeyArchived):
        custody.sign_message(wallet.key_id, "hello")

    unarchival = custody.unarchive_key(wallet.key_id)
    assert custody.get_unarchival(wallet.key_id, unarchival.id) == unarchival
    signature = custody.sign_message(wallet.key_id, "hello")
    check_signature(custody.get_key(wallet.key_id), Wanted("Message", b"hello"), signature)


async def test_the_same_with_the_client_for_event_loops(async_custody: AsyncCustody):
    wallet = await async_custody.create_wallet(Network.SOLANA)
    await async_custody.archive_key(wallet.key_id)
    with pytest.raises(KeyArchived):
        await async_custody.sign_message(wallet.key_id, "hello")
    assert [each.id async for each in async_custody.list_keys(archived=True)]
    await async_custody.unarchive_key(wallet.key_id)
    assert (await async_custody.sign_message(wallet.key_id, "hello")).signature is not None
