"""A backup file of an attacker: refused as damage, and nothing is written."""

import hashlib
import io
import random
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from custody.backup import layout
from custody.backup import manifest as manifests
from custody.backup.age import Identity
from custody.backup.errors import BackupError, Damaged
from custody.backup.manifest import DATABASE, FILES, Manifest, Part
from custody.backup.restoration import restore_files
from custody.wire.signed_bytes import SigningKey
from tests.unit.backup.test_files import HOSTILE, member, tar

ATTACKER = Ed25519PrivateKey.from_private_bytes(bytes([3]) * 32)
NAME = "hsm-driver-zurich-1.backup"


@pytest.fixture(scope="module")
def operator() -> Identity:
    """The operator's key. Everybody may know its public half, and can encrypt to it."""
    key = pyrage.x25519.Identity.generate()
    return Identity(key, Path("key"), str(key.to_public()))


def part(name: str, content: bytes = b"", plain: bytes = b"", **changes: object) -> Part:
    facts = {
        "name": name,
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "plain_size": len(plain),
        "plain_sha256": hashlib.sha256(plain).hexdigest(),
    }
    return Part.model_validate(facts | changes)


def manifest(*parts: Part, **changes: object) -> Manifest:
    facts = {
        "format": 1,
        "program": "hsm-driver",
        "node": "zurich-1",
        "group": None,
        "product_version": "1",
        "created_at": datetime(2026, 11, 27, tzinfo=UTC),
        "file": NAME,
        "schema_revision": "1",
        "counts": {},
        "audit_head": None,
        "check_values": {},
        "recipients": (),
        "parts": parts or (part(DATABASE), part(FILES)),
    }
    return Manifest.model_validate(facts | changes)


def written(path: Path, made: Manifest, signature: bytes | None = None) -> Path:
    """Write a file whose headers are right, and whose parts are empty."""
    signature = signature or manifests.sign(manifests.encode(made), SigningKey(ATTACKER))
    time, document = int(made.created_at.timestamp()), manifests.encode(made)
    with path.open("wb") as file:
        for name, content in ((layout.MANIFEST, document), (layout.SIGNATURE, signature)):
            file.write(layout._header(name, len(content), time) + content)
            file.write(layout._padding(len(content)))
        for each in made.parts:
            file.write(layout._header(each.name, each.size, time))
        file.write(layout.END)
    return path


@pytest.mark.parametrize("size", [2**63 - 1, 2**62, 2**33, 1])
def test_a_part_that_is_larger_than_the_file_is_cut_off(size: int, tmp_path: Path):
    made = manifest(part(DATABASE, size=size), part(FILES))
    with pytest.raises(Damaged), layout.open_backup(written(tmp_path / NAME, made)):
        pass


@pytest.mark.parametrize(
    "created_at",
    [
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
        datetime(9999, 12, 31, tzinfo=timezone(-timedelta(hours=14))),
    ],
)
def test_a_time_that_no_header_can_hold_is_damage(created_at: datetime, tmp_path: Path):
    path = written(tmp_path / NAME, manifest(created_at=created_at))
    with pytest.raises(Damaged), layout.open_backup(path):
        pass


@pytest.mark.parametrize("signature", [b"{}", b"[" * 10_000, b"\xff", b"null"])
def test_a_malformed_signature_is_damage(signature: bytes, operator: Identity, tmp_path: Path):
    path = written(tmp_path / NAME, manifest(), signature)
    with layout.open_backup(path) as opened, pytest.raises(Damaged):
        opened.check([ATTACKER.public_key().public_bytes_raw()])
    with layout.open_backup(path) as opened, pytest.raises(Damaged):
        layout.signed_by(opened)
    with pytest.raises(BackupError):
        restore_files(path, [operator], None, tmp_path / "files")


def test_changed_bytes_raise_no_other_error(tmp_path: Path):
    path = written(tmp_path / NAME, manifest())
    good, chance = path.read_bytes(), random.Random(1)
    for _ in range(300):
        content = bytearray(good)
        for _ in range(chance.choice([1, 2, 5, 20])):
            content[chance.randrange(600)] = chance.randrange(256)
        path.write_bytes(content)
        if content != good:
            with pytest.raises(Damaged), layout.open_backup(path) as opened:
                opened.check([ATTACKER.public_key().public_bytes_raw()])


def forged(path: Path, files: bytes, operator: Identity) -> Path:
    """Write a whole backup that the attacker has signed and encrypted to the operator."""
    parts = {}
    for name, plain in ((DATABASE, b"PGDMP"), (FILES, files)):
        stored = pyrage.encrypt(plain, [operator.key.to_public()])
        (path.parent / name).write_bytes(stored)
        parts[name] = part(name, stored, plain)
    made = manifest(*parts.values())
    signature = manifests.sign(manifests.encode(made), SigningKey(ATTACKER))
    with path.open("wb") as target:
        layout.write(target, made, signature, {name: path.parent / name for name in parts})
    return path


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_of_a_forged_backup_are_not_written(
    kind: str, operator: Identity, tmp_path: Path
):
    path = forged(tmp_path / NAME, HOSTILE[kind](), operator)
    with pytest.raises(Damaged, match="is damaged"):
        restore_files(path, [operator], None, tmp_path / "files")
    assert not (tmp_path / "files").exists()


def test_a_forged_backup_with_plain_files_shows_who_signed_it(operator: Identity, tmp_path: Path):
    """It proves that it is whole, and not whose it is: the command says so."""
    key = ATTACKER.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    made = io.BytesIO(tar(member("identity.pem", len(key))))
    content = made.getvalue().replace(b"x" * len(key), key)
    path = forged(tmp_path / NAME, content, operator)
    paths, signed_by = restore_files(path, [operator], None, tmp_path / "files")
    assert [each.name for each in paths] == ["identity.pem"]
    assert signed_by == SigningKey(ATTACKER).key_id
    other = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    with pytest.raises(Damaged, match="is not this node's"):
        restore_files(path, [operator], other, tmp_path / "other")


def test_a_checked_part_passes_on_nothing_but_the_blocks_that_were_checked(
    operator: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(layout, "CHUNK", 100)
    path = forged(tmp_path / NAME, bytes(1000), operator)
    stored = (tmp_path / FILES).read_bytes()
    with layout.open_backup(path) as opened:
        opened.check([ATTACKER.public_key().public_bytes_raw()])
        assert all_of(opened.part(FILES)) == stored
        with path.open("r+b") as file:
            file.seek(opened.offsets[FILES] + 250)
            file.write(bytes([stored[250] ^ 1]))
        source = opened.part(FILES)
        assert b"".join(source.read(70) for _ in range(4)) == stored[:200]
        with pytest.raises(Damaged, match="after its checksum was checked"):
            source.read(70)
        assert opened.part(DATABASE).read() == (tmp_path / DATABASE).read_bytes()[:100]


def all_of(source: layout.PartReader) -> bytes:
    return b"".join(iter(lambda: source.read(70), b""))
