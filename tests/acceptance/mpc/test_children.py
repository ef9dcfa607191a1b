"""Child keys: derived without a ceremony, found by another library too, and signed for."""

import pytest
from buidl.ecc import S256Point
from buidl.hd import HDPublicKey

from custody.client import AddressType, InvalidRequest, Key, Network, Store
from tests.acceptance.mpc.conftest import sign_and_check
from tests.second_opinion import Wanted, check_key, check_signature, check_wallet

PATH = "m/0/5"


def found_elsewhere(root: Key, path: str) -> bytes:
    """A child's public key as buidl derives it."""
    point = S256Point.parse(root.public_key)
    chain_code = root.chain_code
    public = HDPublicKey(point, chain_code, depth=0, parent_fingerprint=bytes(4), child_number=0)
    return bytes(public.traverse(path).sec())


def test_a_child_is_active_at_once_and_what_bip_32_says(custody, keys):
    root = keys["ECDSA"]
    child = custody.derive_key(root.id, PATH)
    check_key(child)
    assert (child.root, child.path, child.signer_group) == (root.id, PATH, root.signer_group)
    assert child.public_key == found_elsewhere(root, PATH)
    sign_and_check(custody, child, b"by a child")


def test_a_child_of_a_child_is_the_roots_grandchild(custody, keys):
    root = keys["ECDSA"]
    child = custody.derive_key(root.id, "m/7")
    grandchild = custody.derive_key(child.id, "m/2147483647/1")
    assert (grandchild.root, grandchild.path) == (root.id, "m/7/2147483647/1")
    assert grandchild.public_key == found_elsewhere(root, "m/7/2147483647/1")
    sign_and_check(custody, grandchild, b"by a grandchild")


@pytest.mark.parametrize(
    ("network", "address_type"),
    [(Network.ETHEREUM, None), (Network.BITCOIN, AddressType.P2WPKH)],
)
def test_a_wallet_from_a_master_key_signs(custody, keys, network, address_type):
    root = keys["ECDSA"]
    wallet = custody.create_wallet(
        network, Store.MPC, master_key=root.id, path="m/44/1", address_type=address_type
    )
    key = custody.get_key(wallet.key_id)
    check_wallet(wallet, key)
    assert key.public_key == found_elsewhere(root, "m/44/1")
    message = b"from a master key"
    check_signature(key, Wanted("Message", message), custody.sign_message(key.id, message))


@pytest.mark.parametrize("scheme", ["EdDSA", "Schnorr"])
def test_a_key_of_another_scheme_has_no_children(custody, keys, scheme):
    with pytest.raises(InvalidRequest):
        custody.derive_key(keys[scheme].id, PATH)


@pytest.mark.parametrize("path", ["m", "m/0'", "m/2147483648", "0/5", "m/x", "m//1", "m/0h"])
def test_a_path_that_is_hardened_or_none_is_refused(custody, keys, path):
    with pytest.raises((InvalidRequest, ValueError)):
        custody.derive_key(keys["ECDSA"].id, path)
