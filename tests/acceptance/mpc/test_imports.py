"""An application's private key becomes a key of a signer group, through the whole stack."""

import secrets
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from custody.client import NotAttested, Store
from custody.client.importing.private_key import PrivateKey
from custody.wire.algorithms import ECDSA_SECP256K1, EDDSA_ED25519, network_algorithm
from custody.wire.statements import Attestation
from tests.acceptance.conftest import raw_client
from tests.acceptance.mpc.conftest import WALLETS, members, sign_and_check
from tests.acceptance.mpc.test_attested_addresses import client, pinned
from tests.importing import import_bare_key, import_wallet, sealed
from tests.second_opinion import Wanted, check_signature, check_wallet

GROUP = "2-of-3"


@pytest.fixture(scope="module")
def api(stack) -> Iterator[httpx.Client]:
    with raw_client(stack) as api:
        yield api


def new_private_key(name: str) -> PrivateKey:
    """A key of the wallet's curve, as an application has it before the import."""
    is_solana = name == "Solana"
    return PrivateKey(EDDSA_ED25519 if is_solana else ECDSA_SECP256K1, secrets.token_bytes(32))


@pytest.mark.parametrize("name", WALLETS)
def test_an_imported_wallet_signs_and_has_the_address_of_its_private_key(custody, api, name):
    network, address_type = WALLETS[name]
    key = new_private_key(name).for_wallet(network, address_type)
    wanted: dict[str, Any] = {"network": network.value}
    if address_type is not None:
        wanted["address_type"] = address_type.value
    wallet = import_wallet(api, sealed(api, key, GROUP), GROUP, **wanted)
    assert (wallet["status"], wallet["imported"]) == ("Active", True), wallet
    found = custody.get_key(wallet["key_id"])
    assert (found.public_key, found.imported) == (key.public_key, True)
    check_wallet(custody.get_wallet(wallet["id"]), found)
    assert found.scheme == network_algorithm(network, address_type).scheme
    said = [Attestation.model_validate_json(each.payload) for each in found.attestations]
    assert [each.imported for each in said] == [True] * 3
    check_signature(found, Wanted("Message", b"hello"), custody.sign_message(found.id, b"hello"))


def test_an_imported_key_has_children_by_the_applications_chain_code(custody, api):
    key = PrivateKey(ECDSA_SECP256K1, secrets.token_bytes(32), chain_code=bytes(range(32)))
    created = import_bare_key(api, key, sealed(api, key, GROUP), GROUP)
    assert created["status"] == "Active", created
    assert custody.get_key(created["id"]).chain_code == bytes(range(32))
    child = custody.derive_key(created["id"], "m/0/7")
    sign_and_check(custody, child, b"a child's")


def test_a_wrong_sub_share_fails_the_request_and_names_the_signer_that_found_it(api):
    key = new_private_key("Solana")
    imported = sealed(api, key, GROUP)
    assert imported.sealed is not None
    damaged = imported.sealed["signer-2"][:-1] + b"\0"
    lie = imported.model_copy(update={"sealed": imported.sealed | {"signer-2": damaged}})
    created = import_bare_key(api, key, lie, GROUP)
    assert created["status"] == "Failed", created
    assert created["reason"]["code"] == "bad_dealing", created
    assert "signer-2: the application's sub-shares are wrong" in created["reason"]["detail"]


def test_an_import_is_used_by_one_key(api):
    key = new_private_key("Solana")
    imported = sealed(api, key, GROUP)
    assert import_bare_key(api, key, imported, GROUP)["status"] == "Active"
    body = {
        "store": "mpc",
        "signer_group": GROUP,
        "scheme": "EdDSA",
        "curve": "ed25519",
        "imported": imported.model_dump(mode="json", exclude_none=True),
    }
    answer = api.post("/v1/keys", json={**body, "external_id": "again"})
    assert answer.json()["code"] == "import_not_usable", answer.text


@pytest.mark.parametrize("name", ["Ethereum", "Bitcoin Taproot", "Solana"])
def test_the_client_imports_to_the_signers_that_it_pins(stack, name):
    network, address_type = WALLETS[name]
    key = new_private_key(name)
    with client(stack, pinned(stack, members(3))) as careful:
        wallet = careful.import_wallet(
            key, network, Store.MPC, signer_group=GROUP, address_type=address_type
        )
        found = careful.get_key(wallet.key_id)
        check_wallet(wallet, found)
        assert (wallet.imported, found.imported) == (True, True)
        assert found.public_key == key.for_wallet(network, address_type).public_key
        signature = careful.sign_message(found.id, b"pinned")
    check_signature(found, Wanted("Message", b"pinned"), signature)


@pytest.mark.parametrize(("names", "threshold"), [(2, 2), (3, 3)])
def test_the_client_seals_nothing_to_signers_that_it_does_not_pin(stack, api, names, threshold):
    before = api.get("/v1/keys", params={"limit": 1}).json()["items"]
    careful = client(stack, pinned(stack, members(names), threshold))
    with careful, pytest.raises(NotAttested):
        careful.import_key(new_private_key("Solana"), Store.MPC, signer_group=GROUP)
    assert api.get("/v1/keys", params={"limit": 1}).json()["items"] == before
