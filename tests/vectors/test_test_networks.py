"""Test networks: the rules of the main network, and Bitcoin's addresses with another prefix."""

import bdkpython as bdk
import pytest
from buidl.ecc import PrivateKey as BuidlPrivateKey
from buidl.script import P2TRScriptPubKey, P2WPKHScriptPubKey
from coincurve import PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from custody.wire.addresses import address_of
from custody.wire.algorithms import (
    ECDSA_SECP256K1,
    EDDSA_ED25519,
    MAIN_NETWORKS,
    NETWORK_ALGORITHMS,
    SCHNORR_SECP256K1,
    AddressType,
    Network,
    network_algorithm,
)
from custody.wire.digests import digest_of
from custody.wire.mistakable import require_signable
from custody.wire.requests import SignMessage, SignTransaction
from custody.wire.signatures import finish
from mpc.recover.forms import Form, encode
from mpc.recover.private_key import PrivateKey as RecoveredKey
from tests.made_up_keys import made_up_key
from tests.vectors.test_solana_transactions import a_transfer

ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
secrets = st.integers(min_value=1, max_value=ORDER - 1)
TEST_NETWORKS = [network for network in Network if network not in MAIN_NETWORKS]
BITCOIN = {
    Network.BITCOIN_TESTNET4: (bdk.Network.TESTNET4, "testnet"),
    Network.BITCOIN_SIGNET: (bdk.Network.SIGNET, "signet"),
}


def compressed(secret: int) -> bytes:
    return PrivateKey.from_int(secret).public_key.format()


def message(text: str) -> SignMessage:
    return SignMessage(kind="Message", message=text)


def test_each_network_has_a_family():
    assert [network.value for network in MAIN_NETWORKS] == ["Ethereum", "Bitcoin", "Solana"]
    assert {network: network.family.value for network in TEST_NETWORKS} == {
        Network.ETHEREUM_SEPOLIA: "Ethereum",
        Network.BITCOIN_TESTNET4: "Bitcoin",
        Network.BITCOIN_SIGNET: "Bitcoin",
        Network.SOLANA_DEVNET: "Solana",
    }


@pytest.mark.parametrize("network", list(BITCOIN))
def test_the_published_address_of_testnet(network: Network):
    # BIP-173, section "Examples"
    point = bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
    expected = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"
    assert address_of(network, ECDSA_SECP256K1, point) == expected


@pytest.mark.parametrize("network", list(BITCOIN))
@given(secret=secrets)
def test_segwit_addresses_are_those_of_bdk_and_buidl(network: Network, secret: int):
    theirs, name = BITCOIN[network]
    point = compressed(secret)
    for algorithm, public_key, script in (
        (ECDSA_SECP256K1, point, P2WPKHScriptPubKey(_hash160(point))),
        (SCHNORR_SECP256K1, point[1:], P2TRScriptPubKey(point[1:])),
    ):
        address = address_of(network, algorithm, public_key)
        assert address == script.address(network=name)
        assert address == str(bdk.Address.from_script(bdk.Script(script.raw_serialize()), theirs))
        assert bdk.Address(address, theirs).is_valid_for_network(theirs)
        with pytest.raises(bdk.AddressParseError):
            bdk.Address(address, bdk.Network.BITCOIN)


def _hash160(point: bytes) -> bytes:
    script = bdk.Descriptor(f"wpkh({point.hex()})", bdk.NetworkKind.MAIN).derive_address(
        0, bdk.Network.BITCOIN
    )
    return bytes(script.script_pubkey().to_bytes())[2:]


@given(secrets)
def test_other_addresses_are_those_of_the_main_network(secret: int):
    for network, algorithm, public_key in (
        (Network.ETHEREUM_SEPOLIA, ECDSA_SECP256K1, compressed(secret)),
        (Network.SOLANA_DEVNET, EDDSA_ED25519, made_up_key(EDDSA_ED25519, secret)),
    ):
        main = address_of(network.family, algorithm, public_key)
        assert address_of(network, algorithm, public_key) == main


@pytest.mark.parametrize("network", TEST_NETWORKS)
def test_messages_and_signatures_are_those_of_the_main_network(network: Network):
    assert NETWORK_ALGORITHMS[network] == NETWORK_ALGORITHMS[network.family]
    for algorithm in NETWORK_ALGORITHMS[network]:
        public_key = made_up_key(algorithm, 7)
        request = message("hello")
        digest = digest_of(request, algorithm, network, public_key)
        assert digest == digest_of(request, algorithm, network.family, public_key)
        if algorithm == ECDSA_SECP256K1 and digest is not None:
            raw = PrivateKey.from_int(7).sign_recoverable(digest, hasher=None)[:64]
            forms = [
                finish(raw, compressed(7), algorithm, each, request, digest)
                for each in (network, network.family)
            ]
            assert forms[0] == forms[1]


def test_a_devnet_wallet_signs_no_transaction_as_a_message():
    signer, transfer = a_transfer()
    as_message = message("0x" + transfer.hex())
    of_devnet = EDDSA_ED25519, Network.SOLANA_DEVNET
    with pytest.raises(ValueError, match="is a Solana transaction"):
        require_signable(as_message, *of_devnet, bytes(signer.pubkey()))
    as_transaction = SignTransaction(kind="Transaction", transaction=transfer)
    require_signable(as_transaction, *of_devnet, bytes(signer.pubkey()))
    with pytest.raises(ValueError, match="not one of its signers"):
        require_signable(as_transaction, *of_devnet, bytes(32))


@pytest.mark.parametrize("network", TEST_NETWORKS)
def test_only_bitcoins_wallets_have_an_address_type(network: Network):
    if network.family is Network.BITCOIN:
        assert network_algorithm(network, AddressType.P2TR) == SCHNORR_SECP256K1
    else:
        with pytest.raises(ValueError, match="only Bitcoin wallets"):
            network_algorithm(network, AddressType.P2WPKH)


@pytest.mark.parametrize("network", list(BITCOIN))
def test_a_recovered_key_has_the_wif_and_descriptor_of_testnet(network: Network):
    theirs, name = BITCOIN[network]
    key = RecoveredKey(ECDSA_SECP256K1, network, compressed(7), None, 7)
    wif = encode(key, Form.WIF, "").decode().strip()
    imported = BuidlPrivateKey.parse(wif)
    assert (imported.secret, imported.network, wif[0]) == (7, "testnet", "c")
    text = encode(key, Form.DESCRIPTOR, "").decode().strip()
    descriptor = bdk.Descriptor(text, bdk.NetworkKind.TEST)
    address = str(descriptor.derive_address(0, theirs))
    assert address == address_of(network, ECDSA_SECP256K1, compressed(7))
    assert address == P2WPKHScriptPubKey(_hash160(compressed(7))).address(network=name)
