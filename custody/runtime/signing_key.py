"""A process's own Ed25519 key (RFC 8032) in a file: PKCS#8 in PEM, mode 0600, not encrypted."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from custody.runtime.configuration import read_secret, write_secret
from custody.runtime.errors import ConfigurationError
from custody.wire.signed_bytes import SigningKey


def create_signing_key(path: Path) -> SigningKey:
    """Make a new key and its file. Raise FileExistsError, or another OSError."""
    key = Ed25519PrivateKey.generate()
    write_secret(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return SigningKey(key)


def load_signing_key(path: Path, what: str, todo: str) -> SigningKey:
    """Read a key. Raise ConfigurationError.

    ``what`` names the key in the error, ``todo`` says how to get another key.
    """
    pem = read_secret(path, what)
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):  # TypeError: it is encrypted
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(
            f"{path}, {what}, contains no unencrypted Ed25519 private key in PEM", todo
        )
    return SigningKey(key)
