"""A process's own key in its file: what was made is read again, and nothing else is."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from custody.runtime.configuration import write_secret
from custody.runtime.errors import ConfigurationError
from custody.runtime.signing_key import create_signing_key, load_signing_key


def load(path: Path):
    return load_signing_key(path, "the test's key", "Restore it.")


def write_pem(path: Path, key, encryption: KeySerializationEncryption) -> None:
    write_secret(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))


def test_a_key_that_was_made_is_read_again(tmp_path):
    made = create_signing_key(tmp_path / "key.pem")
    assert load(tmp_path / "key.pem").public_key == made.public_key


def test_a_key_is_never_overwritten(tmp_path):
    made = create_signing_key(tmp_path / "key.pem")
    with pytest.raises(FileExistsError):
        create_signing_key(tmp_path / "key.pem")
    assert load(tmp_path / "key.pem").public_key == made.public_key


@pytest.mark.parametrize(
    ("key", "encryption"),
    [
        (ed25519.Ed25519PrivateKey.generate(), BestAvailableEncryption(b"passphrase")),
        (ec.generate_private_key(ec.SECP256R1()), NoEncryption()),
    ],
    ids=["encrypted", "of another algorithm"],
)
def test_a_key_that_cannot_be_used_is_refused_with_what_to_do(tmp_path, key, encryption):
    write_pem(tmp_path / "key.pem", key, encryption)
    with pytest.raises(
        ConfigurationError, match="the test's key, contains no unencrypted Ed25519"
    ) as refusal:
        load(tmp_path / "key.pem")
    assert refusal.value.todo == "Restore it."


def test_what_is_no_pem_is_refused(tmp_path):
    write_secret(tmp_path / "key.pem", b"not a key")
    with pytest.raises(ConfigurationError, match="contains no unencrypted Ed25519"):
        load(tmp_path / "key.pem")
