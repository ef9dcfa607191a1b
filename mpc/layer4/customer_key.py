"""The customer's public key, to which share copies are encrypted (age, ssh-ed25519 recipient)."""

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
    load_ssh_public_key,
)

from custody.runtime.errors import ConfigurationError
from custody.wire.public_keys import check_ed25519

HOW = "Take the customer's .pub file, which ssh-keygen -t ed25519 makes, or its form as PEM."
MAX_SIZE = 4096


class BadCustomerKey(ValueError):
    """The text is not a public key that share copies may be encrypted to."""


@dataclass(frozen=True)
class CustomerKey:
    """``public_key``: 32 bytes (RFC 8032), of the group of prime order, in its canonical form."""

    public_key: bytes

    @property
    def openssh(self) -> str:
        """Return the key as one line of OpenSSH, without a comment."""
        key = Ed25519PublicKey.from_public_bytes(self.public_key)
        return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()

    @property
    def fingerprint(self) -> str:
        """Return the fingerprint as ssh-keygen -l shows it."""
        blob = base64.b64decode(self.openssh.split()[1])
        return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")

    def encrypt(self, document: bytes) -> bytes:
        """Return an age file. Two calls give different bytes: the file key is random."""
        import pyrage

        return bytes(pyrage.encrypt(document, [pyrage.ssh.Recipient.from_str(self.openssh)]))


def parse_customer_key(text: bytes) -> CustomerKey:
    """Return the key of an OpenSSH line or of a PEM. Raise BadCustomerKey.

    Anybody can decrypt what is encrypted to a point of small order, and age does not refuse such
    a point.
    """
    if b"PRIVATE KEY" in text:
        raise BadCustomerKey(
            "it is a PRIVATE key, which must never be on this host: take it away, and if others "
            "can have read it, have the customer make another key"
        )
    try:
        if b"-----BEGIN" in text:
            key = load_pem_public_key(text)
        else:
            key = load_ssh_public_key(text.strip())
    except (ValueError, UnsupportedAlgorithm):
        raise BadCustomerKey("it is neither an OpenSSH public key nor a PEM public key") from None
    if not isinstance(key, Ed25519PublicKey):
        raise BadCustomerKey("it is a key of another type than Ed25519")
    try:
        public_key = check_ed25519(key.public_bytes(Encoding.Raw, PublicFormat.Raw))
    except ValueError as error:
        raise BadCustomerKey(str(error)) from None
    return CustomerKey(public_key)


def read_customer_key(path: Path) -> CustomerKey:
    """Read the customer's public key from a file. Raise ConfigurationError."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_SIZE)
    except OSError as error:
        what = f"cannot read the customer's public key from {path}: {error.strerror}"
        raise ConfigurationError(what, HOW) from None
    try:
        return parse_customer_key(text)
    except BadCustomerKey as error:
        raise ConfigurationError(f"{path} is not a customer's public key: {error}", HOW) from None
