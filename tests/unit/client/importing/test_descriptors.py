"""Bitcoin's descriptors of one private key, against embit and BDK."""

import bdkpython as bdk
import pytest
from embit.descriptor import Descriptor
from embit.descriptor.checksum import add_checksum
from embit.ec import PrivateKey as EmbitPrivateKey
from embit.networks import NETWORKS
from hypothesis import example, given, settings
from hypothesis import strategies as st

from custody.client.importing.faults import BadPrivateKey, KeyFault
from custody.client.importing.formats import KeyFormat, read_private_key
from custody.wire.addresses import address_of
from custody.wire.algorithms import (
    ECDSA_SECP256K1,
    SCHNORR_SECP256K1,
    AddressType,
    Curve,
    Network,
)
from custody.wire.points import GROUP_ORDER
from tests.unit.client.importing.refusals import refused
from tests.unit.client.importing.second_opinion import check_signs

ORDER = GROUP_ORDER[Curve.SECP256K1]
FORM = KeyFormat.DESCRIPTOR
scalars = st.integers(1, ORDER - 1)


def wif(scalar: int, network: str = "main") -> str:
    return str(EmbitPrivateKey(scalar.to_bytes(32)).wif(NETWORKS[network]))


def described(function: str, scalar: int = 7, network: str = "main") -> str:
    return str(add_checksum(f"{function}({wif(scalar, network)})"))


@settings(max_examples=30)
@given(scalars)
@example(1)
@example(ORDER - 1)
def test_wpkh_gives_the_address_that_another_library_computes(scalar):
    text = described("wpkh", scalar)
    key = read_private_key(f" {text}\n", FORM).for_wallet(Network.BITCOIN, AddressType.P2WPKH)
    assert (key.algorithm, key.scalar) == (ECDSA_SECP256K1, scalar)
    address = address_of(Network.BITCOIN, ECDSA_SECP256K1, key.public_key)
    descriptor = bdk.Descriptor(text, bdk.NetworkKind.MAIN)
    assert address == str(descriptor.derive_address(0, bdk.Network.BITCOIN))


@settings(max_examples=30)
@given(scalars)
@example(1)
@example(ORDER - 1)
def test_rawtr_gives_an_output_key_that_is_not_tweaked(scalar):
    key = read_private_key(described("rawtr", scalar), FORM)
    output = key.for_wallet(Network.BITCOIN, AddressType.P2TR)
    assert output is key
    assert (key.algorithm, key.scalar in (scalar, ORDER - scalar)) == (SCHNORR_SECP256K1, True)
    assert key.public_key == EmbitPrivateKey(scalar.to_bytes(32)).xonly()
    check_signs(key)


def test_an_output_key_is_of_no_other_wallet():
    key = read_private_key(described("rawtr"), FORM)
    with pytest.raises(BadPrivateKey, match="unsupported"):
        key.for_wallet(Network.BITCOIN, AddressType.P2WPKH)


@pytest.mark.parametrize("function", ["wpkh", "rawtr"])
def test_the_wif_says_of_which_networks_the_key_is(function):
    key = read_private_key(described(function, network="test"), FORM)
    assert key.networks == frozenset({Network.BITCOIN_TESTNET4, Network.BITCOIN_SIGNET})
    with pytest.raises(BadPrivateKey, match="wrong_network"):
        key.for_wallet(Network.BITCOIN, AddressType.P2TR)


def test_the_checksum_of_bip_380_is_needed_and_checked():
    text = described("wpkh")
    assert Descriptor.from_string(text).wpkh
    for place in (*range(text.index("#") + 1, len(text)), 1):
        changed = text[:place] + ("q" if text[place] != "q" else "p") + text[place + 1 :]
        refused(changed, FORM, KeyFault.BAD_CHECKSUM)
    refused(text.partition("#")[0], FORM, KeyFault.BAD_FORMAT, "checksum")


@pytest.mark.parametrize("function", ["tr", "pkh", "wsh", "combo"])
def test_another_function_is_refused(function):
    """The key of tr would have to be tweaked, and those of the others have other addresses."""
    refused(described(function), FORM, KeyFault.UNSUPPORTED, "wpkh or rawtr")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "wpkh",
        "wpkh()",
        "WPKH(K)",
        "sh(wpkh(K))",
        "wpkh([deadbeef/0h]K)",
        "wpkh(K/0)",
        "wpkh(K),wpkh(K)",
    ],
)
def test_other_forms_are_refused(content):
    text = str(add_checksum(content.replace("K", wif(7))))
    refused(text, FORM, KeyFault.BAD_FORMAT, "one private key as WIF")


def test_what_is_in_it_must_be_a_wif():
    public_key = EmbitPrivateKey((7).to_bytes(32)).get_public_key().sec().hex()
    refused(str(add_checksum(f"wpkh({public_key})")), FORM, KeyFault.BAD_FORMAT, "base58")
