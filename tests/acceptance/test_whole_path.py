"""From the API to the HSM and back, for each network, scheme and kind of request."""

import httpx
import pytest

from custody.client import (
    Custody,
    HashFunction,
    InvalidRequest,
    Key,
    Network,
    Protection,
    Signature,
)
from devstack.verification import verify_message
from tests.acceptance.conftest import BARE_KEYS, KEYS
from tests.second_opinion import Wanted, check_key, check_signature, check_wallet

HASH = bytes(range(1, 33))
MESSAGES = {
    "text": b"hello",
    "nothing": b"",
    "not text": bytes(range(256)),
    "more than a byte's size": b"a" * 300,
    "as long as can be": b"m" * 65_536,
}
ECDSA = [name for name in KEYS if name not in ("Solana", "EdDSA ed25519")]
EDDSA = ["Solana", "EdDSA ed25519"]


def wanted_messages(name: str, content: bytes) -> list[Wanted]:
    """Every way in which this key signs a message."""
    if name in BARE_KEYS and name in ECDSA:
        return [Wanted("Message", content, function) for function in HashFunction]
    return [Wanted("Message", content)]


def sign(custody: Custody, key: Key, wanted: Wanted) -> Signature:
    if wanted.kind == "Hash":
        return custody.sign_hash(key.id, wanted.content)
    return custody.sign_message(key.id, wanted.content, hash_function=wanted.hash_function)


@pytest.mark.parametrize("network", list(Network))
def test_a_wallet_has_the_address_that_other_libraries_find(custody, network):
    wallet = custody.create_wallet(network)
    key = custody.get_key(wallet.key_id)
    check_wallet(wallet, key)
    assert custody.get_wallet(wallet.id) == wallet
    signature = custody.sign_message(key.id, "on each network")
    verify_message("on each network", signature, key, wallet.address)


@pytest.mark.parametrize("name", KEYS)
def test_a_key_is_a_point_of_its_curve_and_says_how_it_is_protected(keys, name):
    check_key(keys[name])


def test_host_signing_is_shown_as_such(keys):
    assert {name: key.protection for name, key in keys.items()} == {
        name: Protection.HOST if name in EDDSA else Protection.HSM for name in KEYS
    }


@pytest.mark.parametrize("content", MESSAGES.values(), ids=MESSAGES.keys())
@pytest.mark.parametrize("name", KEYS)
def test_a_message_is_signed_as_the_network_means_it(custody, keys, name, content):
    for wanted in wanted_messages(name, content):
        check_signature(keys[name], wanted, sign(custody, keys[name], wanted))


@pytest.mark.parametrize("name", ECDSA)
def test_a_hash_is_signed_as_it_is(custody, keys, name):
    wanted = Wanted("Hash", HASH)
    check_signature(keys[name], wanted, sign(custody, keys[name], wanted))


@pytest.mark.parametrize("name", EDDSA)
def test_ed25519_signs_no_hashes(custody, keys, name):
    with pytest.raises(InvalidRequest) as caught:
        custody.sign_hash(keys[name].id, HASH)
    assert (caught.value.problem.status, caught.value.code) == (422, "not_signable")
    assert list(custody.list_signatures(keys[name].id)) == [
        signature
        for signature in custody.list_signatures(keys[name].id)
        if signature.kind == "Message"
    ]


@pytest.mark.parametrize(
    ("name", "hash_function"),
    [
        ("Ethereum", HashFunction.SHA_256),
        ("Bitcoin", HashFunction.SHA_256),
        ("Solana", HashFunction.SHA_256),
        ("EdDSA ed25519", HashFunction.SHA_256),
        ("ECDSA secp256k1", None),
        ("ECDSA secp256r1", None),
    ],
)
def test_a_hash_function_is_for_bare_ecdsa_keys_and_needed_there(
    custody, keys, name, hash_function
):
    with pytest.raises(InvalidRequest) as caught:
        custody.sign_message(keys[name].id, "hi", hash_function=hash_function)
    assert (caught.value.problem.status, caught.value.code) == (422, "not_signable")
    assert "hash_function" in caught.value.problem.detail


@pytest.mark.parametrize(
    ("message", "content"),
    [
        ("0x6869", b"hi"),
        ("0x", b""),
        ("0X6869", b"0X6869"),
        ("grüezi 💰", "grüezi 💰".encode()),
        ("\u0000\n", b"\x00\n"),
    ],
)
def test_a_message_is_bytes_when_it_starts_with_0x_and_else_utf_8(api, keys, message, content):
    for name in ("Ethereum", "Bitcoin", "Solana"):
        key = keys[name]
        answer = api.post(
            f"/v1/keys/{key.id}/signatures?wait=30",
            json={"kind": "Message", "message": message},
        )
        assert answer.status_code == httpx.codes.CREATED, answer.text
        signature = Signature.model_validate_json(answer.content)
        assert signature.message == message
        check_signature(key, Wanted("Message", content), signature)


def test_a_signature_reads_the_same_from_every_replica_and_every_list(stack, custody, keys):
    key = keys["Ethereum"]
    made = custody.sign_message(key.id, "the same everywhere")
    with stack.client(replica=1) as other:
        assert other.get_signature(key.id, made.id) == made
        assert made in list(other.list_signatures(key.id))
    assert made in list(custody.list_signatures(key.id))


def test_each_signature_of_the_same_message_is_verified_and_has_its_own_id(custody, keys):
    wanted = Wanted("Message", b"again")
    made = [sign(custody, keys["Bitcoin"], wanted) for _ in range(3)]
    assert len({signature.id for signature in made}) == 3
    for signature in made:
        check_signature(keys["Bitcoin"], wanted, signature)
