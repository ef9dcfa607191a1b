"""The node's own Ed25519 key, which signs its audit heads."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from daemon.configuration import read_secret, write_secret
from daemon.errors import ConfigurationError
from wire.envelope import Signer


def create_identity(path: Path) -> Signer:
    """Make a new identity key file, mode 0600. Raises FileExistsError."""
    key = Ed25519PrivateKey.generate()
    write_secret(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return Signer(key)


def load_identity(path: Path) -> Signer:
    """Read the identity key. Raises ConfigurationError."""
    pem = read_secret(path, "the node's identity key")
    try:
        key = load_pem_private_key(pem, password=None)
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(
            f"{path} holds no Ed25519 private key in PEM",
            "Restore the file from its backup; a new identity starts a new audit history.",
        )
    return Signer(key)
