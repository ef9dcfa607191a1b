"""Bitcoin's Wallet Import Format, against vectors of the Bitcoin wiki and Bitcoin Core."""

import pytest
from embit import base58
from embit.ec import PrivateKey as EmbitPrivateKey
from embit.networks import NETWORKS
from hypothesis import given
from hypothesis import strategies as st

from custody.client.importing.faults import BadPrivateKey, KeyFault
from custody.client.importing.formats import KeyFormat, read_private_key
from custody.wire.algorithms import ECDSA_SECP256K1, AddressType, Curve, Network
from custody.wire.points import GROUP_ORDER
from tests.unit.client.importing.refusals import refused
from tests.unit.client.importing.second_opinion import check_signs

ORDER = GROUP_ORDER[Curve.SECP256K1]
# Bitcoin wiki, "Wallet import format"
WIKI_SECRET = "0c28fca386c7a227600b2fe50b7cae11ec86d3bf1fbe471be89827e19d72aa1d"
WIKI_UNCOMPRESSED = "5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyTJ"
WIKI_COMPRESSED = "KwdMAjGmerYanjeui5SHS7JkmpZvVipYvB2LJGU1ZxJwYvP98617"
# Bitcoin Core, src/test/data/key_io_valid.json
MAIN = [
    (WIKI_COMPRESSED, WIKI_SECRET),
    (
        "L5nJeqKmpHp4P7F8ZYyjwc5a7P4d8EabuGAzfGJk7yC1BJyzNaEd",
        "ff778740f88ddcf102aeb81daee289c044c4a4571c4b6f287400f4b8e0b843f8",
    ),
    (
        "KwuVvu6hsuEMHrfFWJQV64tRrWX3QzqHH18JuAHYqYV6dqBvNKxd",
        "147804bf8a0dfff35939a611c7f5a60ac107f33f33d6059f273d2079ab1d90f2",
    ),
]
TEST = [  # testnet4, signet, regtest
    (
        "cV83kKisF3RQSvXbUCm9ox3kaz5JjEUBWcx8tNydfGJcyeUxuH47",
        "e0fcd4ce4e3d0e3de091f21415bb7cd011fac288c42020a879f28c2a4387df9b",
    ),
    (
        "cND53Dhp8eCZqG2ghe8YhSCGesXZ8fE5PGD1khrqNvEi4RBoXhEK",
        "12b5a10f3a11e708dc5412833c47ab7c368a21b9efe19293793ec879ce683018",
    ),
    (
        "cPisAUdLvqqAr6MYtXnrWvgvyUAwuNyuTvZkDGw6miPhZdaiSDNH",
        "3fdfec1371cedcdb8c190ca6ff8ad603f817edc0d93c2a687c7b36dd66e70f2a",
    ),
]
UNCOMPRESSED = [
    WIKI_UNCOMPRESSED,
    "5JuW2AMDYu4xVwRG9DZW18VbzQrGcd5RCgb99sS6ehJsNQXu5b9",
    "92ZdE5HoLafywnTBbzPxbvRmp75pSfzvdU3XaZGh1cToipgdHVh",
    "91mn1wYKEB1zyof1VFm8tMtocZx1oBrKKRCu9GCpgZvPmBLEJjp",
]
# The same key with the suffixes of BIP-178 for P2PKH (0x10), P2WPKH (0x11) and P2WPKH in P2SH
# (0x12), made by embit's encoder: the BIP has no vectors.
BIP_178 = [
    base58.encode_check(b"\x80" + bytes.fromhex(WIKI_SECRET) + bytes([suffix]))
    for suffix in (0x10, 0x11, 0x12)
]


@pytest.mark.parametrize(("text", "secret"), MAIN)
def test_the_published_keys_of_mainnet_are_read(text, secret):
    key = read_private_key(text, KeyFormat.WIF)
    assert (key.algorithm, key.secret.hex()) == (ECDSA_SECP256K1, secret)
    assert key.networks == frozenset({Network.BITCOIN})
    assert key.for_wallet(Network.BITCOIN) is key
    for network in (Network.BITCOIN_SIGNET, Network.ETHEREUM):
        with pytest.raises(BadPrivateKey, match="of Bitcoin, not of"):
            key.for_wallet(network)
    check_signs(key)


@pytest.mark.parametrize(("text", "secret"), TEST)
def test_the_published_keys_of_test_networks_are_not_for_mainnet(text, secret):
    key = read_private_key(text.encode(), KeyFormat.WIF)
    assert key.secret.hex() == secret
    assert key.networks == frozenset({Network.BITCOIN_TESTNET4, Network.BITCOIN_SIGNET})
    assert key.for_wallet(Network.BITCOIN_SIGNET) is key
    taproot = key.for_wallet(Network.BITCOIN_TESTNET4, AddressType.P2TR)
    assert taproot == key.taproot_output()
    with pytest.raises(BadPrivateKey, match="of BitcoinSignet or BitcoinTestnet4") as caught:
        key.for_wallet(Network.BITCOIN)
    assert caught.value.code is KeyFault.WRONG_NETWORK
    check_signs(key)


@given(st.integers(1, ORDER - 1))
def test_what_another_library_writes_is_read(scalar):
    embit = EmbitPrivateKey(scalar.to_bytes(32), network=NETWORKS["main"])
    assert read_private_key(embit.wif() + "\n", KeyFormat.WIF).scalar == scalar


@pytest.mark.parametrize("text", UNCOMPRESSED)
def test_a_key_of_an_uncompressed_public_key_is_refused(text):
    """Its coins are at another address than the wallet would have."""
    refused(text, KeyFormat.WIF, KeyFault.UNSUPPORTED, "uncompressed public key")


@pytest.mark.parametrize("text", BIP_178)
def test_the_suffixes_of_bip_178_are_refused(text):
    refused(text, KeyFormat.WIF, KeyFault.UNSUPPORTED, "BIP-178")


@given(st.integers(0, len(WIKI_COMPRESSED) - 1), st.sampled_from(base58.B58_DIGITS))
def test_a_changed_character_is_noticed(place, character):
    changed = WIKI_COMPRESSED[:place] + character + WIKI_COMPRESSED[place + 1 :]
    if changed != WIKI_COMPRESSED:
        refused(changed, KeyFormat.WIF, KeyFault.BAD_CHECKSUM)


@pytest.mark.parametrize(
    "text", [WIKI_COMPRESSED[:-1], WIKI_COMPRESSED + "1", "1" + WIKI_COMPRESSED]
)
def test_a_character_more_or_less_is_noticed(text):
    refused(text, KeyFormat.WIF, KeyFault.BAD_CHECKSUM)


@pytest.mark.parametrize("text", ["1", "1111", "3QJmnh"])
def test_short_texts_are_refused(text):
    """3QJmnh is Base58Check of nothing."""
    refused(text, KeyFormat.WIF, KeyFault.BAD_CHECKSUM)


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"\x80" + bytes(32) + b"\1", KeyFault.OUT_OF_RANGE),
        (b"\x80" + ORDER.to_bytes(32) + b"\1", KeyFault.OUT_OF_RANGE),
        (b"\x80" + b"\1" * 31, KeyFault.WRONG_SIZE),
        (b"\x80" + b"\1" * 34, KeyFault.WRONG_SIZE),
        (b"\x80", KeyFault.WRONG_SIZE),
        (b"\xb0" + b"\1" * 33, KeyFault.UNSUPPORTED),  # Litecoin
        (b"\x00" + b"\1" * 20, KeyFault.UNSUPPORTED),  # an address
        (b"\x81" + b"\1" * 33, KeyFault.UNSUPPORTED),  # Electrum before 3.0
    ],
)
def test_other_contents_are_refused(payload, code):
    refused(base58.encode_check(payload), KeyFormat.WIF, code)


@pytest.mark.parametrize(
    "text", [WIKI_COMPRESSED[:-1] + "0", WIKI_COMPRESSED[:-1] + "l", "", "a b"]
)
def test_texts_that_are_not_base58_are_refused(text):
    refused(text, KeyFormat.WIF, KeyFault.BAD_FORMAT)


def test_a_long_text_is_not_decoded():
    refused("1" * 60_000, KeyFormat.WIF, KeyFault.BAD_FORMAT, "60000")


def test_a_wif_is_not_of_another_curve():
    refused(WIKI_COMPRESSED, KeyFormat.WIF, KeyFault.UNSUPPORTED, curve=Curve.ED25519)
