"""The manifest: what a backup contains, signed by the key of the node that made it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, ValidationError

from custody.backup.errors import Damaged
from custody.wire.audit import AuditHead
from custody.wire.encoding import Model
from custody.wire.signed_bytes import (
    BACKUP_TYPE,
    BadSignedBytes,
    DetachedSignature,
    PinnedKeys,
    SigningKey,
)

FORMAT = 1
DATABASE = "database.dump.age"
FILES = "files.tar.age"
PARTS = (DATABASE, FILES)
"""The names of the parts, in their order in the file."""
SUFFIX = ".backup"

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Size = Annotated[int, Field(ge=0, lt=2**63)]


class Part(Model):
    """Sizes in bytes, and SHA-256, of a part, as stored and before encryption."""

    name: str
    size: Size
    sha256: Digest
    plain_size: Size
    plain_sha256: Digest


class Manifest(Model):
    """The facts of a backup. It is not encrypted, and contains no secret."""

    format: Literal[1]
    program: str
    node: str
    group: str | None
    product_version: str
    created_at: AwareDatetime
    file: str
    """The file's name: an old backup under a newer one's name is found."""
    schema_revision: str
    counts: dict[str, Annotated[int, Field(ge=0)]]
    """Rows of each table."""
    audit_head: AuditHead | None
    """The last record of the node's audit chain; the control plane has no chain."""
    check_values: dict[str, str]
    """Of the master keys or encryption keys that the database knows, by the key's id."""
    recipients: tuple[str, ...]
    parts: tuple[Part, ...]

    def part(self, name: str) -> Part:
        return next(part for part in self.parts if part.name == name)


def file_name(program: str, node: str, created_at: datetime) -> str:
    """Return the name of a backup file; names sort by time."""
    whose = program if node == program else f"{program}-{node}"
    return f"{whose}-{created_at:%Y%m%dT%H%M%SZ}{SUFFIX}"


def encode(manifest: Manifest) -> bytes:
    """Return the bytes that are signed and stored: JSON for people, one field a line."""
    return manifest.model_dump_json(indent=1).encode()


def decode(content: bytes, name: str) -> Manifest:
    """Return a manifest whose signature has not been checked. Raise Damaged."""
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        raise Damaged(
            f"{name}: the manifest is malformed ({error.error_count()} faults)",
            "Use another backup: see `backup list`. A newer format needs a newer version.",
        ) from None
    if tuple(part.name for part in manifest.parts) != PARTS or encode(manifest) != content:
        raise Damaged(
            f"{name}: the manifest is not one that this program writes",
            "Use another backup: see `backup list`.",
        )
    return manifest


def sign(content: bytes, signer: SigningKey) -> bytes:
    """Return the signature's document."""
    signed = signer.sign(BACKUP_TYPE, content)
    detached = DetachedSignature(signature=signed.signature, signing_key_id=signed.signing_key_id)
    return detached.model_dump_json().encode()


def check_signature(
    content: bytes, document: bytes, public_keys: Sequence[bytes], name: str
) -> None:
    """Raise Damaged unless one of the keys has signed these bytes of a manifest."""
    try:
        detached = DetachedSignature.model_validate_json(document)
        PinnedKeys(list(public_keys)).open(BACKUP_TYPE, detached.of(content))
    except (ValidationError, BadSignedBytes) as error:
        why = "it is malformed" if isinstance(error, ValidationError) else str(error)
        raise Damaged(
            f"{name}: the signature of the manifest is not this node's: {why}",
            "Use a backup that this node made. A node that got a new identity key since gives the "
            "old public key: --node-key.",
        ) from None
    if detached.model_dump_json().encode() != document:
        raise Damaged(f"{name}: the signature's document was changed", "Use another backup.")
