"""The backup of a signer's encryption keys: one age file, apart from every backup of the database.

The file contains a JSON document, so the stock `age` tool and a JSON reader give the keys back. The
document has each key with its check value, and a confirmation code. Only a person who has decrypted
this very file knows the code.
"""

import hashlib
import io
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, ValidationError

from custody.backup.age import AGE_FILE, Identity, decrypt, encrypt, parse_recipients
from custody.backup.errors import CannotDecrypt, Damaged, NothingThere
from custody.backup.layout import MANIFEST
from custody.runtime.errors import ConfigurationError
from custody.runtime.regular_files import open_regular
from custody.wire.encoding import Base64Bytes, HexBytes, Model
from custody.wire.nodes import NodeId
from custody.wire.strict_json import NotStrictJson, parse_json
from mpc.layer4.canary import is_canary
from mpc.shares.encryption_key import ID_SIZE, KEY_SIZE, FileKey, read_key

CODE_BYTES = 16
MAX_FILE = 1024 * 1024
"""Largest file, in bytes."""
MAX_KEYS = 256
FORMAT_FAMILY = "custody-encryption-key-backup-"
WHERE = "[encryption] backup_recipients"


class BackedUpKey(Model):
    """One encryption key. ``file``: the name of its file, for people."""

    id: Annotated[str, Field(pattern=rf"^[0-9a-f]{{{ID_SIZE}}}$")]
    check_value: Annotated[HexBytes, Field(min_length=32, max_length=32)]
    file: Annotated[str, Field(max_length=255)]
    key: Annotated[Base64Bytes, Field(min_length=KEY_SIZE, max_length=KEY_SIZE, repr=False)]


class KeyBackup(Model):
    """The decrypted document. ``keys``: first that of key_file, then those of other_key_files."""

    format: Literal["custody-encryption-key-backup-v1"]
    node: NodeId
    created_at: AwareDatetime
    confirmation_code: Annotated[str, Field(max_length=2 * CODE_BYTES, repr=False)]
    keys: Annotated[tuple[BackedUpKey, ...], Field(min_length=1, max_length=MAX_KEYS)]

    @property
    def code_digest(self) -> bytes:
        return digest_of_code(self.confirmation_code)


def digest_of_code(code: str) -> bytes:
    """Return what the database keeps of a confirmation code."""
    return hashlib.sha256(code.strip().lower().encode()).digest()


def backup_of(node: str, paths: Sequence[Path]) -> KeyBackup:
    """Return the document for the keys in these files. Raise ConfigurationError."""
    keys = []
    for path in paths:
        key = read_key(path)
        file_key = FileKey(key, str(path))
        keys.append(
            BackedUpKey(id=file_key.id, check_value=file_key.check_value, file=path.name, key=key)
        )
    return KeyBackup(
        format="custody-encryption-key-backup-v1",
        node=node,
        created_at=datetime.now(UTC).replace(microsecond=0),
        confirmation_code=secrets.token_hex(CODE_BYTES),
        keys=tuple(keys),
    )


def sealed(backup: KeyBackup, recipients: Sequence[str]) -> bytes:
    """Return the document, encrypted to all recipients. Raise ConfigurationError."""
    target = io.BytesIO()
    encrypt(
        io.BytesIO(backup.model_dump_json(indent=1).encode() + b"\n"),
        target,
        parse_recipients(recipients, WHERE),
    )
    return target.getvalue()


def open_backup(path: Path, identities: Sequence[Identity]) -> KeyBackup:
    """Decrypt a backup, and compute each check value again.

    Raise NothingThere, Damaged or CannotDecrypt.
    """
    content = _read(path)
    if not content.startswith(AGE_FILE):
        raise _another_file(path, *_kind_of_file(content))
    target = io.BytesIO()
    try:
        decrypt(io.BytesIO(content), target, identities, str(path))
    except CannotDecrypt as error:
        raise CannotDecrypt(
            error.what,
            "Give the private key of one of the recipients that [encryption] backup_recipients had "
            "when the file was made. It is another one than for the backups of the database.",
        ) from None
    except Damaged as error:
        raise Damaged(error.what, "Use another copy of this file.") from None
    try:
        backup = KeyBackup.model_validate_json(target.getvalue())
    except ValidationError:
        raise _another_file(path, *_kind_of_document(target.getvalue())) from None
    for each in backup.keys:
        key = FileKey(each.key, each.file)
        if (key.id, key.check_value) != (each.id, each.check_value):
            raise Damaged(
                f"{path}: the key {each.id} has another check value than the file says",
                "Use another copy of this file.",
            )
    return backup


def _read(path: Path) -> bytes:
    """Return the file, or the beginning of a file that is too large. Raise OperatorError."""
    try:
        with open_regular(path) as file:
            content = file.read(MAX_FILE + 1)
    except FileNotFoundError:
        raise NothingThere(f"there is no file {path}", "Name the backup's file.") from None
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {path}: {error.strerror}", "Correct that, or name another copy."
        ) from None
    if len(content) > MAX_FILE and content.startswith(AGE_FILE):
        raise _another_file(path, f"an age file with more than {MAX_FILE} bytes")
    return content


def _another_file(path: Path, found: str, todo: str = "") -> Damaged:
    return Damaged(
        f"{path} is not a backup of encryption keys: it is {found}",
        f"Name the file that mpc-signer encryption-key backup wrote. {todo}".rstrip(),
    )


def _kind_of_file(content: bytes) -> tuple[str, str]:
    """Return what a file that is not encrypted with age is, and what to do with it."""
    if content.startswith(MANIFEST.encode()):
        return "a backup of a database and its files", "For this one run: mpc-signer backup verify"
    if content.startswith((b"AGE-SECRET-KEY", b"# created:")) or b"PRIVATE KEY-----" in content:
        return "a private key", "A private key is named with --identity."
    if not content:
        return "empty", ""
    return "not encrypted with age", ""


def _kind_of_document(document: bytes) -> tuple[str, str]:
    """Return what was found in an age file, and what to do with it. The contents may be secret."""
    if is_canary(document):
        return "a canary of Layer 4", ""
    if document.startswith(b"PGDMP"):
        return "the dump of a database, out of a backup", ""
    try:
        found = parse_json(document)
    except NotStrictJson:
        found = None
    if isinstance(found, dict) and {"payload", "signature"} <= found.keys():
        return "a share copy of Layer 4", "For share copies run: mpc-recover inspect"
    if isinstance(found, dict) and str(found.get("format")).startswith(FORMAT_FAMILY):
        return (
            "a backup that this version cannot read",
            "Use another copy, or the version that wrote it.",
        )
    return "an age file with something else", ""


def same_recipients(first: Sequence[str], second: Sequence[str]) -> list[str]:
    """Return the recipients that are in both lists; an SSH key's comment does not count."""
    others = {_canonical(text) for text in second}
    return [text for text in first if _canonical(text) in others]


def _canonical(text: str) -> str:
    words = text.split()
    if words and words[0].startswith("ssh-"):
        return " ".join(words[:2])
    return text.strip().lower()
