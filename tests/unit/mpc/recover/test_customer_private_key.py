"""The customer's private key, in the files that customers have."""

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from custody.runtime.errors import OperatorError
from mpc.recover.customer_private_key import Damaged, NotForThisKey, read_private_key
from tests.unit.mpc.recover.bucket import CUSTOMER, STRANGER, sealed

PASSPHRASE = "correct horse"
FORMATS = {"OpenSSH": PrivateFormat.OpenSSH, "PKCS#8": PrivateFormat.PKCS8}


def never(_: str) -> str:
    raise AssertionError("asked for a passphrase")


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
def test_the_key_opens_its_files(name, passphrase, tmp_path):
    encryption = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    path = tmp_path / "key"
    path.write_bytes(CUSTOMER.private_bytes(Encoding.PEM, FORMATS[name], encryption))
    key = read_private_key(path, (lambda _: passphrase) if passphrase else never)
    assert key.open(sealed(b"contents")) == b"contents"


def test_a_key_of_ssh_keygen_with_its_fingerprint(tmp_path):
    path = tmp_path / "key"
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", PASSPHRASE, "-f", str(path)]
    subprocess.run(words, check=True)
    shown = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(path)], check=True, capture_output=True, text=True
    )
    key = read_private_key(path, lambda _: PASSPHRASE)
    assert key.fingerprint in shown.stdout


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("passphrase", ["wrong", ""])
def test_a_wrong_passphrase_is_refused(name, passphrase, tmp_path):
    path = tmp_path / "key"
    encryption = BestAvailableEncryption(PASSPHRASE.encode())
    path.write_bytes(CUSTOMER.private_bytes(Encoding.PEM, FORMATS[name], encryption))
    with pytest.raises(OperatorError, match="the passphrase does not open"):
        read_private_key(path, lambda _: passphrase)


def test_another_kind_of_key_is_refused(tmp_path):
    path = tmp_path / "key"
    other = ec.generate_private_key(ec.SECP256R1())
    path.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(OperatorError, match="is not an Ed25519 key"):
        read_private_key(path, never)


def test_other_files_are_refused(tmp_path: Path):
    path = tmp_path / "key"
    with pytest.raises(OperatorError, match="No such file"):
        read_private_key(path, never)
    for content in (b"", b"hello", b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"):
        path.write_bytes(content)
        with pytest.raises(OperatorError, match="is not a private key"):
            read_private_key(path, never)


def test_files_of_others_are_told_from_damaged_ones(tmp_path):
    path = tmp_path / "key"
    path.write_bytes(CUSTOMER.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    key = read_private_key(path, never)
    with pytest.raises(NotForThisKey, match="another recipient"):
        key.open(sealed(b"contents", STRANGER))
    with pytest.raises(NotForThisKey, match="not an age file"):
        key.open(b"contents")
    with pytest.raises(Damaged):
        key.open(sealed(b"contents")[:-1])
