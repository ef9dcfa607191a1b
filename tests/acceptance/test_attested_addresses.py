"""An application that has pinned the owner's nodes finds an address put in the place of its own."""

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from coincurve import PrivateKey

from custody.client import AsyncCustody, Curve, Custody, Network, NotAttested, Scheme, Store, Wallet
from custody.wire.addresses import address_of
from custody.wire.algorithms import MAIN_NETWORKS, network_algorithm
from custody.wire.answers import known
from custody.wire.statements import Attestation
from devstack.stack import Stack
from devstack.verification import verify_message
from tests.commands import run_command
from tests.second_opinion import check_wallet

STRANGER = PrivateKey().public_key.format()


def identity(stack: Stack, number: int) -> dict[str, str]:
    """What a driver's operator reads off his host."""
    shown = run_command(stack.drivers[number].command("identity", "show", "--json"))
    assert shown.returncode == 0, shown.stderr
    found: dict[str, str] = json.loads(shown.stdout)
    return found


@pytest.fixture(scope="module")
def pins(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    lines = [
        f'{driver["node"]} = "{driver["public_key"]}"'
        for driver in (identity(stack, number) for number in range(len(stack.drivers)))
    ]
    path = tmp_path_factory.mktemp("pins") / "pinned-nodes.toml"
    group, names = next(iter(stack.driver_groups.items()))
    members = ", ".join(f'"{name}"' for name in names)
    groups = ["[driver_groups]", f"{group} = [{members}]"]
    path.write_text("\n".join(["[drivers]", *lines, *groups]))
    return path


@pytest.fixture(scope="module")
def pinning(stack: Stack, pins: Path) -> Iterator[Custody]:
    url = stack.control_planes[0].url
    with Custody(url, stack.api_token, stack.ca, pinned_nodes=pins) as custody:
        yield custody


def swap(stack: Stack, wallet: Wallet) -> None:
    """What somebody does who can write to the control plane's database."""
    network = known(wallet.network)
    address = address_of(network, network_algorithm(network), STRANGER)
    with psycopg.connect(stack.databases.control_plane, autocommit=True) as connection:
        connection.execute(
            "UPDATE keys SET public_key = %s WHERE id = %s", [STRANGER, wallet.key_id]
        )
        connection.execute("UPDATE wallets SET address = %s WHERE id = %s", [address, wallet.id])


@pytest.mark.parametrize("network", MAIN_NETWORKS)
def test_a_wallet_is_attested_by_the_driver_that_made_its_key(pinning, network):
    wallet = pinning.create_wallet(network)
    key = pinning.get_key(wallet.key_id)
    check_wallet(wallet, key)
    (signed,) = key.attestations
    attestation = Attestation.model_validate_json(signed.payload)
    assert (attestation.store, attestation.key_id) == (Store.HSM, key.id)
    assert attestation.public_key == key.public_key


def test_a_bare_key_is_attested_too(pinning):
    key = pinning.create_key(Scheme.ECDSA, Curve.SECP256R1, external_id="attested-bare")
    assert pinning.get_key(key.id) == key
    assert list(pinning.list_keys(external_id="attested-bare")) == [key]


def test_a_wallet_that_is_added_to_a_key_follows_from_the_attested_key(stack, custody, pinning):
    wallet = pinning.create_wallet(Network.BITCOIN, external_id="attested-and-added")
    added = pinning.add_wallet(wallet.key_id, Network.BITCOIN_SIGNET, tags=["attested-signet"])
    assert (added.key_id, added.external_id, added.address[:3]) == (wallet.key_id, None, "tb1")
    assert list(pinning.list_wallets(tags=["attested-signet"])) == [added]
    assert pinning.get_wallet(added.id) == added
    signature = pinning.sign_message(added.key_id, "for both networks")
    key = pinning.get_key(added.key_id)
    verify_message("for both networks", signature, key, added.address)
    swap(stack, added)
    assert custody.get_wallet(added.id).address != added.address, "nothing was swapped"
    with pytest.raises(NotAttested):
        pinning.get_wallet(added.id)


def test_an_address_swapped_in_the_database_is_not_handed_out(stack, custody, pinning):
    wallet = pinning.create_wallet(Network.ETHEREUM, external_id="attested-then-swapped")
    swap(stack, wallet)
    assert custody.get_wallet(wallet.id).address != wallet.address, "nothing was swapped"
    for read in (
        lambda: pinning.get_wallet(wallet.id),
        lambda: pinning.get_key(wallet.key_id),
        lambda: pinning.create_wallet(Network.ETHEREUM, external_id="attested-then-swapped"),
        lambda: list(pinning.list_wallets(external_id="attested-then-swapped")),
    ):
        with pytest.raises(NotAttested, match="another public key is attested"):
            read()


async def test_the_async_client_does_not_hand_it_out_either(stack, pins):
    url = stack.control_planes[1].url
    async with AsyncCustody(url, stack.api_token, stack.ca, pinned_nodes=pins) as custody:
        wallet = await custody.create_wallet(Network.BITCOIN, external_id="swapped-too")
        swap(stack, wallet)
        with pytest.raises(NotAttested):
            await custody.get_wallet(wallet.id)
        with pytest.raises(NotAttested):
            _ = [each async for each in custody.list_wallets(external_id="swapped-too")]


async def test_a_swapped_wallet_hides_no_other_from_a_list(stack, pins, pinning):
    older, swapped, newer = (
        pinning.create_wallet(Network.ETHEREUM, tags=["hides-none"]) for _ in range(3)
    )
    swap(stack, swapped)
    with pytest.raises(NotAttested):
        list(pinning.list_wallets(tags=["hides-none"]))
    told: list[NotAttested] = []
    found = list(pinning.list_wallets(tags=["hides-none"], on_not_attested=told.append))
    keys = {key.id for key in pinning.list_keys(on_not_attested=told.append)}
    assert {older.key_id, newer.key_id} <= keys
    assert swapped.key_id not in keys
    url = stack.control_planes[1].url
    async with AsyncCustody(url, stack.api_token, stack.ca, pinned_nodes=pins) as custody:
        wallets = custody.list_wallets(tags=["hides-none"], on_not_attested=told.append)
        assert [each async for each in wallets] == found == [newer, older]
    left_out = [each.item_id for each in told]
    assert (left_out.count(swapped.id), left_out.count(swapped.key_id)) == (2, 1)


def test_a_swapped_attestation_does_not_help(stack, pinning):
    wallet, other = (pinning.create_wallet(Network.ETHEREUM) for _ in range(2))
    with psycopg.connect(stack.databases.control_plane, autocommit=True) as connection:
        connection.execute(
            "UPDATE keys SET (public_key, attestations) ="
            " (SELECT public_key, attestations FROM keys WHERE id = %s) WHERE id = %s",
            [other.key_id, wallet.key_id],
        )
        connection.execute(
            "UPDATE wallets SET address = %s WHERE id = %s", [other.address, wallet.id]
        )
    with pytest.raises(NotAttested, match="another key is attested"):
        pinning.get_wallet(wallet.id)


def test_a_driver_that_is_not_pinned_vouches_for_nothing(stack, tmp_path):
    pins = tmp_path / "pins.toml"
    pins.write_text("[drivers]\n")
    url = stack.control_planes[0].url
    with (
        Custody(url, stack.api_token, stack.ca, pinned_nodes=pins) as custody,
        pytest.raises(NotAttested, match="not pinned"),
    ):
        custody.create_wallet(Network.SOLANA)


def test_pins_come_from_the_environment_too(stack, pins, monkeypatch):
    with stack.client() as plain:
        wallet = plain.create_wallet(Network.ETHEREUM)
    swap(stack, wallet)
    monkeypatch.setenv("CUSTODY_API_URL", stack.control_planes[0].url)
    monkeypatch.setenv("CUSTODY_API_TOKEN", stack.api_token)
    monkeypatch.setenv("CUSTODY_CA", str(stack.ca))
    monkeypatch.setenv("CUSTODY_PINNED_NODES_FILE", str(pins))
    with Custody.from_environment() as custody, pytest.raises(NotAttested):
        custody.get_wallet(wallet.id)
