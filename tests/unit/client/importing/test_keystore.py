"""Ethereum's keystore V3: the vectors of its definition, of go-ethereum, and of eth-keyfile."""

import json
import time
from copy import deepcopy
from typing import Any, Literal

import pytest
from Crypto.Cipher import AES
from Crypto.Hash import SHA256, keccak
from Crypto.Protocol import KDF
from eth_keyfile.keyfile import create_keyfile_json
from hypothesis import given, settings
from hypothesis import strategies as st

from custody.client.importing.faults import BadPrivateKey, KeyFault
from custody.client.importing.formats import KeyFormat, read_private_key
from custody.client.importing.private_key import PrivateKey
from custody.wire.algorithms import ECDSA_SECP256K1, Curve, Network
from custody.wire.points import GROUP_ORDER
from tests.unit.client.importing.refusals import refused
from tests.unit.client.importing.second_opinion import check_signs

ORDER = GROUP_ORDER[Curve.SECP256K1]
# Web3 Secret Storage Definition, "Test Vectors"; go-ethereum and ethereum/tests have them too
SECRET = "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d"
ADDRESS = "008aeeda4d805471df9b2a5b0f38a0c3bcba786b"
PASSWORD = "testpassword"
PBKDF2: dict[str, Any] = {
    "crypto": {
        "cipher": "aes-128-ctr",
        "cipherparams": {"iv": "6087dab2f9fdbbfaddc31a909735c1e6"},
        "ciphertext": "5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46",
        "kdf": "pbkdf2",
        "kdfparams": {
            "c": 262144,
            "dklen": 32,
            "prf": "hmac-sha256",
            "salt": "ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd",
        },
        "mac": "517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2",
    },
    "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6",
    "version": 3,
}
SCRYPT: dict[str, Any] = {
    "crypto": {
        "cipher": "aes-128-ctr",
        "cipherparams": {"iv": "83dbcc02d8ccb40e466191a123791e0e"},
        "ciphertext": "d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c",
        "kdf": "scrypt",
        "kdfparams": {
            "dklen": 32,
            "n": 262144,
            "r": 1,
            "p": 8,
            "salt": "ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19",
        },
        "mac": "2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097",
    },
    "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6",
    "version": 3,
}
# go-ethereum, accounts/keystore/testdata/v3_test_vector.json, password foo: leading zeros cut off
GETH_31_BYTES: dict[str, Any] = {
    "crypto": {
        "cipher": "aes-128-ctr",
        "cipherparams": {"iv": "e0c41130a323adc1446fc82f724bca2f"},
        "ciphertext": "9517cd5bdbe69076f9bf5057248c6c050141e970efa36ce53692d5d59a3984",
        "kdf": "scrypt",
        "kdfparams": {
            "dklen": 32,
            "n": 2,
            "r": 8,
            "p": 1,
            "salt": "711f816911c92d649fb4c84b047915679933555030b3552c1212609b38208c63",
        },
        "mac": "d5e116151c6aa71470e67a7d42c9620c75c4d23229847dcc127794f0732b0db5",
    },
    "id": "fecfc4ce-e956-48fd-953b-30f8b52ed66c",
    "version": 3,
}


def read(document: Any, password: str = PASSWORD) -> PrivateKey:
    return read_private_key(json.dumps(document), KeyFormat.KEYSTORE, password=password)


def made(
    secret: bytes, password: str = PASSWORD, kdf: Literal["pbkdf2", "scrypt"] = "pbkdf2"
) -> dict[str, Any]:
    """A file of eth-keyfile, quick to open."""
    work = 2 if kdf == "scrypt" else 1
    return dict(create_keyfile_json(secret, password.encode(), 3, kdf, work))


def changed(*path: str, to: Any) -> dict[str, Any]:
    """A cheap file with one field changed; None takes the field out."""
    document = deepcopy(made((7).to_bytes(32)))
    *parents, last = path
    place = document
    for name in parents:
        place = place[name]
    if to is None:
        del place[last]
    else:
        place[last] = to
    return document


@pytest.mark.parametrize("document", [PBKDF2, SCRYPT], ids=["pbkdf2", "scrypt"])
def test_the_vectors_of_the_definition_are_read(document):
    key = read({**document, "address": ADDRESS})
    assert (key.algorithm, key.secret.hex()) == (ECDSA_SECP256K1, SECRET)
    assert key.for_wallet(Network.ETHEREUM) is key
    assert key.for_wallet(Network.ETHEREUM_SEPOLIA) is key
    with pytest.raises(BadPrivateKey, match="wrong_network"):
        key.for_wallet(Network.BITCOIN)
    check_signs(key)


def test_a_key_without_its_leading_zeros_is_refused():
    """Files of an early go-ethereum. The key would be imported right only by guessing."""
    refused(
        json.dumps(GETH_31_BYTES),
        KeyFormat.KEYSTORE,
        KeyFault.WRONG_SIZE,
        "one of 31",
        password="foo",
    )
    document = changed("crypto", "ciphertext", to="11" * 33)
    refused(
        json.dumps(document),
        KeyFormat.KEYSTORE,
        KeyFault.WRONG_SIZE,
        "one of 33",
        password=PASSWORD,
    )


@settings(max_examples=20)
@given(st.integers(1, ORDER - 1), st.text(max_size=10), st.sampled_from(["pbkdf2", "scrypt"]))
def test_what_eth_keyfile_writes_is_read(scalar, password, kdf):
    key = read(made(scalar.to_bytes(32), password, kdf), password)
    assert key.scalar == scalar


def test_a_key_with_leading_zeros_is_read():
    for scalar in (1, 2**248 - 1, ORDER - 1):
        assert read(made(scalar.to_bytes(32))).scalar == scalar


@pytest.mark.parametrize("scalar", [0, ORDER, 2**256 - 1])
def test_numbers_that_are_not_private_keys_are_refused(scalar):
    document = made((7).to_bytes(32))
    crypto = document["crypto"]
    salt = bytes.fromhex(crypto["kdfparams"]["salt"])
    key = KDF.PBKDF2(PASSWORD, salt, 32, crypto["kdfparams"]["c"], hmac_hash_module=SHA256)
    iv = int(crypto["cipherparams"]["iv"], 16)
    cipher = AES.new(key[:16], AES.MODE_CTR, nonce=b"", initial_value=iv)
    ciphertext = cipher.encrypt(scalar.to_bytes(32))
    crypto["ciphertext"] = ciphertext.hex()
    crypto["mac"] = keccak.new(digest_bits=256, data=key[16:] + ciphertext).hexdigest()
    refused(json.dumps(document), KeyFormat.KEYSTORE, KeyFault.OUT_OF_RANGE, password=PASSWORD)


def test_a_wrong_password_and_a_damaged_file_are_refused_before_decryption():
    document = made((7).to_bytes(32))
    refused(
        json.dumps(document), KeyFormat.KEYSTORE, KeyFault.WRONG_PASSWORD, password="testPassword"
    )
    for field in ("ciphertext", "mac"):
        text = document["crypto"][field]
        spoilt = ("0" if text[0] != "0" else "1") + text[1:]
        refused(
            json.dumps(changed("crypto", field, to=spoilt)),
            KeyFormat.KEYSTORE,
            KeyFault.WRONG_PASSWORD,
            "MAC",
            password=PASSWORD,
        )


def test_a_changed_iv_is_noticed_by_the_address():
    """The MAC of version 3 does not cover the IV."""
    document = changed("crypto", "cipherparams", "iv", to="00" * 16)
    refused(
        json.dumps(document), KeyFormat.KEYSTORE, KeyFault.PUBLIC_KEY_MISMATCH, password=PASSWORD
    )


def test_a_password_that_has_no_utf_8_is_refused():
    """The error of Python would show the password."""
    refused(
        json.dumps(PBKDF2), KeyFormat.KEYSTORE, KeyFault.BAD_FORMAT, password="correct\udcffhorse"
    )


def test_a_keystore_needs_a_password():
    refused(json.dumps(PBKDF2), KeyFormat.KEYSTORE, KeyFault.PASSWORD_NEEDED)


def test_the_address_must_be_that_of_the_key():
    good = made((7).to_bytes(32))
    assert read({**good, "address": "0x" + good["address"].upper()}).scalar == 7
    assert read(changed("address", to=None)).scalar == 7
    with pytest.raises(BadPrivateKey, match="names another address"):
        read({**good, "address": good["address"][:-1]})
    others: list[object] = ["11" * 20, "", 7, []]
    for other in others:
        refused(
            json.dumps({**good, "address": other}),
            KeyFormat.KEYSTORE,
            KeyFault.PUBLIC_KEY_MISMATCH,
            "another address",
            password=PASSWORD,
        )


def test_the_older_spelling_of_crypto_is_read():
    document = made((7).to_bytes(32))
    document["Crypto"] = document.pop("crypto")
    assert read(document).scalar == 7


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        (("version",), 1, KeyFault.UNSUPPORTED),
        (("version",), 4, KeyFault.UNSUPPORTED),
        (("version",), "3", KeyFault.UNSUPPORTED),
        (("version",), True, KeyFault.UNSUPPORTED),
        (("version",), None, KeyFault.BAD_FORMAT),
        (("crypto",), None, KeyFault.BAD_FORMAT),
        (("crypto",), [], KeyFault.BAD_FORMAT),
        (("crypto", "cipher"), "aes-128-cbc", KeyFault.UNSUPPORTED),
        (("crypto", "cipher"), None, KeyFault.BAD_FORMAT),
        (("crypto", "cipherparams"), None, KeyFault.BAD_FORMAT),
        (("crypto", "cipherparams", "iv"), "11" * 15, KeyFault.BAD_FORMAT),
        (("crypto", "cipherparams", "iv"), None, KeyFault.BAD_FORMAT),
        (("crypto", "ciphertext"), "zz", KeyFault.BAD_FORMAT),
        (("crypto", "ciphertext"), "é", KeyFault.BAD_FORMAT),
        (("crypto", "ciphertext"), 17, KeyFault.BAD_FORMAT),
        (("crypto", "mac"), None, KeyFault.BAD_FORMAT),
        (("crypto", "kdf"), "argon2id", KeyFault.UNSUPPORTED),
        (("crypto", "kdf"), None, KeyFault.BAD_FORMAT),
        (("crypto", "kdf"), "scrypt", KeyFault.BAD_FORMAT),
        (("crypto", "kdfparams"), None, KeyFault.BAD_FORMAT),
        (("crypto", "kdfparams", "prf"), "hmac-sha512", KeyFault.UNSUPPORTED),
        (("crypto", "kdfparams", "dklen"), 16, KeyFault.BAD_FORMAT),
        (("crypto", "kdfparams", "dklen"), "32", KeyFault.BAD_FORMAT),
        (("crypto", "kdfparams", "salt"), None, KeyFault.BAD_FORMAT),
        (("crypto", "kdfparams", "c"), None, KeyFault.BAD_FORMAT),
        (("crypto", "kdfparams", "c"), 1.5, KeyFault.BAD_FORMAT),
        (("crypto", "kdfparams", "c"), True, KeyFault.BAD_FORMAT),
        (("crypto", "kdfparams", "c"), 0, KeyFault.BAD_FORMAT),
        (("crypto", "kdfparams", "c"), -1, KeyFault.BAD_FORMAT),
        (("crypto", "kdfparams", "c"), 10_000_001, KeyFault.TOO_COSTLY),
    ],
)
def test_files_that_are_not_of_the_definition_are_refused(path, value, code):
    refused(json.dumps(changed(*path, to=value)), KeyFormat.KEYSTORE, code, password=PASSWORD)


@pytest.mark.parametrize(
    ("n", "r", "p", "code"),
    [
        (2**20, 8, 1, KeyFault.TOO_COSTLY),
        (2**40, 8, 1, KeyFault.TOO_COSTLY),
        (2**10_000, 8, 1, KeyFault.TOO_COSTLY),
        (2**19, 8, 64, KeyFault.TOO_COSTLY),
        (2**19, 8, 2, KeyFault.TOO_COSTLY),
        (2**22, 1, 8, KeyFault.TOO_COSTLY),
        (2, 2**24, 1, KeyFault.TOO_COSTLY),
        (2, 1, 2**24, KeyFault.TOO_COSTLY),
        (2**19, 65, 1, KeyFault.TOO_COSTLY),
        (0, 8, 1, KeyFault.BAD_FORMAT),
        (1, 8, 1, KeyFault.BAD_FORMAT),
        (-2, 8, 1, KeyFault.BAD_FORMAT),
        (1000, 8, 1, KeyFault.BAD_FORMAT),
        (1024, 0, 1, KeyFault.BAD_FORMAT),
        (1024, 8, 0, KeyFault.BAD_FORMAT),
    ],
)
def test_a_file_cannot_ask_for_all_memory_or_for_hours(n, r, p, code):
    document = deepcopy(SCRYPT)
    document["crypto"]["kdfparams"].update(n=n, r=r, p=p)
    begun = time.monotonic()
    refused(json.dumps(document), KeyFormat.KEYSTORE, code, "scrypt: ", password=PASSWORD)
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        '{"version": 3, "version": 3}',
        '{"version": NaN}',
        '{"version": ' + "9" * 5000 + "}",
        "[" * 10_000,
        "\udcff",
        " " * 70_000,
    ],
)
def test_texts_that_are_not_one_json_object_are_refused(text):
    refused(text, KeyFormat.KEYSTORE, KeyFault.BAD_FORMAT, password=PASSWORD)


def test_bytes_that_are_not_utf_8_are_refused():
    refused(b"\xff\xfe", KeyFormat.KEYSTORE, KeyFault.BAD_FORMAT, password=PASSWORD)
