"""Backups of a driver: what is in them, what `verify` proves, and what it finds."""

import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from custody.backup import layout, scratch
from custody.backup.creation import create
from custody.backup.daemon import Daemon
from custody.backup.errors import CannotDecrypt, Damaged, NotGood
from custody.backup.folder import BackupFolder
from custody.backup.history import BackupHistory
from custody.backup.manifest import DATABASE, FILES, encode, sign
from custody.pkcs11.token_section import OtherTokenSection
from custody.runtime.configuration import write_secret
from custody.runtime.errors import OperatorError
from devstack.service import command
from hsm_driver.backup import daemon_of
from tests.commands import run_command
from tests.integration.backup.conftest import (
    KEYS,
    DriverHost,
    Progress,
    no_progress,
    verify_with,
)


def scratch_databases(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT datname FROM pg_database WHERE datname ~ '_scratch_'")
        return [row[0] for row in rows]


def test_a_backup_is_found_good_and_the_scratch_database_is_dropped(
    driver_host: DriverHost, daemon: Daemon, backup: Path
):
    found = verify_with(daemon, backup, driver_host.identity)
    assert found.findings == []
    assert (found.tried, found.in_all) == (KEYS, KEYS)
    assert scratch_databases(driver_host.url) == []
    (fact,) = BackupHistory(daemon.state_directory).verified()
    assert (fact.file, fact.tried) == (backup.name, KEYS)


def test_a_sample_tries_so_many_keys(driver_host: DriverHost, daemon: Daemon, backup: Path):
    found = verify_with(daemon, backup, driver_host.identity, sample=1)
    assert (found.tried, found.in_all, found.findings) == (1, KEYS, [])


@pytest.mark.parametrize("sample", [1, KEYS + 1, None])
def test_progress_counts_keys_and_comes_to_its_total(
    driver_host: DriverHost, daemon: Daemon, backup: Path, sample: int | None
):
    progress = Progress()

    verify_with(daemon, backup, driver_host.identity, sample=sample, advance=progress)
    tried = min(sample or KEYS, KEYS)
    assert progress.last["keys"] == (tried, tried, False)
    assert progress.last["checksums"][2], "bytes"


def test_the_file_is_a_tar_that_stock_tools_open(
    driver_host: DriverHost, backup: Path, tmp_path: Path
):
    """In ten years nobody needs this program: tar, age and pg_restore are enough."""
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    subprocess.run(["tar", "-xf", backup, "-C", tmp_path], check=True)
    plain = tmp_path / "plain"
    age: list[str | Path] = ["age", "--decrypt", "--output", plain, "--identity"]
    age.append(driver_host.identity)
    subprocess.run([*age, tmp_path / DATABASE], check=True)
    listed = subprocess.run(["pg_restore", "--list", plain], check=True, capture_output=True)
    assert b"wrapped_keys" in listed.stdout


def test_the_files_are_in_it_and_the_pin_is_not(
    driver_host: DriverHost, backup: Path, tmp_path: Path
):
    subprocess.run(["tar", "-xf", backup, "-C", tmp_path], check=True)
    plain = tmp_path / "files.tar"
    age: list[str | Path] = ["age", "--decrypt", "--output", plain, "--identity"]
    age.append(driver_host.identity)
    subprocess.run([*age, tmp_path / FILES], check=True)
    with tarfile.open(plain) as archive:
        names = archive.getnames()
    assert sorted(names) == [
        "hsm-driver.toml", "identity.pem", "tls/ca.pem", "tls/certificate.pem",
        "tls/private_key.pem",
    ]  # fmt: skip
    pin = driver_host.settings.hsm.pin_file
    assert pin is not None
    assert pin.read_bytes() not in plain.read_bytes()


def test_a_pin_that_is_configured_as_another_file_is_refused(driver_host: DriverHost):
    daemon = driver_host.daemon
    with pytest.raises(OperatorError, match="PIN or an encryption key"):
        create(replace(daemon, files=(*daemon.files, *daemon.secrets)), no_progress)


def test_the_pin_of_another_token_is_refused_too(driver_host: DriverHost, tmp_path: Path):
    pin_file = tmp_path / "second.pin"
    write_secret(pin_file, b"123456")
    settings = driver_host.settings
    second = OtherTokenSection(token_label="second", pin_file=pin_file)
    configured = settings.model_copy(
        update={
            "hsm": settings.hsm.model_copy(update={"other_tokens": (second,)}),
            "control_plane": settings.control_plane.model_copy(update={"crl": pin_file}),
        }
    )
    with pytest.raises(OperatorError, match="PIN or an encryption key"):
        create(daemon_of(configured, driver_host.config), no_progress)


def cut_positions(path: Path) -> list[int]:
    """Return sizes at which a file can be cut off: before, in and after each member."""
    with layout.open_backup(path) as backup:
        ends: list[int] = []
    for part in backup.manifest.parts:
        start = backup.offsets[part.name]
        ends += [start - 512, start, start + part.size // 2, start + part.size]
    size = path.stat().st_size
    return [0, 100, 512, 513, *ends, size - 1024, size - 512, size - 1]


def test_a_file_that_is_cut_off_anywhere_is_damaged(
    driver_host: DriverHost, daemon: Daemon, backup: Path
):
    content = backup.read_bytes()
    for size in cut_positions(backup):
        backup.write_bytes(content[:size])
        with pytest.raises(Damaged):
            verify_with(daemon, backup, driver_host.identity)
        (listed,) = BackupFolder(daemon).listed()
        assert listed.problem is not None, size
    assert BackupHistory(daemon.state_directory).verified() == ()


def test_a_flipped_bit_anywhere_is_damage(daemon: Daemon, backup: Path):
    """In headers, manifest, signature, parts and padding."""
    content = bytearray(backup.read_bytes())
    public_key = daemon.signer.public_key
    with layout.open_backup(backup) as opened:
        first = range(opened.offsets[DATABASE] + 600)
    for place in {*first[::7], *range(0, len(content), 499), len(content) - 1}:
        content[place] ^= 1
        backup.write_bytes(content)
        content[place] ^= 1
        with pytest.raises(Damaged), layout.open_backup(backup) as opened:
            opened.check([public_key])


def test_parts_of_two_backups_cannot_be_swapped(
    driver_host: DriverHost, daemon: Daemon, backup: Path, tmp_path: Path
):
    other = create(daemon, no_progress).path
    mixed = tmp_path / backup.name
    parts, opened_backups = {}, {}
    for name, source in ((DATABASE, other), (FILES, backup)):
        with layout.open_backup(source) as opened:
            part = opened.part(name)
            (tmp_path / name).write_bytes(part.read(opened.manifest.part(name).size))
        parts[name] = tmp_path / name
        opened_backups[name] = opened
    manifest = opened_backups[FILES].manifest
    stated = opened_backups[DATABASE].manifest
    # the sizes are those of the parts, so that only the signature and the checksums differ
    forged = manifest.model_copy(update={"parts": (stated.part(DATABASE), manifest.part(FILES))})
    with mixed.open("wb") as target:
        layout.write(target, forged, opened_backups[FILES].signature, parts)
    with pytest.raises(Damaged, match="signature"):
        verify_with(daemon, mixed, driver_host.identity)


def test_an_older_backup_in_the_newer_ones_place_is_found(
    driver_host: DriverHost, daemon: Daemon, backup: Path
):
    newer = create(daemon, no_progress).path
    shutil.copy2(backup, newer)
    with pytest.raises(Damaged, match=f"contains the backup {backup.name}"):
        verify_with(daemon, newer, driver_host.identity)


def test_a_missing_newest_backup_is_noticed(daemon: Daemon, backup: Path):
    create(daemon, no_progress).path.unlink()
    with pytest.raises(OperatorError, match="the last backup made here"):
        BackupFolder(daemon).newest()


def test_a_private_key_of_nobody_it_was_encrypted_to_does_not_open_it(
    driver_host: DriverHost, daemon: Daemon, backup: Path
):
    with pytest.raises(CannotDecrypt):
        verify_with(daemon, backup, driver_host.stranger)
    assert scratch_databases(driver_host.url) == []


def test_another_nodes_signature_is_refused(
    driver_host: DriverHost, daemon: Daemon, backup: Path, tmp_path: Path
):
    from custody.runtime.signing_key import create_signing_key

    other = replace(daemon, signer=create_signing_key(tmp_path / "other.pem"))
    with pytest.raises(Damaged, match="is not this node's"):
        verify_with(other, backup, driver_host.identity)


def test_a_manifest_that_counts_other_rows_is_not_good(
    driver_host: DriverHost, daemon: Daemon, backup: Path, tmp_path: Path
):
    """The node itself signed wrong counts: as if the dump had lost a row."""
    parts = {}
    with layout.open_backup(backup) as opened:
        for name in (DATABASE, FILES):
            part = opened.part(name)
            (tmp_path / name).write_bytes(part.read(opened.manifest.part(name).size))
            parts[name] = tmp_path / name
    counts = opened.manifest.counts | {"wrapped_keys": KEYS + 1}
    manifest = opened.manifest.model_copy(update={"counts": counts})
    with backup.open("wb") as target:
        layout.write(target, manifest, sign(encode(manifest), daemon.signer), parts)
    found = verify_with(daemon, backup, driver_host.identity)
    assert found.findings == ["table wrapped_keys has 3 rows, and the manifest says 4"]
    assert BackupHistory(daemon.state_directory).verified() == ()


def test_a_role_that_may_not_create_databases_is_told_what_to_do(
    driver_host: DriverHost, daemon: Daemon, backup: Path
):
    with psycopg.connect(driver_host.url, autocommit=True) as connection:
        connection.execute("CREATE ROLE poor LOGIN PASSWORD 'poor'")
    try:
        poor = driver_host.url.replace(driver_host.url.split("//")[1].split("@")[0], "poor:poor")
        section = daemon.section.model_copy(update={"scratch_url": poor})
        with pytest.raises(OperatorError, match="may not create a database") as raised:
            verify_with(replace(daemon, section=section), backup, driver_host.identity)
        assert "ALTER ROLE poor CREATEDB" in raised.value.todo
    finally:
        with psycopg.connect(driver_host.url, autocommit=True) as connection:
            connection.execute("DROP ROLE poor")


KILLED_VERIFICATION = """
import os, signal, sys
from pathlib import Path
from custody.backup.scratch import scratch_database
from custody.runtime.configuration import read_settings
from hsm_driver.backup import daemon_of
from hsm_driver.settings import DriverSettings
from dataclasses import replace
config, state = map(Path, sys.argv[1:])
daemon = replace(daemon_of(read_settings(config, DriverSettings), config), state_directory=state)
with scratch_database(daemon):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_scratch_database_of_a_killed_verification_is_dropped_by_the_next(
    driver_host: DriverHost, daemon: Daemon, backup: Path
):
    arguments = [driver_host.config, daemon.state_directory]
    subprocess.run([sys.executable, "-c", KILLED_VERIFICATION, *arguments], check=False)
    assert len(scratch_databases(driver_host.url)) == 1
    verify_with(daemon, backup, driver_host.identity, sample=1)
    assert scratch_databases(driver_host.url) == []


def test_a_verification_that_ends_beside_another_one_is_no_fault(
    driver_host: DriverHost, daemon: Daemon, backup: Path, monkeypatch: pytest.MonkeyPatch
):
    """Its file vanishes before the other opens it, or while the other drops the database."""
    folder = daemon.state_directory / scratch.FOLDER
    folder.mkdir(parents=True)
    names = [f"{scratch.PREFIX}{number}" for number in range(2)]
    for name in names:
        (folder / name).touch()
    drop = scratch._drop

    def drop_as_both_files_vanish(server: str, name: str) -> None:
        for each in names:
            (folder / each).unlink(missing_ok=True)
        drop(server, name)

    monkeypatch.setattr(scratch, "_drop", drop_as_both_files_vanish)
    assert verify_with(daemon, backup, driver_host.identity, sample=1).findings == []
    assert [each.name for each in folder.iterdir()] == [scratch.LOCK]


def run(host: DriverHost, *words: str | Path) -> subprocess.CompletedProcess[str]:
    arguments = [command("hsm-driver"), "--config", host.config, "backup", *words]
    return run_command(arguments, os.environ)


def test_the_commands_and_their_exit_codes(driver_host: DriverHost):
    """The whole path as an operator types it."""
    assert run(driver_host, "verify", "--identity", driver_host.identity).returncode == 3
    made = run(driver_host, "create", "--json")
    assert made.returncode == 0, made.stderr
    document = json.loads(made.stdout)
    assert document["manifest"]["counts"]["wrapped_keys"] == KEYS
    path = Path(document["file"])
    good = run(driver_host, "verify", "--identity", driver_host.identity, "--json")
    assert (good.returncode, json.loads(good.stdout)["good"]) == (0, True), good.stderr
    listed = json.loads(run(driver_host, "list", "--json").stdout)
    assert listed[0]["verified_at"] is not None
    stranger = run(driver_host, "verify", path, "--identity", driver_host.stranger)
    assert stranger.returncode == 5
    assert "other recipients" in stranger.stderr
    assert f"{driver_host.stranger} (age1" in stranger.stderr
    assert document["manifest"]["recipients"][0] in stranger.stderr
    assert "id_ed25519" not in stranger.stderr
    path.write_bytes(path.read_bytes()[:-2000])
    assert run(driver_host, "list").returncode == 4
    path.unlink()


def test_a_restore_that_fails_says_why(driver_host: DriverHost, daemon: Daemon, backup: Path):
    from custody.backup.postgres import restoring

    with restoring(driver_host.url) as restore:
        restore.write(b"not a dump")
        with pytest.raises(NotGood, match="pg_restore failed"):
            restore.finish()
