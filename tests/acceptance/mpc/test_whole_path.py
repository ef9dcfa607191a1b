"""From the API to the signers and back, for each network and scheme of MPC mode."""

import pytest

from custody.client import HashFunction, InvalidRequest, Key, Protection, Store
from devstack.service import start_together, stop_together
from tests.acceptance.mpc.conftest import SCHEMES, WALLETS, members, sign_and_check
from tests.second_opinion import Wanted, check_key, check_signature, check_wallet

MESSAGES = {"text": b"hello", "nothing": b"", "not text": bytes(range(256)), "long": b"m" * 65_536}


@pytest.fixture(scope="module")
def wallets(custody):
    """A 2-of-3 wallet of every kind, with its key."""
    made = {}
    for name, (network, address_type) in WALLETS.items():
        wallet = custody.create_wallet(
            network, Store.MPC, signer_group="2-of-3", address_type=address_type, wait=120
        )
        made[name] = wallet, custody.get_key(wallet.key_id)
    return made


@pytest.mark.parametrize("name", WALLETS)
def test_a_wallet_has_the_address_that_other_libraries_find(custody, wallets, name):
    wallet, key = wallets[name]
    check_wallet(wallet, key)
    assert custody.get_wallet(wallet.id) == wallet
    assert wallet.signer_group == "2-of-3"


@pytest.mark.parametrize("content", MESSAGES.values(), ids=MESSAGES.keys())
@pytest.mark.parametrize("name", WALLETS)
def test_a_wallet_signs_a_message_as_its_network_means_it(custody, wallets, name, content):
    _, key = wallets[name]
    check_signature(key, Wanted("Message", content), custody.sign_message(key.id, content))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_key_says_who_holds_it_and_how_many_it_takes(keys, scheme):
    key = keys[scheme]
    check_key(key)
    assert (key.store, key.protection) == (Store.MPC, Protection.MPC)
    assert (key.signer_group, key.threshold, key.signers) == ("2-of-3", 2, members(3))
    assert len(key.attestations) == 3
    assert (key.chain_code is not None) == (scheme == "ECDSA")


@pytest.mark.parametrize("function", HashFunction)
@pytest.mark.parametrize("scheme", ["ECDSA", "Schnorr"])
def test_a_bare_key_signs_a_messages_hash(custody, keys, scheme, function):
    wanted = Wanted("Message", b"bare", function)
    signature = custody.sign_message(keys[scheme].id, b"bare", hash_function=function)
    check_signature(keys[scheme], wanted, signature)


def test_ed25519_signs_no_hashes(custody, keys):
    with pytest.raises(InvalidRequest) as caught:
        custody.sign_hash(keys["EdDSA"].id, bytes(32))
    assert caught.value.code == "not_signable"


def test_all_keys_sign_after_a_restart_of_all_that_holds_them(stack, custody, keys):
    holders = [stack.signers[name] for name in members(3)]
    stop_together(holders)
    stop_together([*stack.signers.delivery_servers, *stack.control_planes])
    start_together(stack.control_planes)
    start_together([*stack.signers.delivery_servers, *holders])
    for key in keys.values():
        sign_and_check(custody, key, b"after the restart")


def test_a_signature_reads_the_same_from_every_list(custody, keys):
    key: Key = keys["EdDSA"]
    made = custody.sign_message(key.id, "the same everywhere")
    assert custody.get_signature(key.id, made.id) == made
    assert made in list(custody.list_signatures(key.id))
