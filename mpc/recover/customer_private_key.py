"""The customer's Ed25519 private key, which opens share copies."""

import base64
import binascii
import hashlib
from pathlib import Path

import pyrage
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from custody.runtime.errors import OperatorError
from custody.runtime.private_keys import (
    AskPassphrase,
    NotAPrivateKey,
    WrongPassphrase,
    load_private_key,
)

VERSION_LINE = b"age-encryption.org/v1\n"
"""First line of an age file (C2SP age, section "Header")."""
MAX_HEADER_SIZE = 65_536
"""In bytes. Each recipient costs a multiplication on the curve, so their number has a limit."""
TAG_SIZE = 4
OTHER_RECIPIENT = "it is encrypted to another recipient"


class NotForThisKey(ValueError):
    """The file is encrypted to other recipients, or is not an age file at all."""


class Damaged(ValueError):
    """The file names this key as its recipient, but it does not decrypt."""


class CustomerPrivateKey:
    """Opens age files that are encrypted to one Ed25519 key (recipient type ssh-ed25519)."""

    def __init__(self, private_key: Ed25519PrivateKey) -> None:
        public_key = private_key.public_key()
        self.ssh_public_key = public_key.public_bytes(
            Encoding.OpenSSH, PublicFormat.OpenSSH
        ).decode()
        digest = hashlib.sha256(base64.b64decode(self.ssh_public_key.split()[1])).digest()
        self.fingerprint = "SHA256:" + base64.b64encode(digest).decode().rstrip("=")
        """As `ssh-keygen -l` prints it."""
        self._tag = digest[:TAG_SIZE]
        self._identity = pyrage.ssh.Identity.from_buffer(
            private_key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        )

    def open(self, file: bytes) -> bytes:
        """Return the decrypted contents. Raise NotForThisKey or Damaged."""
        if self._tag not in _ssh_tags(file):
            raise NotForThisKey(OTHER_RECIPIENT)
        try:
            return bytes(pyrage.decrypt(file, [self._identity]))
        except pyrage.DecryptError:
            raise Damaged("it does not decrypt: its bytes were changed or cut off") from None


def _ssh_tags(file: bytes) -> list[bytes]:
    """Return which ssh-ed25519 keys an age file is for: the first bytes of each key's SHA-256."""
    if not file.startswith(VERSION_LINE):
        raise NotForThisKey("it is not an age file")
    header, end, _ = file[:MAX_HEADER_SIZE].partition(b"\n---")
    if not end:
        raise NotForThisKey("its header has no end, or is longer than that of a share copy")
    tags = []
    for line in header.split(b"\n"):
        words = line.split(b" ")
        if words[:2] == [b"->", b"ssh-ed25519"] and len(words) == 4:
            try:
                tags.append(base64.b64decode(words[2] + b"=="))
            except binascii.Error:
                continue
    return tags


def read_private_key(path: Path, ask: AskPassphrase) -> CustomerPrivateKey:
    """Return the key of an OpenSSH or PKCS#8 (PEM) file. Raise OperatorError."""
    try:
        private_key = load_private_key(path.read_bytes(), str(path), ask)
    except OSError as error:
        raise OperatorError(
            f"cannot read the customer's private key {path}: {error.strerror}",
            "Give the private half of the key that the signers' `layer4 init` was given.",
        ) from None
    except NotAPrivateKey:
        raise OperatorError(
            f"{path} is not a private key", "Give an OpenSSH or PKCS#8 (PEM) private key."
        ) from None
    except WrongPassphrase as error:
        raise OperatorError(str(error), "Type it again.") from None
    if not isinstance(private_key, Ed25519PrivateKey):
        raise OperatorError(
            f"{path} is not an Ed25519 key", "Share copies are encrypted to an Ed25519 key."
        )
    return CustomerPrivateKey(private_key)
