"""Which keys share copies may be encrypted to."""

import subprocess
from pathlib import Path

import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from nacl.bindings import crypto_core_ed25519_add

from custody.runtime.errors import ConfigurationError
from custody.wire.encoding import to_base64
from devstack.customer_key import create_customer_key
from mpc.layer4.customer_key import BadCustomerKey, parse_customer_key, read_customer_key

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
POINT = KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
ORDER_2 = ((1 << 255) - 20).to_bytes(32, "little")  # (0, -1)
ORDER_8 = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
NEUTRAL = (1).to_bytes(32, "little")
NOT_CANONICAL = ((1 << 255) - 19 + 3).to_bytes(32, "little")  # y = 3, not reduced


def openssh(point: bytes) -> bytes:
    name = b"ssh-ed25519"
    blob = len(name).to_bytes(4) + name + len(point).to_bytes(4) + point
    return b"ssh-ed25519 " + to_base64(blob).encode() + b" customer@host\n"


def pem(point: bytes) -> bytes:
    der = bytes.fromhex("302a300506032b6570032100") + point  # RFC 8410, section 4
    return (
        b"-----BEGIN PUBLIC KEY-----\n" + to_base64(der).encode() + b"\n-----END PUBLIC KEY-----\n"
    )


@pytest.mark.parametrize("form", [openssh, pem])
def test_both_forms_give_the_same_key(form) -> None:
    found = parse_customer_key(form(POINT))
    assert found.public_key == POINT
    private = KEY.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    identity = pyrage.ssh.Identity.from_buffer(private)
    assert pyrage.decrypt(found.encrypt(b"document"), [identity]) == b"document"


def test_the_fingerprint_is_what_ssh_keygen_shows(tmp_path: Path) -> None:
    pair = create_customer_key(tmp_path)
    shown = subprocess.run(
        ["ssh-keygen", "-lf", pair.public_key], capture_output=True, check=True, text=True
    ).stdout
    assert read_customer_key(pair.public_key).fingerprint in shown.split()


@pytest.mark.parametrize("form", [openssh, pem])
@pytest.mark.parametrize(
    "point",
    [
        pytest.param(NEUTRAL, id="neutral"),
        pytest.param(ORDER_2, id="order 2"),
        pytest.param(ORDER_8, id="order 8"),
        pytest.param(crypto_core_ed25519_add(POINT, ORDER_8), id="mixed order"),
        pytest.param(NOT_CANONICAL, id="not canonical"),
        pytest.param((2).to_bytes(32, "little"), id="not on the curve"),
    ],
)
def test_points_that_are_refused(form, point: bytes) -> None:
    with pytest.raises(BadCustomerKey, match="not an Ed25519 public key"):
        parse_customer_key(form(point))


@pytest.mark.parametrize(
    "key", [ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)]
)
def test_keys_of_other_types(key) -> None:
    public = key.public_key()
    for text in (
        public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    ):
        with pytest.raises(BadCustomerKey, match="another type"):
            parse_customer_key(text)


def test_what_is_not_a_key() -> None:
    for text in (b"", b"age1qqqq", b"ssh-ed25519 AAAA", b"sk-ssh-ed25519@openssh.com AAAA x"):
        with pytest.raises(BadCustomerKey, match="neither"):
            parse_customer_key(text)


def test_a_private_key_is_refused_with_what_to_do(tmp_path: Path) -> None:
    pair = create_customer_key(tmp_path)
    with pytest.raises(ConfigurationError, match="never be on this host") as raised:
        read_customer_key(pair.private_key)
    assert ".pub" in raised.value.todo


def test_a_file_that_is_away(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot read the customer's public key"):
        read_customer_key(tmp_path / "absent.pub")
