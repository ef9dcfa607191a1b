"""What the signers have attested is what an application gets, whatever the control plane says."""

from collections.abc import Iterator

import psycopg
import pytest

from custody.client import Custody, Network, NotAttested, PinnedGroup, PinnedNodes, Store, Wallet
from devstack.stack import Stack
from tests.acceptance.mpc.conftest import members


def client(stack: Stack, pinned: PinnedNodes) -> Custody:
    return Custody(stack.api_url, stack.api_token, stack.ca, pinned_nodes=pinned)


def pinned(stack: Stack, names: list[str], threshold: int = 2) -> PinnedNodes:
    identities = {name: stack.signers[name].identity_public_key for name in names}
    return PinnedNodes({}, identities, {}, {"2-of-3": PinnedGroup(threshold, names)})


@pytest.fixture(scope="module")
def wallet(custody: Custody) -> Wallet:
    return custody.create_wallet(Network.SOLANA, Store.MPC, signer_group="2-of-3", wait=120)


@pytest.fixture
def swapped(stack, wallet) -> Iterator[None]:
    """The control plane's database names another's public key and address."""
    with psycopg.connect(stack.databases.control_plane, autocommit=True) as connection:
        other = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
        before = connection.execute(
            "SELECT public_key FROM keys WHERE id = %s", (wallet.key_id,)
        ).fetchone()
        assert before is not None
        address = "FVen3X669xLzsi6N2V91DoiyzHzg1uAgqiT8jZ9nS96Z"
        put = "UPDATE keys SET public_key = %s WHERE id = %s"
        name = "UPDATE wallets SET address = %s WHERE id = %s"
        connection.execute(put, (other, wallet.key_id))
        connection.execute(name, (address, wallet.id))
        yield
        connection.execute(put, (before[0], wallet.key_id))
        connection.execute(name, (wallet.address, wallet.id))


def test_who_pins_all_signers_gets_the_wallet(stack, wallet):
    with client(stack, pinned(stack, members(3))) as custody:
        assert custody.get_wallet(wallet.id) == wallet
        assert custody.get_key(wallet.key_id).id == wallet.key_id


def test_who_pins_one_signer_less_does_not(stack, wallet):
    with client(stack, pinned(stack, members(2))) as custody, pytest.raises(NotAttested):
        custody.get_wallet(wallet.id)


def test_who_pins_the_group_with_another_threshold_does_not(stack, wallet):
    careful = client(stack, pinned(stack, members(3), threshold=3))
    with careful, pytest.raises(NotAttested):
        careful.get_wallet(wallet.id)


def test_an_address_that_the_control_plane_put_in_is_refused(stack, wallet, custody, swapped):
    assert custody.get_wallet(wallet.id).address != wallet.address
    with client(stack, pinned(stack, members(3))) as careful:
        with pytest.raises(NotAttested):
            careful.get_wallet(wallet.id)
        with pytest.raises(NotAttested):
            careful.get_key(wallet.key_id)
