"""Confirmed backups of master keys: what `doctor` and the node say before, and after."""

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from custody.database.pool import Pool
from custody.node.key_backups import BackupWarnings
from custody.runtime.checks import Status
from custody.runtime.configuration import read_settings, write_secret
from custody.runtime.signing_key import create_signing_key
from hsm_driver.backup_warnings import backup_check, backup_warnings
from hsm_driver.cli import app
from hsm_driver.configuration import NewDriver, new_configuration
from hsm_driver.settings import DriverSettings
from hsm_driver.vault import ADOPTED
from tests.adopter import ADOPTER, adopt_row

FIRST, SECOND = bytes([1]) * 32, bytes([2]) * 32
OWN_RECORDS = "SELECT record FROM audit WHERE node = 'driver-1'"
PLACE = "Backup HSM 88 in safe 2"


@pytest.fixture
async def config(tmp_path: Path, driver_database: str, pool: Pool) -> Path:
    """A driver whose database knows one master key. Its HSM is away: nothing here needs it."""
    path = tmp_path / "hsm-driver.toml"
    new = NewDriver(
        node="driver-1",
        url="https://localhost:1",
        job_signing_keys=["AAAA"],
        database_url=driver_database,
        module=Path("/nowhere/pkcs11.so"),
        token_label="custody",
    )
    write_secret(path, new_configuration(new).encode())
    create_signing_key(read_settings(path, DriverSettings).identity.private_key)
    await know(pool, "custody/1", FIRST)
    return path


async def know(pool: Pool, name: str, check_value: bytes) -> None:
    insert = "INSERT INTO master_keys (id, check_value) VALUES (:name, :value) RETURNING id"
    row = {"name": name, "value": check_value}
    await adopt_row(pool, ADOPTED, (name, check_value), insert, row)


async def confirm(config: Path, *arguments: str) -> Result:
    words = ["--config", str(config), "master-key", "confirm-backup", *arguments]
    return await asyncio.to_thread(CliRunner().invoke, app, words)


async def test_a_node_warns_until_the_backup_of_each_version_is_confirmed(config: Path, pool: Pool):
    warnings = BackupWarnings(lambda: backup_warnings(pool))
    await warnings.refresh()
    (warning,) = warnings.warnings()
    assert "custody/1" in warning
    assert "confirm-backup" in warning
    assert (await backup_check(pool)).status is Status.WARN

    done = await confirm(config, "--place", PLACE, "--by", "Ada")
    assert done.exit_code == 0, done.output
    assert "confirmed: custody/1" in done.stdout
    await warnings.refresh()
    assert warnings.warnings() == ()
    assert (await backup_check(pool)).status is Status.OK

    await know(pool, "custody/2", SECOND)
    await warnings.refresh()
    (warning,) = warnings.warnings()
    assert "custody/2" in warning
    check = await backup_check(pool)
    assert check.status is Status.WARN
    assert "of custody/2:" in check.detail


async def test_the_audit_chain_says_who_confirmed_what_and_where(config: Path, pool: Pool):
    await confirm(config, "--place", PLACE, "--by", "Ada")
    (row,) = await pool.rows(OWN_RECORDS)
    said = json.loads(row.record)
    assert (said["kind"], said["key"], said["check_value"]) == (
        "ConfirmKeyBackup", "custody/1", FIRST.hex(),
    )  # fmt: skip
    assert (said["operator"], said["place"], said["proof"]) == ("Ada", PLACE, None)
    verify = ["--config", str(config), "audit", "verify", "--offline", "--other", ADOPTER]
    done = await asyncio.to_thread(CliRunner().invoke, app, verify)
    assert done.exit_code == 0, done.output


async def test_confirming_again_changes_nothing(config: Path, pool: Pool):
    await confirm(config, "--place", PLACE)
    done = await confirm(config, "--place", PLACE)
    assert done.exit_code == 0
    assert "confirmed already" in done.stdout
    assert len(await pool.rows(OWN_RECORDS)) == 1


async def test_the_check_value_of_a_restored_backup_is_compared(config: Path, pool: Pool):
    wrong = await confirm(config, "--place", PLACE, "--check-value", "0x" + SECOND.hex())
    assert wrong.exit_code == 1
    assert "is that of custody/1" in wrong.stderr
    assert await backup_warnings(pool) != []
    right = await confirm(config, "--place", PLACE, "--check-value", "0x" + FIRST.hex())
    assert right.exit_code == 0, right.output
    (row,) = await pool.rows(OWN_RECORDS)
    assert json.loads(row.record)["proof"] == "check value of a restored backup"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["custody/9", "--place", PLACE], "knows no key 'custody/9'"),
        (["--place", ""], "a place has"),
        (["--place", PLACE, "--check-value", "xyz"], "is not a check value"),
    ],
)
async def test_what_cannot_be_confirmed_is_refused(
    config: Path, pool: Pool, arguments: list[str], said: str
):
    done = await confirm(config, *arguments)
    assert done.exit_code == 1
    assert said in done.stderr
    assert await pool.rows(OWN_RECORDS) == []
    assert len(await backup_warnings(pool)) == 1


async def test_nothing_is_confirmed_before_the_database_knows_a_key(config: Path, pool: Pool):
    await pool.rows("DELETE FROM master_keys")
    for arguments in (["--place", PLACE], ["custody/1", "--place", PLACE]):
        done = await confirm(config, *arguments)
        assert done.exit_code == 1
        assert "knows no key yet, so nothing was confirmed" in done.stderr
    check = await backup_check(pool)
    assert check.status is Status.WARN
    assert "knows no master key yet" in check.detail
