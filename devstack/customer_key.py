"""A customer's key pair, as `ssh-keygen -t ed25519` makes it."""

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from custody.runtime.configuration import write_secret


@dataclass(frozen=True)
class CustomerKeyPair:
    """``private_key``: without a passphrase. Real customers keep it offline."""

    private_key: Path
    public_key: Path


def create_customer_key(folder: Path) -> CustomerKeyPair:
    """Write a new key pair into a folder."""
    key = Ed25519PrivateKey.generate()
    made = CustomerKeyPair(folder / "customer", folder / "customer.pub")
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    write_secret(made.private_key, private)
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    made.public_key.write_bytes(public + b" customer\n")
    return made
