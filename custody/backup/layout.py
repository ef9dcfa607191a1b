"""The layout of a backup file: a POSIX tar (IEEE 1003.1-2001, pax) whose every byte is determined.

Members in this order: the manifest, its signature, the parts. Mode, owner and time of a member are
fixed, so a reader computes each header and compares it. A stock ``tar`` unpacks the file too.
"""

import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from custody.backup import manifest as manifests
from custody.backup.errors import Damaged, NothingThere, NotReadable
from custody.backup.manifest import Manifest
from custody.runtime.regular_files import NotRegular, open_regular
from custody.wire.signed_bytes import DetachedSignature

MANIFEST = "manifest.json"
SIGNATURE = "manifest.signature.json"
MAX_DOCUMENT = 4 * 1024 * 1024
"""Largest manifest or signature, in bytes."""
BLOCK = tarfile.BLOCKSIZE
END = bytes(2 * BLOCK)
CHUNK = 1024 * 1024
"""Bytes of a part that are read, checked and passed on together."""

Advance = Callable[[int], None]
"""Told how many further bytes were read or written."""


def _header(name: str, size: int, time: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = size, time, 0o600
    return member.tobuf(tarfile.PAX_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % BLOCK)


def _time(manifest: Manifest) -> int:
    return int(manifest.created_at.timestamp())


def write(
    target: BinaryIO, manifest: Manifest, signature: bytes, parts: Mapping[str, Path]
) -> None:
    """Write a whole backup file. Raise OSError if a part is another one than the manifest says."""
    time, document = _time(manifest), manifests.encode(manifest)
    for name, content in ((MANIFEST, document), (SIGNATURE, signature)):
        target.write(_header(name, len(content), time) + content + _padding(len(content)))
    for part in manifest.parts:
        target.write(_header(part.name, part.size, time))
        digest = hashlib.sha256()
        with parts[part.name].open("rb") as source:
            while chunk := source.read(CHUNK):
                digest.update(chunk)
                target.write(chunk)
        if digest.hexdigest() != part.sha256:
            raise OSError(f"{parts[part.name]} was changed while the backup was made")
        target.write(_padding(part.size))
    target.write(END)


def signed_by(backup: "OpenBackup") -> str:
    """Return the id of the key that claims to have signed; ``check_signature`` proves it.

    Raise Damaged.
    """
    try:
        return DetachedSignature.model_validate_json(backup.signature).signing_key_id
    except ValidationError:
        raise _changed(backup.name) from None


@dataclass(frozen=True)
class OpenBackup:
    """A backup file whose headers are right. Its signature and its parts are not checked yet.

    All is read from one open file: another file of the same name cannot take its place after the
    check. The bytes of this file may still change. So ``check`` keeps the digest of each block, and
    ``part`` compares each block with it.
    """

    path: Path
    file: BinaryIO
    document: bytes
    signature: bytes
    manifest: Manifest
    offsets: Mapping[str, int]
    blocks: dict[str, list[bytes]] = field(default_factory=dict)
    """SHA-256 of each CHUNK of the parts whose checksum was right."""

    @property
    def name(self) -> str:
        return self.path.name

    def check(self, public_keys: Sequence[bytes], advance: Advance = lambda _: None) -> None:
        """Check signature, file name and the checksum of each part. Raise Damaged."""
        self.check_signature(public_keys)
        for part in self.manifest.parts:
            digest, blocks = hashlib.sha256(), []
            for block in self._stored(part.name):
                digest.update(block)
                blocks.append(hashlib.sha256(block).digest())
                advance(len(block))
            if digest.hexdigest() != part.sha256:
                raise Damaged(
                    f"{self.name}: the checksum of {part.name} is wrong: the file is damaged, or "
                    "the part is another backup's",
                    "Use another backup: see `backup list`. Check the disk that this file was on.",
                )
            self.blocks[part.name] = blocks

    def check_signature(self, public_keys: Sequence[bytes]) -> None:
        """Check who signed the manifest, and the name of the file. Raise Damaged."""
        manifests.check_signature(self.document, self.signature, public_keys, self.name)
        if self.manifest.file != self.name:
            raise Damaged(
                f"{self.name} contains the backup {self.manifest.file}, made at "
                f"{self.manifest.created_at.isoformat()}",
                "If you renamed the file, give it its name back. If not, somebody has replaced it.",
            )

    def part(self, name: str) -> "PartReader":
        """Return the encrypted bytes of a part, as a stream.

        After ``check`` the stream passes on no byte that differs from the checked part, also if the
        file was written to in between. Before ``check`` the bytes are what the file contains.
        """
        blocks, checked = self._stored(name), self.blocks.get(name)
        return PartReader(blocks if checked is None else self._unchanged(name, blocks, checked))

    def _stored(self, name: str) -> Iterator[bytes]:
        """Yield the blocks of a part: CHUNK bytes each, the last one fewer. Raise Damaged."""
        offset = self.offsets[name]
        end = offset + self.manifest.part(name).size
        while offset < end:
            block = _read_at(self.file, min(CHUNK, end - offset), offset, self.name)
            offset += len(block)
            yield block

    def _unchanged(
        self, name: str, blocks: Iterator[bytes], checked: Sequence[bytes]
    ) -> Iterator[bytes]:
        """Yield blocks that are still those that were checked. Raise Damaged."""
        for block, digest in zip(blocks, checked, strict=True):
            if hashlib.sha256(block).digest() != digest:
                raise Damaged(
                    f"{self.name}: {name} was changed after its checksum was checked",
                    "Find out who writes to this file. Use another backup, or copy the file to "
                    "where nobody else can write, and run the command again.",
                )
            yield block


class PartReader:
    """A stream of blocks."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._block = io.BytesIO()

    def read(self, size: int = CHUNK) -> bytes:
        """Return at most ``size`` bytes; none at the end. Raise Damaged."""
        if data := self._block.read(size):
            return data
        self._block = io.BytesIO(next(self._blocks, b""))
        return self._block.read(size)


@contextmanager
def open_backup(path: Path) -> Iterator[OpenBackup]:
    """Read the manifest and compare every byte between the parts; keep the file open.

    Raise NothingThere, NotReadable or Damaged.
    """
    try:
        file = open_regular(path)
    except FileNotFoundError:
        raise NothingThere(f"there is no file {path}", "See the backups: `backup list`.") from None
    except NotRegular as error:
        raise NothingThere(f"{path}: {error.strerror}", "Give the path of a backup file.") from None
    except OSError as error:
        raise NotReadable(
            f"cannot read {path}: {error.strerror}", "Run the command as the owner of the file."
        ) from None
    with file:
        yield _open(path, file)


def _open(path: Path, file: BinaryIO) -> OpenBackup:
    first = _read(file, BLOCK, path.name)
    document = _document(file, first, MANIFEST, path.name)
    manifest = manifests.decode(document, path.name)
    time = _time(manifest)
    if first != _header(MANIFEST, len(document), time):
        raise _changed(path.name)
    block = _read(file, BLOCK, path.name)
    signature = _document(file, block, SIGNATURE, path.name)
    if block != _header(SIGNATURE, len(signature), time):
        raise _changed(path.name)
    offsets, end = {}, os.fstat(file.fileno()).st_size
    for part in manifest.parts:
        _expect(file, _header(part.name, part.size, time), path.name)
        offsets[part.name] = file.tell()
        if part.size > end - file.tell():  # a seek refuses a number that is too large
            raise _cut_off(path.name)
        file.seek(part.size, 1)
        _expect(file, _padding(part.size), path.name)
    _expect(file, END, path.name)
    if file.read(1):
        raise _changed(path.name)
    return OpenBackup(path, file, document, signature, manifest, offsets)


def _document(file: BinaryIO, header: bytes, name: str, backup: str) -> bytes:
    try:
        member = tarfile.TarInfo.frombuf(header, "utf-8", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError):
        raise _changed(backup) from None
    if member.name != name or not 0 < member.size <= MAX_DOCUMENT:
        raise _changed(backup)
    content = _read(file, member.size, backup)
    _expect(file, _padding(member.size), backup)
    return content


def _read(file: BinaryIO, size: int, backup: str) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise _cut_off(backup)
    return data


def _read_at(file: BinaryIO, size: int, offset: int, backup: str) -> bytes:
    """Return exactly ``size`` bytes: one ``pread`` may return fewer. Raise Damaged."""
    content = b""
    while len(content) < size:
        data = os.pread(file.fileno(), size - len(content), offset + len(content))
        if not data:
            raise _cut_off(backup)
        content += data
    return content


def _expect(file: BinaryIO, expected: bytes, backup: str) -> None:
    if _read(file, len(expected), backup) != expected:
        raise _changed(backup)


def _cut_off(name: str) -> Damaged:
    return Damaged(
        f"{name} is cut off: it ends before its last part does",
        "Use another backup: see `backup list`. If this is a copy, copy the file again.",
    )


def _changed(name: str) -> Damaged:
    return Damaged(
        f"{name} is not a backup, or was changed after it was made",
        "Use another backup: see `backup list`.",
    )
