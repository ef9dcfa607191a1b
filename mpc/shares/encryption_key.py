"""Encryption keys wrap the data keys of shares: a file on this host, or a key inside an HSM.

Each has an id and a check value, by which it is told from another key without trying it on a share.
"""

import base64
import binascii
import hashlib
import os
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.keywrap import (
    InvalidUnwrap,
    aes_key_unwrap_with_padding,
    aes_key_wrap_with_padding,
)

from custody.node.errors import Failed
from custody.pkcs11.hsm import Hsm
from custody.pkcs11.messages import KeyProof
from custody.runtime.configuration import read_secret, write_secret
from custody.runtime.errors import ConfigurationError
from custody.wire.framing import Domain, tagged

KEY_SIZE = 32
ID_SIZE = 16
CHECK_VALUE_SEED = b"custody encryption key check value, version 1"
WRAPPED_DATA_KEY = tagged(Domain.DATA_KEY)
"""Associated data of what an HSM encrypts: nothing else that it decrypts passes for a data key."""


class EncryptionKey(Protocol):
    """``name``: where it is, for people; ``check_value``: 32 bytes, nothing to keep secret."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def check_value(self) -> bytes: ...

    async def wrap(self, data_key: bytes) -> bytes:
        """Encrypt 32 bytes. Raises Failed."""
        ...

    async def unwrap(self, wrapped: bytes) -> bytes:
        """Decrypt what ``wrap`` made. Raises Failed, for anything else too."""
        ...


def id_of(check_value: bytes) -> str:
    """Short name of a key: the first 16 hex digits of its check value."""
    return check_value.hex()[:ID_SIZE]


class FileKey:
    """AES-256 in a file; wraps by AES-KWP (NIST SP 800-38F, section 6.3; RFC 5649)."""

    def __init__(self, key: bytes, name: str) -> None:
        self._key = key
        self.name = name
        known = hashlib.sha256(CHECK_VALUE_SEED).digest()
        self.check_value = hashlib.sha256(aes_key_wrap_with_padding(key, known)).digest()
        self.id = id_of(self.check_value)

    async def wrap(self, data_key: bytes) -> bytes:
        return aes_key_wrap_with_padding(self._key, data_key)

    async def unwrap(self, wrapped: bytes) -> bytes:
        try:
            return aes_key_unwrap_with_padding(self._key, wrapped)
        except InvalidUnwrap:
            raise Failed(
                "share_unusable",
                f"a data key is damaged, or not of encryption key {self.id}",
                transient=True,
            ) from None


class HsmKey:
    """An AES-256 key of ``hsm``'s token that encrypts and decrypts, and never leaves: AES-GCM.

    ``proof``: what the key has opened, by which it is recognised at the next start.
    """

    def __init__(self, hsm: Hsm, name: str, check_value: bytes, proof: KeyProof | None) -> None:
        self._hsm = hsm
        self.name = name
        self.check_value = check_value
        self.proof = proof
        self.id = id_of(check_value)

    async def wrap(self, data_key: bytes) -> bytes:
        return await self._hsm.seal(self.name, data_key, WRAPPED_DATA_KEY)

    async def unwrap(self, wrapped: bytes) -> bytes:
        return await self._hsm.unseal(self.name, wrapped, WRAPPED_DATA_KEY)


def create_key_file(path: Path) -> FileKey:
    """Make a new key and its file, mode 0600: base64, on one line. Raises FileExistsError."""
    key = os.urandom(KEY_SIZE)
    write_secret(path, file_content(key))
    return FileKey(key, str(path))


def file_content(key: bytes) -> bytes:
    """Return the contents of the key's file."""
    return base64.b64encode(key) + b"\n"


def load_key_file(path: Path) -> FileKey:
    """Read a key. Raises ConfigurationError, also for a file that others may read."""
    return FileKey(read_key(path), str(path))


def read_key(path: Path) -> bytes:
    """Return the 32 bytes of a key file. Raise ConfigurationError."""
    text = read_secret(path, "an encryption key of this signer's shares")
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error:
        key = b""
    if len(key) != KEY_SIZE:
        raise ConfigurationError(
            f"{path} is not an encryption key: that is {KEY_SIZE} bytes in base64",
            "Restore the file from its backup: without it this signer's shares cannot be used.",
        )
    return key
