"""Children of public keys, against BIP-32's vectors, another library, and their private keys."""

import hashlib
import hmac

import bdkpython as bdk
import pytest
from coincurve import PrivateKey, PublicKey
from embit import base58
from hypothesis import given, settings
from hypothesis import strategies as st

from custody.wire.derivation import child_chain_code, child_public_key, format_path, parse_path
from custody.wire.jobs import MAX_DEPTH

ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
steps = st.integers(min_value=0, max_value=2**31 - 1)
paths = st.lists(steps, min_size=1, max_size=4)
secrets = st.integers(min_value=1, max_value=ORDER - 1)
chain_codes = st.binary(min_size=32, max_size=32)

# BIP-32, section "Test Vectors": each unhardened step of theirs, parent and child
VECTORS = [
    (  # vector 1, m/0H to m/0H/1
        "xpub68Gmy5EdvgibQVfPdqkBBCHxA5htiqg55crXYuXoQRKfDBFA1WEjWgP6LHhwBZeNK1VTsfTFUHCdrfp1bgwQ9xv5ski8PX9rL2dZXvgGDnw",
        "m/1",
        "xpub6ASuArnXKPbfEwhqN6e3mwBcDTgzisQN1wXN9BJcM47sSikHjJf3UFHKkNAWbWMiGj7Wf5uMash7SyYq527Hqck2AxYysAA7xmALppuCkwQ",
    ),
    (  # vector 1, m/0H/1/2H to m/0H/1/2H/2
        "xpub6D4BDPcP2GT577Vvch3R8wDkScZWzQzMMUm3PWbmWvVJrZwQY4VUNgqFJPMM3No2dFDFGTsxxpG5uJh7n7epu4trkrX7x7DogT5Uv6fcLW5",
        "m/2",
        "xpub6FHa3pjLCk84BayeJxFW2SP4XRrFd1JYnxeLeU8EqN3vDfZmbqBqaGJAyiLjTAwm6ZLRQUMv1ZACTj37sR62cfN7fe5JnJ7dh8zL4fiyLHV",
    ),
    (  # vector 1, two steps at once, to m/0H/1/2H/2/1000000000
        "xpub6D4BDPcP2GT577Vvch3R8wDkScZWzQzMMUm3PWbmWvVJrZwQY4VUNgqFJPMM3No2dFDFGTsxxpG5uJh7n7epu4trkrX7x7DogT5Uv6fcLW5",
        "m/2/1000000000",
        "xpub6H1LXWLaKsWFhvm6RVpEL9P4KfRZSW7abD2ttkWP3SSQvnyA8FSVqNTEcYFgJS2UaFcxupHiYkro49S8yGasTvXEYBVPamhGW6cFJodrTHy",
    ),
    (  # vector 2, m to m/0
        "xpub661MyMwAqRbcFW31YEwpkMuc5THy2PSt5bDMsktWQcFF8syAmRUapSCGu8ED9W6oDMSgv6Zz8idoc4a6mr8BDzTJY47LJhkJ8UB7WEGuduB",
        "m/0",
        "xpub69H7F5d8KSRgmmdJg2KhpAK8SR3DjMwAdkxj3ZuxV27CprR9LgpeyGmXUbC6wb7ERfvrnKZjXoUmmDznezpbZb7ap6r1D3tgFxHmwMkQTPH",
    ),
    (  # vector 2, m/0/2147483647H to m/0/2147483647H/1
        "xpub6ASAVgeehLbnwdqV6UKMHVzgqAG8Gr6riv3Fxxpj8ksbH9ebxaEyBLZ85ySDhKiLDBrQSARLq1uNRts8RuJiHjaDMBU4Zn9h8LZNnBC5y4a",
        "m/1",
        "xpub6DF8uhdarytz3FWdA8TvFSvvAh8dP3283MY7p2V4SeE2wyWmG5mg5EwVvmdMVCQcoNJxGoWaU9DCWh89LojfZ537wTfunKau47EL2dhHKon",
    ),
    (  # vector 2, m/0/2147483647H/1/2147483646H to m/0/2147483647H/1/2147483646H/2
        "xpub6ERApfZwUNrhLCkDtcHTcxd75RbzS1ed54G1LkBUHQVHQKqhMkhgbmJbZRkrgZw4koxb5JaHWkY4ALHY2grBGRjaDMzQLcgJvLJuZZvRcEL",
        "m/2",
        "xpub6FnCn6nSzZAw5Tw7cgR9bi15UV96gLZhjDstkXXxvCLsUXBGXPdSnLFbdpq8p9HmGsApME5hQTZ3emM2rnY5agb9rXpVGyy3bdW6EEgAtqt",
    ),
    (  # BIP-86, section "Test vectors": m/86'/0'/0' to m/86'/0'/0'/0/0
        "xpub6BgBgsespWvERF3LHQu6CnqdvfEvtMcQjYrcRzx53QJjSxarj2afYWcLteoGVky7D3UKDP9QyrLprQ3VCECoY49yfdDEHGCtMMj92pReUsQ",
        "m/0/0",
        "xpub6H3W6JmYJXN49h5TfcVjLC3onS6uPeUTTJoVvRC8oG9vsTn2J8LwigLzq5tHbrwAzH9DGo6ThGUdWsqce8dGfwHVBxSbixjDADGGdzF7t2B",
    ),
]


def parts(extended: str) -> tuple[bytes, bytes]:
    """Public key and chain code of an extended public key (BIP-32, "Serialization format")."""
    raw = base58.decode_check(extended)
    return raw[45:78], raw[13:45]


def extended(public_key: bytes, chain_code: bytes) -> str:
    """A key as the extended public key of a master (BIP-32, "Serialization format")."""
    return str(base58.encode_check(bytes.fromhex("0488b21e") + bytes(9) + chain_code + public_key))


@pytest.mark.parametrize(("parent", "path", "child"), VECTORS)
def test_children_are_the_published_ones(parent, path, child):
    path = parse_path(path)
    assert (
        child_public_key(*parts(parent), path),
        child_chain_code(*parts(parent), path),
    ) == parts(child)


@settings(max_examples=30)
@given(secrets, chain_codes, st.lists(steps, min_size=1, max_size=3), steps)
def test_children_are_those_of_bdk(secret, chain_code, path, last):
    public_key = PrivateKey.from_int(secret).public_key.format()
    inner = "/".join(map(str, path))
    descriptor = bdk.Descriptor(
        f"wpkh({extended(public_key, chain_code)}/{inner}/*)", bdk.NetworkKind.MAIN
    )
    theirs = str(descriptor.derive_address(last, bdk.Network.BITCOIN))
    child = child_public_key(public_key, chain_code, [*path, last])
    plain = bdk.Descriptor(f"wpkh({child.hex()})", bdk.NetworkKind.MAIN)
    assert str(plain.derive_address(0, bdk.Network.BITCOIN)) == theirs


@given(secrets, chain_codes, paths)
def test_a_childs_private_key_is_its_parents_plus_what_the_path_adds(secret, chain_code, path):
    """CKDpriv (BIP-32), written out, ends at the same public key as CKDpub."""
    public_key = PrivateKey.from_int(secret).public_key.format()
    key, code = secret, chain_code
    for step in path:
        point = PrivateKey.from_int(key).public_key.format()
        left = hmac.new(code, point + step.to_bytes(4), hashlib.sha512).digest()
        key, code = (key + int.from_bytes(left[:32])) % ORDER, left[32:]
    assert (
        child_public_key(public_key, chain_code, path)
        == PrivateKey.from_int(key).public_key.format()
    )
    assert child_chain_code(public_key, chain_code, path) == code


@given(secrets, chain_codes, paths, paths)
def test_a_childs_child_is_that_of_the_whole_path(secret, chain_code, first, second):
    root = PrivateKey.from_int(secret).public_key.format(), chain_code
    child = child_public_key(*root, first), child_chain_code(*root, first)
    assert child_public_key(*child, second) == child_public_key(*root, [*first, *second])


@given(st.lists(steps, min_size=1, max_size=MAX_DEPTH))
def test_a_path_is_read_as_it_is_written(path):
    assert parse_path(format_path(path)) == tuple(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "a path is m/"),
        ("m", "a path is m/"),
        ("0/5", "a path is m/"),
        ("M/0", "a path is m/"),
        ("/0", "a path is m/"),
        ("m/" + "/".join("0" * (MAX_DEPTH + 1)), "1 to 10 child numbers"),
        ("m/", "is not a number"),
        ("m//0", "is not a number"),
        ("m/-1", "is not a number"),
        ("m/+1", "is not a number"),
        ("m/01", "is not a number"),
        ("m/ 1", "is not a number"),
        ("m/1\n", "is not a number"),
        ("m/1_0", "is not a number"),
        ("m/٣", "is not a number"),
        ("m/2147483648", "is not a number"),
        ("m/99999999999999999999", "is not a number"),
        ("m/0'", "hardened"),
        ("m/44h/0", "hardened"),
        ("m/0/1H", "hardened"),
    ],
)
def test_what_is_no_unhardened_path_is_not_read(text, reason):
    with pytest.raises(ValueError, match=reason):
        parse_path(text)


PUBLIC_KEY = PrivateKey.from_int(7).public_key.format()


@pytest.mark.parametrize(
    ("public_key", "chain_code", "path"),
    [
        (PUBLIC_KEY[1:], bytes(32), [0]),
        (PublicKey(PUBLIC_KEY).format(compressed=False), bytes(32), [0]),
        (b"\x02" + b"\xff" * 32, bytes(32), [0]),
        (PUBLIC_KEY, bytes(31), [0]),
        (PUBLIC_KEY, b"", [0]),
        (PUBLIC_KEY, bytes(32), [2**31]),
        (PUBLIC_KEY, bytes(32), [-1]),
        (PUBLIC_KEY, bytes(32), [0] * (MAX_DEPTH + 1)),
    ],
    ids=[
        "x alone",
        "uncompressed",
        "off the curve",
        "short chain code",
        "no chain code",
        "hardened",
        "negative",
        "too deep",
    ],
)
def test_what_has_no_children_gives_none(public_key, chain_code, path):
    with pytest.raises(ValueError, match=r"public key|chain code|path"):
        child_public_key(public_key, chain_code, path)
