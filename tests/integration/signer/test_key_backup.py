"""The backup of a signer's encryption key: made, confirmed, lost, restored."""

import json
import subprocess
from pathlib import Path

import pyrage
import pytest

from custody.database.pool import Pool
from custody.runtime.checks import Status
from custody.runtime.configuration import read_settings, write_secret
from custody.runtime.signing_key import create_signing_key
from mpc.backup_warnings import backup_check, backup_warnings
from mpc.settings import SignerSettings
from mpc.shares.encryption_key import FileKey, create_key_file, load_key_file
from mpc.shares.encryption_keys import EncryptionKeys
from tests.integration.signer.commands import command, edit

PLACE = ["--place", "USB stick in safe 2"]


def age_key(path: Path) -> str:
    """Write a private key as age-keygen does, and return its public key."""
    key = pyrage.x25519.Identity.generate()
    write_secret(path, f"# created: today\n{key}\n".encode())
    return str(key.to_public())


@pytest.fixture
def recipient(tmp_path: Path, config: Path, settings: SignerSettings) -> str:
    create_signing_key(settings.identity.private_key)
    return age_key(tmp_path / "keeper")


@pytest.fixture
def made(tmp_path: Path) -> Path:
    return tmp_path / "key.age"


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def lose(path: Path) -> bytes:
    """Delete a file, and return what was in it."""
    content = path.read_bytes()
    path.unlink()
    return content


def with_last_bit_flipped(path: Path) -> Path:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    damaged = path.with_name("damaged.age")
    damaged.write_bytes(content)
    return damaged


def opened_by_age(path: Path, identity: Path) -> bytes:
    command = ["age", "--decrypt", "--identity", str(identity), str(path)]
    return subprocess.run(command, capture_output=True, check=True).stdout


def names_like(path: Path) -> list[str]:
    return sorted(each.name for each in path.parent.glob(f"*{path.name}*"))


async def make(config: Path, made: Path, *recipients: str):
    options = [word for each in recipients for word in ("--recipient", each)]
    return await command(config, "encryption-key", "backup", "--to", made, *options)


async def inspect(made: Path, keeper: Path):
    """On another machine: there is no configuration."""
    nowhere = Path("/nowhere/mpc-signer.toml")
    arguments = ["encryption-key", "inspect", made, "--identity", keeper, "--json"]
    return await command(nowhere, *arguments)


async def test_the_signer_warns_until_the_backup_is_made_and_confirmed(
    pool: Pool, keys: EncryptionKeys, config: Path, recipient: str, made: Path, tmp_path: Path
):
    (warning,) = await backup_warnings(pool, keys)
    assert "encryption-key backup" in warning
    done = await make(config, made, recipient)
    assert done.exit_code == 0, done.output
    assert mode_of(made) == 0o600
    (warning,) = await backup_warnings(pool, keys)
    assert "encryption-key confirm-backup" in warning
    assert (await backup_check(pool, keys)).status is Status.WARN

    wrong = await command(config, "encryption-key", "confirm-backup", "--code", "0" * 32, *PLACE)
    assert wrong.exit_code == 1
    seen = json.loads((await inspect(made, tmp_path / "keeper")).stdout)
    assert [key["id"] for key in seen["keys"]] == [keys.current.id]
    code = seen["confirmation_code"]
    done = await command(config, "encryption-key", "confirm-backup", "--code", code, *PLACE)
    assert done.exit_code == 0, done.output
    assert await backup_warnings(pool, keys) == []
    assert (await backup_check(pool, keys)).status is Status.OK

    (row,) = await pool.rows("SELECT record FROM audit")
    said = json.loads(row.record)
    assert (said["kind"], said["key"]) == ("ConfirmKeyBackup", keys.current.id)
    assert said["proof"] == "confirmation code in the backup"
    verify = await command(config, "audit", "verify", "--offline")
    assert verify.exit_code == 0, verify.output


async def test_a_lost_key_file_comes_back(
    keys: EncryptionKeys, config: Path, recipient: str, made: Path, tmp_path: Path, key: FileKey
):
    await make(config, made, recipient)
    lost = Path(key.name)
    content = lose(lost)
    arguments = ["encryption-key", "restore", made, "--identity", tmp_path / "keeper"]
    done = await command(config, *arguments)
    assert done.exit_code == 0, done.output
    assert mode_of(lost) == 0o600
    assert lose(lost) == content
    assert (await command(config, *arguments)).exit_code == 0
    again = await command(config, *arguments)
    assert again.exit_code == 0
    assert "is there already" in again.stdout


async def test_a_backup_of_another_key_is_not_restored(
    pool: Pool, keys: EncryptionKeys, config: Path, recipient: str, made: Path, tmp_path: Path
):
    await make(config, made, recipient)
    path = tmp_path / "encryption.key"
    lose(path)
    await pool.rows("UPDATE encryption_keys SET id = 'another'")
    arguments = ["encryption-key", "restore", made, "--identity", tmp_path / "keeper"]
    done = await command(config, *arguments)
    assert done.exit_code == 1
    assert "under encryption key another" in done.stderr
    assert names_like(path) == []
    confirm = [*arguments[:1], "confirm-backup", "--file", made, *arguments[3:], *PLACE]
    refused = await command(config, *confirm)
    assert refused.exit_code == 1
    assert "under encryption key another" in refused.stderr
    assert await pool.rows("SELECT FROM key_backups WHERE confirmed_at IS NOT NULL") == []


async def test_a_backup_that_nothing_proves_is_not_restored(
    pool: Pool, keys: EncryptionKeys, config: Path, recipient: str, made: Path, tmp_path: Path
):
    """Anybody who knows a recipient can write such a file, with a key of his own."""
    await make(config, made, recipient)
    path = tmp_path / "encryption.key"
    lose(path)
    await pool.rows("DELETE FROM encryption_keys RETURNING id")
    arguments = ["encryption-key", "restore", made, "--identity", tmp_path / "keeper"]
    done = await command(config, *arguments)
    assert done.exit_code == 1
    assert "nothing shows whose keys" in done.stderr
    assert names_like(path) == []


async def test_another_key_file_is_not_overwritten(
    keys: EncryptionKeys, config: Path, recipient: str, made: Path, tmp_path: Path, key: FileKey
):
    await make(config, made, recipient)
    lose(Path(key.name))
    other = create_key_file(Path(key.name))
    arguments = ["encryption-key", "restore", made, "--identity", tmp_path / "keeper"]
    done = await command(config, *arguments)
    assert done.exit_code == 1
    assert "is another key" in done.stderr
    assert load_key_file(Path(key.name)).id == other.id


async def test_the_file_can_be_confirmed_on_the_signers_host(
    pool: Pool, keys: EncryptionKeys, config: Path, recipient: str, made: Path, tmp_path: Path
):
    await make(config, made, recipient)
    arguments = ["--file", made, "--identity", tmp_path / "keeper", *PLACE]
    done = await command(config, "encryption-key", "confirm-backup", *arguments)
    assert done.exit_code == 0, done.output
    assert await backup_warnings(pool, keys) == []


async def test_the_exit_code_says_what_is_wrong_with_a_file(
    keys: EncryptionKeys, config: Path, recipient: str, made: Path, tmp_path: Path
):
    keeper, stranger = tmp_path / "keeper", tmp_path / "stranger"
    age_key(stranger)
    assert (await inspect(made, keeper)).exit_code == 3
    await make(config, made, recipient)
    assert (await inspect(made, stranger)).exit_code == 5
    assert (await inspect(with_last_bit_flipped(made), keeper)).exit_code == 4
    other = tmp_path / "other.age"
    other.write_bytes(pyrage.encrypt(b"{}", [pyrage.x25519.Recipient.from_str(recipient)]))
    assert (await inspect(other, keeper)).exit_code == 4
    assert (await inspect(made, tmp_path / "nobody")).exit_code == 2


async def test_another_kind_of_file_is_named(recipient: str, tmp_path: Path):
    """At 3 a.m. somebody gives the file of the database, a share copy or the private key itself."""
    keeper = tmp_path / "keeper"
    sealed = pyrage.x25519.Recipient.from_str(recipient)
    path = tmp_path / "file"
    for content, what in (
        (b"manifest.json" + bytes(2_000_000), "a backup of a database and its files"),
        (keeper.read_bytes(), "a private key"),
        (b"", "empty"),
        (b"a" * 44, "not encrypted with age"),
        (pyrage.encrypt(b"PGDMP...", [sealed]), "the dump of a database"),
        (pyrage.encrypt(b"Canary of mpc-signer: x", [sealed]), "a canary of Layer 4"),
        (pyrage.encrypt(b'{"payload": "", "signature": ""}', [sealed]), "a share copy of Layer 4"),
        (pyrage.encrypt(b'{"format": "custody-encryption-key-backup-v2"}', [sealed]), "version"),
        (pyrage.encrypt(b"x" * 2_000_000, [sealed]), "an age file with more than"),
        (pyrage.encrypt(b"[" * 100_000, [sealed]), "an age file with something else"),
    ):
        path.write_bytes(content)
        done = await inspect(path, keeper)
        assert done.exit_code == 4, done.stderr
        assert "is not a backup of encryption keys: it is " in done.stderr
        assert what in done.stderr
        assert "Name the file that mpc-signer encryption-key backup wrote" in done.stderr


async def test_the_stock_age_tool_opens_the_file(
    keys: EncryptionKeys, config: Path, recipient: str, made: Path, tmp_path: Path, key: FileKey
):
    await make(config, made, recipient)
    (found,) = json.loads(opened_by_age(made, tmp_path / "keeper"))["keys"]
    assert found["key"] == lose(Path(key.name)).decode().strip()


async def test_recipients_of_the_database_do_not_get_the_key(
    keys: EncryptionKeys, config: Path, recipient: str, made: Path
):
    edit(config, "\nrecipients = []", f'\nrecipients = ["{recipient}"]')
    done = await make(config, made, recipient)
    assert done.exit_code == 1
    assert "is also in [backup] recipients" in done.stderr
    assert names_like(made) == []


async def test_a_backup_needs_recipients_and_overwrites_nothing(
    keys: EncryptionKeys, config: Path, recipient: str, made: Path
):
    empty = await make(config, made)
    assert empty.exit_code == 1
    assert "backup_recipients is empty" in empty.stderr
    edit(config, '# backup_recipients = ["age1..."]', f'backup_recipients = ["{recipient}"]')
    assert read_settings(config, SignerSettings).encryption.backup_recipients == (recipient,)
    assert (await make(config, made)).exit_code == 0
    assert (await make(config, made)).exit_code == 1
    assert names_like(made) == ["key.age"]  # and no temporary file


async def test_before_the_first_start_doctor_warns_of_the_key_that_the_signer_will_use(
    pool: Pool, key: FileKey
):
    check = await backup_check(pool, EncryptionKeys([key], []))
    assert check.status is Status.WARN
    assert f"no confirmed backup of encryption key {key.id}" in check.detail


async def test_the_backup_of_a_key_file_is_not_confirmed_as_that_of_a_token(
    keys: EncryptionKeys, config: Path
):
    done = await command(config, "master-key", "confirm-backup", *PLACE)
    assert done.exit_code == 1
    assert "mpc-signer encryption-key confirm-backup" in done.stderr
