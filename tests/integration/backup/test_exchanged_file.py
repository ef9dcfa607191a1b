"""A backup that changes between its check and its use: never restored, not even in part."""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import psycopg
import pyrage
import pytest

from custody.backup import layout, verification
from custody.backup.creation import create
from custody.backup.daemon import Daemon
from custody.backup.errors import Damaged, NothingThere
from custody.backup.manifest import DATABASE, FILES, encode, sign
from custody.backup.postgres import _Restore, find_tool, restoring
from custody.backup.restoration import restore, restore_files
from tests.integration.backup.conftest import KEYS, DriverHost, no_progress
from tests.integration.backup.test_restore import identities, tables

BLOCK = 8192
"""What age passes on at once, in bytes."""


def after_the_checksums(change: Callable[[], object]) -> Callable[..., None]:
    """Return a progress display that calls ``change`` once, when the last checksum is right."""
    changed: list[object] = []

    def advance(step: str, done: int, total: int | None, /, *, is_bytes: bool = False) -> None:
        if step == "checksums" and done == total and not changed:
            changed.append(change())

    return advance


def with_dump(daemon: Daemon, path: Path, folder: Path, plain: bytes, recipient: str) -> None:
    """Let the node itself make the backup of another dump, for one recipient."""
    stored = pyrage.encrypt(plain, [pyrage.x25519.Recipient.from_str(recipient)])
    changes = {
        "size": len(stored),
        "sha256": sha256(stored).hexdigest(),
        "plain_size": len(plain),
        "plain_sha256": sha256(plain).hexdigest(),
    }
    with_other_facts(daemon, path, folder, stored, **changes)


def with_other_facts(
    daemon: Daemon, path: Path, folder: Path, stored: bytes | None = None, **changes: object
) -> None:
    """Let the node itself sign another manifest about the part with the database.

    ``stored``: another part in its place.
    """
    with layout.open_backup(path) as opened:
        parts = {}
        for name in (DATABASE, FILES):
            part = opened.part(name)
            (folder / name).write_bytes(part.read(opened.manifest.part(name).size))
            parts[name] = folder / name
    if stored is not None:
        parts[DATABASE].write_bytes(stored)
    database = opened.manifest.part(DATABASE).model_copy(update=changes)
    manifest = opened.manifest.model_copy(update={"parts": (database, opened.manifest.part(FILES))})
    with path.open("wb") as target:
        layout.write(target, manifest, sign(encode(manifest), daemon.signer), parts)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> bytearray:
    """Return what pg_restore is given."""
    noted, write = bytearray(), _Restore.write

    def note(restore: _Restore, data: bytes) -> int:
        noted.extend(data)
        return write(restore, data)

    monkeypatch.setattr(_Restore, "write", note)
    return noted


@pytest.mark.parametrize("changes", [{"plain_sha256": "0" * 64}, {"plain_size": 1}])
def test_a_dump_that_differs_from_the_manifest_is_not_committed(
    changes, given, driver_host: DriverHost, daemon: Daemon, backup: Path, empty_database: str,
    tmp_path: Path,
):  # fmt: skip
    """pg_restore would see nothing wrong, and commit with the last byte."""
    dump = dump_of(backup, driver_host.identity)
    with_other_facts(daemon, backup, tmp_path, **changes)
    target = replace(daemon, database_url=empty_database)
    key = identities(driver_host.identity)
    with pytest.raises(Damaged, match="other bytes"):
        restore(target, backup, key, daemon.believed, no_progress)
    assert len(given) < len(dump)
    assert tables(empty_database) == 0


def test_files_that_are_too_large_are_not_decrypted(
    driver_host: DriverHost, backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(verification, "MAX_TAR", 1000)
    monkeypatch.setattr(verification, "decrypt", None)
    with pytest.raises(Damaged, match="too many for its files"):
        restore_files(backup, identities(driver_host.identity), None, tmp_path / "files")


@pytest.mark.parametrize("change", ["last chunk", "cut off", "cut in the middle"])
def test_a_file_that_is_changed_after_the_check_is_not_committed(
    change: str, driver_host: DriverHost, daemon: Daemon, backup: Path, empty_database: str
):
    with layout.open_backup(backup) as opened:
        start, size = opened.offsets[DATABASE], opened.manifest.part(DATABASE).size

    def damage() -> None:
        with backup.open("r+b") as file:
            if change == "last chunk":
                file.seek(start + size - 1)
                last = file.read(1)[0]
                file.seek(start + size - 1)
                file.write(bytes([last ^ 1]))
            else:
                file.truncate(start + (size - 1 if change == "cut off" else size // 2))

    target = replace(daemon, database_url=empty_database)
    key = identities(driver_host.identity)
    with pytest.raises(Damaged):
        restore(target, backup, key, daemon.believed, after_the_checksums(damage))
    assert tables(empty_database) == 0


def test_a_file_that_is_replaced_after_the_check_is_not_read(
    driver_host: DriverHost, daemon: Daemon, backup: Path, empty_database: str, tmp_path: Path
):
    """The file that was checked is restored, although its name belongs to another one now."""
    other = create(daemon, no_progress).path
    with_other_facts(daemon, other, tmp_path, plain_size=1)
    target = replace(daemon, database_url=empty_database)
    key = identities(driver_host.identity)
    advance = after_the_checksums(lambda: shutil.move(other, backup))
    assert restore(target, backup, key, daemon.believed, advance).findings == []
    with psycopg.connect(empty_database) as connection:
        (count,) = connection.execute("SELECT count(*) FROM wrapped_keys").fetchone() or (0,)
    assert count == KEYS


def hostile_dump(url: str) -> bytes:
    """Return a complete dump with one table. Leave the database empty."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE hostile AS SELECT 1 AS number")
        command = [str(find_tool("pg_dump")), "--format=custom", f"--dbname={url}"]
        dump = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
        connection.execute("DROP TABLE hostile")
    return dump


def encrypted_to(recipient: str, plain: bytes, size: int) -> bytes:
    """Encrypt with age until the result has this size: age adds up to some 150 random bytes."""
    for _ in range(20_000):
        encrypted = pyrage.encrypt(plain, [pyrage.x25519.Recipient.from_str(recipient)])
        if len(encrypted) == size:
            return bytes(encrypted)
    raise AssertionError("age never made a file of this size")


def test_a_part_that_is_exchanged_in_place_after_the_check_is_not_restored(
    given: bytearray, driver_host: DriverHost, daemon: Daemon, backup: Path, empty_database: str,
    tmp_path: Path,
):  # fmt: skip
    """pg_restore commits at the end of the dump, and does not wait for the padding after it."""
    key = identities(driver_host.identity)
    hostile = hostile_dump(empty_database)
    plain = dump_of(backup, driver_host.identity)
    plain += bytes(len(hostile) + 2 * BLOCK)  # as the dump of a larger database
    with_dump(daemon, backup, tmp_path, plain, key[0].public_key)
    with layout.open_backup(backup) as opened:
        start, size = opened.offsets[DATABASE], opened.manifest.part(DATABASE).size
    other = encrypted_to(key[0].public_key, hostile.ljust(len(plain), b"\0"), size)

    def exchange() -> None:
        with backup.open("r+b") as file:
            file.seek(start)
            file.write(other)

    target = replace(daemon, database_url=empty_database)
    with pytest.raises(Damaged, match="after its checksum was checked"):
        restore(target, backup, key, daemon.believed, after_the_checksums(exchange))
    assert tables(empty_database) == 0
    assert given == b""


def dump_of(path: Path, identity: Path) -> bytes:
    """Return the decrypted dump of a backup."""
    with layout.open_backup(path) as opened:
        encrypted = opened.part(DATABASE).read(opened.manifest.part(DATABASE).size)
    return bytes(pyrage.decrypt(encrypted, [each.key for each in identities(identity)]))


def test_pg_restore_commits_nothing_before_the_last_byte(
    driver_host: DriverHost, backup: Path, empty_database: str
):
    """It does not wait for the end of its input: so the last block must be withheld."""
    dump = dump_of(backup, driver_host.identity)

    def fail() -> None:
        with restoring(empty_database) as target:
            target.write(dump[:-1])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert tables(empty_database) == 0


def test_a_restore_that_fails_ends_before_its_input_does(driver_host: DriverHost):
    """Otherwise pg_restore could take what it got for the whole dump."""
    had_ended = []

    def fail() -> None:
        with restoring(driver_host.url) as target:
            process, close = target._process, target._stream.close

            def noted() -> None:
                had_ended.append(process.returncode is not None)
                close()

            target._stream.close = noted  # type: ignore[method-assign]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert had_ended == [True]


def test_a_pipe_in_a_backups_place_is_not_waited_for(daemon: Daemon, backup: Path):
    backup.unlink()
    os.mkfifo(backup)
    with pytest.raises(NothingThere, match="named pipe"), layout.open_backup(backup):
        pass
