"""Whatever the data is, it is a private key or is refused: there is no other error."""

import json
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption
from embit.descriptor.checksum import add_checksum
from eth_keyfile.keyfile import create_keyfile_json
from hypothesis import given, settings
from hypothesis import strategies as st
from solders.keypair import Keypair

from custody.client.importing.faults import BadPrivateKey
from custody.client.importing.formats import KeyFormat, read_private_key
from custody.client.importing.pkcs8 import encode_pkcs8
from custody.client.importing.private_key import PrivateKey
from custody.wire.algorithms import HSM_ALGORITHMS, Curve
from tests.unit.client.importing.test_pkcs8 import (
    RFC_8410_V2,
    RFC_9500,
    encrypted,
    version_2,
)

WIF = "KwdMAjGmerYanjeui5SHS7JkmpZvVipYvB2LJGU1ZxJwYvP98617"
SECRET = bytes(31) + b"\7"
KEYS = [PrivateKey(algorithm, SECRET) for algorithm in HSM_ALGORITHMS]
PLAIN = [encode_pkcs8(key) for key in KEYS]
GOOD = {
    KeyFormat.HEX: [SECRET.hex().encode()],
    KeyFormat.ED25519_SCALAR: [SECRET.hex().encode()],
    KeyFormat.WIF: [WIF.encode()],
    KeyFormat.DESCRIPTOR: [
        add_checksum(f"{function}({WIF})").encode() for function in ("wpkh", "rawtr")
    ],
    KeyFormat.SOLANA: [
        str(Keypair.from_seed(SECRET)).encode(),
        Keypair.from_seed(SECRET).to_json().encode(),
    ],
    KeyFormat.PKCS8: [
        *PLAIN,
        *(version_2(data, key.public_key) for data, key in zip(PLAIN, KEYS, strict=True)),
        RFC_8410_V2.encode(),
        RFC_9500.encode(),
    ],
    KeyFormat.KEYSTORE: [json.dumps(create_keyfile_json(SECRET, b"x", 3, "pbkdf2", 1)).encode()],
}
ENCRYPTED = encrypted(BestAvailableEncryption(b"x"))
formats = st.sampled_from(KeyFormat)


def try_to_read(data: bytes, form: KeyFormat, password: str | None = None) -> None:
    curve = Curve.SECP256K1 if form is KeyFormat.HEX else None
    if form is KeyFormat.KEYSTORE:
        password = "x"
    with suppress(BadPrivateKey):
        key = read_private_key(data, form, curve=curve, password=password)
        assert len(key.secret) == 32


@given(st.binary(max_size=200), formats)
def test_any_bytes(data, form):
    try_to_read(data, form)


def test_there_is_an_example_of_each_format():
    assert set(GOOD) == set(KeyFormat)


@pytest.mark.parametrize("form", GOOD)
def test_each_example_is_good(form):
    for data in GOOD[form]:
        curve = Curve.SECP256K1 if form is KeyFormat.HEX else None
        password = "x" if form is KeyFormat.KEYSTORE else None
        assert read_private_key(data, form, curve=curve, password=password)


@settings(max_examples=500)
@given(st.data(), formats, formats, st.binary(max_size=3), st.integers(0, 3))
def test_spoilt_data(data, form, read_as, put_in, taken_out):
    good = data.draw(st.sampled_from(GOOD[form]))
    place = data.draw(st.integers(0, len(good)))
    try_to_read(good[:place] + put_in + good[place + taken_out :], read_as)


@settings(max_examples=300)
@given(st.integers(0, len(ENCRYPTED)), st.binary(max_size=2), st.integers(0, 2))
def test_spoilt_encrypted_data(place, put_in, taken_out):
    spoilt = ENCRYPTED[:place] + put_in + ENCRYPTED[place + taken_out :]
    try_to_read(spoilt, KeyFormat.PKCS8, "x")
