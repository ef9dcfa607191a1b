"""A wallet moves to another signer group: other threshold, other signers, the same address."""

import pytest

from custody.client import Custody, InvalidRequest, Key, KeyStatus, Store
from tests.acceptance.mpc.conftest import WALLETS, make_key, members
from tests.second_opinion import Wanted, check_signature

SECONDS = 120


@pytest.mark.parametrize("kind", WALLETS)
def test_a_wallets_key_is_copied_to_a_larger_group_and_both_sign(
    custody: Custody, kind: str
) -> None:
    network, address_type = WALLETS[kind]
    wallet = custody.create_wallet(
        network, Store.MPC, signer_group="2-of-3", address_type=address_type, wait=SECONDS
    )
    name = f"copy-{kind}".replace(" ", "-")
    copy = custody.copy_key(wallet.key_id, "3-of-5", external_id=name, wait=SECONDS)
    assert copy.status is KeyStatus.ACTIVE
    assert (copy.copied_from, copy.threshold, copy.signers) == (wallet.key_id, 3, members(5))
    assert custody.get_key(wallet.key_id).copies == (copy.id,)
    assert custody.get_wallet(wallet.id).address == wallet.address
    for key_id in (copy.id, wallet.key_id):
        sign(custody, custody.get_key(key_id))
    again = custody.copy_key(wallet.key_id, "3-of-5", external_id=name, wait=SECONDS)
    assert again.id == copy.id
    assert [key.id for key in custody.list_keys(external_id=name)] == [copy.id]
    custody.refresh_key(copy.id, wait=SECONDS)
    sign(custody, custody.get_key(copy.id))


def sign(custody: Custody, key: Key) -> None:
    """Sign a message as the network means it; another library verifies the signature."""
    signature = custody.sign_message(key.id, b"after the copy")
    check_signature(key, Wanted("Message", b"after the copy"), signature)


def test_a_child_is_not_copied(custody: Custody) -> None:
    child = custody.derive_key(make_key(custody, "ECDSA").id, "m/0")
    with pytest.raises(InvalidRequest, match="derived"):
        custody.copy_key(child.id, "3-of-5")
