"""Encryption of a backup's parts with age (https://age-encryption.org/v1), as streams."""

import base64
import binascii
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyrage
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from custody.backup.errors import CannotDecrypt, Damaged
from custody.runtime.configuration import read_secret
from custody.runtime.errors import ConfigurationError, OperatorError
from custody.runtime.private_keys import (
    OPENSSH,
    AskPassphrase,
    NotAPrivateKey,
    WrongPassphrase,
    load_private_key,
)
from custody.wire.public_keys import ED25519_SIZE, check_ed25519

AGE_FILE = (b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED FILE-----")
NO_MATCH = "No matching keys found"

MAX_NAMED = 8
"""How many keys an error names."""

Recipient = Any


@dataclass(frozen=True)
class Identity:
    """A private key that opens age files. ``public_key``: as a recipient is written."""

    key: Any = field(repr=False)
    path: Path
    public_key: str


class Reader(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Writer(Protocol):
    def write(self, data: bytes, /) -> object: ...


def parse_recipients(texts: Sequence[str], where: str = "[backup] recipients") -> list[Recipient]:
    """Return the public keys of recipients. Raise ConfigurationError for an invalid one.

    ``where``: the setting that names them.
    pyrage accepts Ed25519 keys of small order, and everybody can decrypt what is encrypted to them.
    """
    if not texts:
        raise ConfigurationError(
            f"{where} is empty, so nobody could open the backup",
            "Make a key on another host with age-keygen, and write its public key there.",
        )
    return [_recipient(text.strip(), where) for text in texts]


def _recipient(text: str, where: str) -> Recipient:
    try:
        if text.startswith("ssh-"):
            _check_ssh_key(text)
            return pyrage.ssh.Recipient.from_str(text)
        return pyrage.x25519.Recipient.from_str(text)
    except (pyrage.RecipientError, ValueError) as error:
        raise ConfigurationError(
            f"{where} has an entry that is not a public key of age: {text[:40]!r}",
            f"Write age1... or ssh-ed25519 ...: {error}",
        ) from None


def _check_ssh_key(text: str) -> None:
    """Raise ValueError for an Ed25519 key of small order, and for another type of SSH key.

    RFC 8709, section 4: the key blob ends with the key's 32 bytes.
    """
    kind, _, rest = text.partition(" ")
    if kind != "ssh-ed25519":
        raise ValueError("of SSH keys, only ssh-ed25519 is accepted")
    try:
        blob = base64.b64decode(rest.split(" ")[0], validate=True)
    except binascii.Error:
        raise ValueError("the SSH key is not base64") from None
    check_ed25519(blob[-ED25519_SIZE:])


def read_identities(paths: Sequence[Path], ask: AskPassphrase) -> list[Identity]:
    """Read private keys: files of age-keygen, with or without passphrase, or OpenSSH's.

    Raise ConfigurationError or CannotDecrypt.
    """
    return [identity for path in paths for identity in _identities(path, ask)]


def _identities(path: Path, ask: AskPassphrase) -> list[Identity]:
    content = read_secret(path, "the private key of a recipient")
    try:
        if content.startswith(OPENSSH):
            return [_ssh_identity(content, path, ask)]
        if content.startswith(AGE_FILE):
            content = pyrage.passphrase.decrypt(content, ask(str(path)))
        lines = [line.strip() for line in content.decode().splitlines()]
        keys = [line for line in lines if line and not line.startswith("#")]
        found = [pyrage.x25519.Identity.from_str(key) for key in keys]
    except (pyrage.DecryptError, WrongPassphrase):
        raise CannotDecrypt(f"the passphrase does not open {path}", "Type it again.") from None
    except (pyrage.IdentityError, UnicodeDecodeError):
        found = []
    if not found:
        raise ConfigurationError(
            f"{path} contains no private key of age, and none of OpenSSH",
            "Name the private key of a recipient: a file that age-keygen wrote, or an Ed25519 key "
            "that ssh-keygen wrote.",
        )
    return [Identity(each, path, str(each.to_public())) for each in found]


def _ssh_identity(content: bytes, path: Path, ask: AskPassphrase) -> Identity:
    """Return the identity of an OpenSSH key. Raise WrongPassphrase or ConfigurationError."""
    try:
        key = load_private_key(content + b"\n", str(path), ask)
    except NotAPrivateKey as error:
        raise ConfigurationError(
            f"{path} is an OpenSSH key in a form that cannot be read: {error}",
            "Use an Ed25519 key as ssh-keygen writes it, or one that `age -p` has encrypted.",
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(
            f"{path} is an OpenSSH key of another type than Ed25519",
            "Name the private key of a recipient: of SSH keys, only ssh-ed25519 can be one.",
        )
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    public_key = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return Identity(pyrage.ssh.Identity.from_buffer(plain), path, public_key)


class _Noted:
    """A stream for pyrage that keeps its own error: pyrage turns each error into text."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.error: BaseException | None = None

    def read(self, size: int) -> bytes:
        with self._noting():
            data: bytes = self._inner.read(size)
            return data

    def write(self, data: bytes) -> int:
        with self._noting():
            self._inner.write(data)
            return len(data)

    def flush(self) -> None:
        """Do nothing: the owner of the stream flushes it."""

    @contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.error = error
            raise


def encrypt(source: Reader, target: Writer, recipients: Sequence[Recipient]) -> None:
    """Encrypt a stream to all recipients. Raise the error of the stream that fails."""
    reader, writer = _Noted(source), _Noted(target)
    try:
        pyrage.encrypt_io(reader, writer, recipients)
    except (pyrage.EncryptError, OSError) as error:
        _raise_own(reader, writer)
        raise OperatorError(
            f"age cannot encrypt: {error}", "Report this: the recipients are valid."
        ) from None
    _raise_own(reader, writer)


def decrypt(
    source: Reader,
    target: Writer,
    identities: Sequence[Identity],
    part: str,
    recipients: Sequence[str] = (),
) -> None:
    """Decrypt a stream. Raise CannotDecrypt, Damaged, or a stream's error.

    ``part`` and ``recipients``: the stream's name and its recipients, if they are known, for
    errors. ``target`` gets data before all of the stream has been authenticated.
    """
    reader, writer = _Noted(source), _Noted(target)
    try:
        pyrage.decrypt_io(reader, writer, [each.key for each in identities])
    except (pyrage.DecryptError, OSError) as error:
        _raise_own(reader, writer)
        if NO_MATCH in str(error):
            given = _listed([f"{each.path} ({each.public_key})" for each in identities])
            raise CannotDecrypt(
                f"{part} is encrypted to other recipients than the given private keys: {given}",
                f"Give the private key of a recipient: {_listed(recipients)}."
                if recipients
                else "Give the private key of one of its recipients.",
            ) from None
        raise Damaged(
            f"{part} cannot be decrypted: {error}", "Use another backup: see `backup list`."
        ) from None
    _raise_own(reader, writer)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f", and {more} more" if more > 0 else "")


def _raise_own(reader: _Noted, writer: _Noted) -> None:
    """Raise a stream's own error. pyrage ignores an error of the last write."""
    own = reader.error or writer.error
    if own is not None:
        raise own from None
