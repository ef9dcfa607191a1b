"""`backup restore`: into an empty database and an empty folder only."""

import asyncio
import json
import stat
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from custody.backup.age import read_identities
from custody.backup.daemon import Daemon, Newer
from custody.backup.errors import CannotDecrypt, Damaged
from custody.backup.restoration import restore, restore_files
from custody.database.pool import Pool
from custody.runtime.errors import OperatorError
from custody.runtime.signing_key import create_signing_key
from custody.wire.node_api import ChangedKey
from hsm_driver import backup as driver_backup
from mpc import backup as signer_backup
from tests.integration.backup.conftest import (
    KEYS,
    DriverHost,
    no_progress,
    restore_by_command,
)
from tests.integration.signer.keys import new_key


def identities(path: Path) -> list:
    return read_identities([path], lambda _: "")


def tables(url: str) -> int:
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return len(found.fetchall())


def test_a_backup_is_restored_into_an_empty_database(
    driver_host: DriverHost, daemon: Daemon, backup: Path, empty_database: str
):
    target = replace(daemon, database_url=empty_database)
    key = identities(driver_host.identity)
    found = restore(target, backup, key, daemon.believed, no_progress)
    assert found.findings == []
    with psycopg.connect(empty_database) as connection:
        (count,) = connection.execute("SELECT count(*) FROM wrapped_keys").fetchone() or (0,)
    assert count == KEYS
    with pytest.raises(OperatorError, match="not empty"):  # a second time, for instance
        restore(target, backup, key, daemon.believed, no_progress)


def test_the_command_names_what_a_drivers_operator_repeats(
    driver_host: DriverHost, backup: Path, empty_database: str
):
    config, url = driver_host.config, driver_host.url
    said = json.loads(
        restore_by_command("hsm-driver", config, url, empty_database, backup, "--json")
    )
    archivals, removed, freeze = said["next"]
    assert archivals.startswith("next, before run: hsm-driver keys archivals lists ")
    since = datetime.fromisoformat(said["manifest"]["created_at"]).isoformat(timespec="seconds")
    assert archivals.endswith(
        f" on the host since {since}: hsm-driver keys archive KEY --reason TEXT, or unarchive"
    )
    assert removed.endswith(" added and removed since then: hsm-driver apps list")
    assert freeze.startswith("next, before run: hsm-driver freeze --reason TEXT, if ")


def test_a_database_in_use_is_never_overwritten(
    driver_host: DriverHost, daemon: Daemon, backup: Path
):
    with pytest.raises(OperatorError, match="not empty"):
        restore(daemon, backup, identities(driver_host.identity), daemon.believed, no_progress)


def test_a_restore_that_cannot_be_done_leaves_the_database_empty(
    driver_host: DriverHost, daemon: Daemon, backup: Path, empty_database: str
):
    target = replace(daemon, database_url=empty_database)
    with pytest.raises(CannotDecrypt):
        restore(target, backup, identities(driver_host.stranger), daemon.believed, no_progress)
    content = bytearray(backup.read_bytes())
    content[len(content) // 2] ^= 1
    backup.write_bytes(content)
    with pytest.raises(Damaged):
        restore(target, backup, identities(driver_host.identity), daemon.believed, no_progress)
    assert tables(empty_database) == 0


def test_the_files_are_written_for_their_owner_and_never_over_a_file(
    driver_host: DriverHost, daemon: Daemon, backup: Path, tmp_path: Path
):
    key, folder = identities(driver_host.identity), tmp_path / "restored"
    written, signed_by = restore_files(backup, key, None, folder)
    assert signed_by == daemon.signer.key_id
    assert (folder / "hsm-driver.toml").read_bytes() == driver_host.config.read_bytes()
    assert {stat.S_IMODE(path.stat().st_mode) for path in written} == {0o600}
    (folder / "hsm-driver.toml").write_text("mine")
    (folder / "tls/ca.pem").unlink()
    with pytest.raises(OperatorError, match="exists already"):
        restore_files(backup, key, None, folder)
    assert (folder / "hsm-driver.toml").read_text() == "mine"
    assert not (folder / "tls/ca.pem").exists()


def test_files_that_another_node_signed_are_not_written(
    driver_host: DriverHost, backup: Path, tmp_path: Path
):
    other = create_signing_key(tmp_path / "other.pem").public_key
    with pytest.raises(Damaged, match="not this node's"):
        restore_files(backup, identities(driver_host.identity), other, tmp_path / "restored")
    assert not (tmp_path / "restored").exists()


def changed(key_id, generation: int | None = None) -> ChangedKey:
    return ChangedKey(key_id=key_id, generation=generation, changed_at=datetime.now(UTC))


def test_a_driver_names_the_keys_that_its_database_lacks(driver_host: DriverHost):
    async def lacking() -> list[Newer]:
        async with Pool(driver_host.url, 1, "test") as pool:
            known = (await pool.rows("SELECT key_id FROM wrapped_keys LIMIT 1"))[0].key_id
            return await driver_backup._lacking(pool, [changed(known), changed(lost)])

    lost = uuid4()
    (found,) = asyncio.run(lacking())
    assert f"key {lost}, made or changed at " in found.what
    assert found.todo.startswith("hsm-driver backup rebuild-from-s3, if [key_copies] has a copy")


def test_a_signer_names_missing_shares_and_older_generations(signer_database: str):
    held = new_key()

    async def lacking() -> list[Newer]:
        async with Pool(signer_database, 1, "test") as pool:
            await pool.rows("INSERT INTO encryption_keys (id, check_value) VALUES ('key', '')")
            await pool.rows(
                "INSERT INTO shares (key_id, ceremony, state, generation, protocol, group_name,"
                " threshold, signers, share_index, public_key, transcript, data_key, ciphertext,"
                " encryption_key) VALUES (:key, gen_random_uuid(), 'active', 1, 'p', 'g', 2,"
                " '{a,b}', 1, '', '', '', '', 'key')",
                {"key": held.key_id},
            )
            keys = [changed(held.key_id, 1), changed(held.key_id, 2), changed(uuid4(), 0)]
            return await signer_backup._lacking(pool, keys)

    older, missing = asyncio.run(lacking())
    assert "generation 1, the others of 2" in older.what
    assert "no share of it" in missing.what
    assert "replace-a-signer" in missing.todo
