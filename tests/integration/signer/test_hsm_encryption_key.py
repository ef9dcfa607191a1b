"""An encryption key that stays in an HSM: a real SoftHSM token."""

import json
from pathlib import Path
from typing import Any

import pytest

from custody.database.pool import Pool
from custody.node.audited_changes import AuditedChanges
from custody.pkcs11.administration import administration
from custody.pkcs11.launch import HsmCannotStart
from custody.runtime.checks import Status
from custody.runtime.configuration import read_settings
from custody.runtime.signing_key import create_signing_key
from mpc.backup_warnings import backup_check, backup_warnings
from mpc.key_rotation import rotation_check
from mpc.settings import SignerSettings
from mpc.shares.encryption_key import FileKey
from mpc.shares.encryption_keys import EncryptionKeys, hsm_settings, open_encryption_keys
from mpc.shares.shares import Shares
from softhsm.tokens import TokenFolder
from tests.integration.pkcs11.outside import restore_master_keys, take_out_master_keys
from tests.integration.signer.commands import command, edit
from tests.integration.signer.conftest import configuration_text
from tests.integration.signer.keys import activate, found, new_key
from tests.integration.signer.test_key_rotation import used_for

LABEL = "signer"


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Make a token; return the options of init that name it."""
    tokens = TokenFolder(tmp_path / "token")
    tokens.make(LABEL)
    monkeypatch.setenv("SOFTHSM2_CONF", str(tokens.configuration))
    return {
        "module": tokens.module,
        "token_label": LABEL,
        "pin_file": tokens.pin_file(LABEL),
    }


@pytest.fixture
def config(tmp_path: Path, signer_database: str, token: dict[str, Any]) -> Path:
    path = tmp_path / "mpc-signer.toml"
    path.write_text(configuration_text(signer_database, **token))
    return path


@pytest.fixture
def settings(config: Path) -> SignerSettings:
    return read_settings(config, SignerSettings)


async def make_key(settings: SignerSettings) -> None:
    async with administration(hsm_settings(settings)) as token:
        await token.make_master_key(rewrappable=False, extractable=False)


async def test_shares_open_with_the_token_and_not_without(pool: Pool, settings: SignerSettings):
    await make_key(settings)
    made = new_key()
    async with open_encryption_keys(settings, pool) as keys:
        await keys.adopt_first(pool)
        shares = Shares(pool, keys)
        stored = await activate(pool, shares, made)
        shares.close(made.key_id)
        opened = await shares.open(stored)
        assert opened.transcript() == made.ours.transcript()
        assert keys.problem() is None
    assert keys.problem() is not None


async def test_doctor_tries_to_take_the_encryption_key_out(
    pool: Pool, settings: SignerSettings, config: Path
):
    await make_key(settings)
    async with open_encryption_keys(settings, pool) as keys:
        await keys.adopt_first(pool)
    done = await command(config, "doctor", "--json")
    tried = {check["name"]: check for check in json.loads(done.stdout) if "try: " in check["name"]}
    assert set(tried) == {
        "try: read-master-key", "try: wrap-master-key", "try: change-master-key",
        "try: copy-master-key",
    }  # fmt: skip
    assert {check["status"] for check in tried.values()} == {"ok"}
    assert all("refused: " in check["detail"] for check in tried.values())


async def test_doctor_says_what_the_token_does_with_each_setting(
    pool: Pool, settings: SignerSettings, config: Path
):
    await make_key(settings)
    given = 'sessions = "read-write"\nmaster_key_without = ["COPYABLE"]\nwrap_with_trusted = true'
    edit(config, "[encryption.hsm]", f"[encryption.hsm]\n{given}")
    done = await command(config, "doctor", "--json")
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert checks["token: sessions"]["detail"].startswith("read-write")
    assert checks["token: gcm_iv"]["status"] == "ok"
    assert checks["token: keepalive_seconds"]["status"] == "ok"
    assert checks["token: wrap_with_trusted"]["detail"].endswith("this node wraps no keys")
    lost = checks["token: master_key_without"]
    assert lost["status"] == "warn"
    assert "COPYABLE: the holder of the PIN can copy the master key" in lost["detail"]


async def test_a_token_without_a_key_says_how_to_make_one(config: Path):
    done = await command(config, "shares", "verify")
    assert done.exit_code == 1
    assert "master-key generate" in done.stderr


async def test_a_key_that_somebody_else_made_on_the_token_gets_nothing_to_protect(
    pool: Pool, settings: SignerSettings
):
    await make_key(settings)
    async with open_encryption_keys(settings, pool) as keys:
        await keys.adopt_first(pool)
        first = keys.current.id
    await make_key(settings)
    async with open_encryption_keys(settings, pool) as keys:
        await keys.adopt_first(pool)
        assert keys.current.id == first
        assert len(list(keys)) == 2


async def test_a_rotation_takes_the_newest_key_of_the_token_and_resets_the_age(
    pool: Pool, settings: SignerSettings, config: Path
):
    await make_key(settings)
    made = new_key()
    async with open_encryption_keys(settings, pool) as keys:
        await keys.adopt_first(pool)
        await activate(pool, Shares(pool, keys), made)
        first = keys.current.id
    await used_for(pool, 400)
    check = await rotation_check(pool, settings.encryption)
    assert check.status is Status.WARN
    assert (check.todo or "").startswith("mpc-signer master-key generate && ")
    assert " mpc-signer rewrap --to-hsm;" in (check.todo or "")
    await make_key(settings)
    done = await command(config, "rewrap", "--to-hsm", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["unused"] == [f"{first} (custody-signer-host/1)"]
    assert (await rotation_check(pool, settings.encryption)).status is Status.OK
    async with open_encryption_keys(settings, pool) as keys:
        await keys.compare(pool)
        assert keys.current.name == "custody-signer-host/2"
        shares = Shares(pool, keys)
        assert await shares.open(await found(shares, made))


async def test_from_a_file_to_the_token_and_back(
    pool: Pool,
    key: FileKey,
    keys: EncryptionKeys,
    shares: Shares,
    config: Path,
    settings: SignerSettings,
    tmp_path: Path,
):
    await make_key(settings)
    made = new_key()
    await activate(pool, shares, made)

    edit(config, 'key = "hsm"', 'key = "file"\nkey_file = "encryption.key"')
    done = await command(config, "rewrap", "--to-hsm", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["unused"] == [f"{key.id} ({key.name})"]

    edit(config, 'key = "file"\nkey_file = "encryption.key"', 'key = "hsm"')
    assert (await command(config, "shares", "verify")).exit_code == 0
    back = tmp_path / "back.key"
    done = await command(config, "rewrap", "--new-key-file", back)
    assert done.exit_code == 0, done.stderr

    edit(config, 'key = "hsm"', 'key = "file"\nkey_file = "back.key"')
    done = await command(config, "shares", "verify", "--json")
    assert json.loads(done.stdout) == {"verified": 1, "bad": []}


async def test_a_restored_key_opens_shares_once_it_is_adopted(
    pool: Pool, settings: SignerSettings, config: Path, tmp_path: Path
):
    """The same key value in an empty token, put there from outside: CKA_LOCAL is false."""
    create_signing_key(settings.identity.private_key)
    async with administration(hsm_settings(settings)) as admin:
        new = await admin.make_master_key(rewrappable=False, extractable=True)
    made = new_key()
    with pytest.raises(HsmCannotStart, match="EXTRACTABLE is true"):
        async with open_encryption_keys(settings, pool):
            pass
    (weak,) = [key.check_value for key in new.keys if key.name == "custody-signer-host/1"]
    assert weak is not None
    line = f'weaker_check_values = ["0x{weak.hex()}"]'
    edit(config, "[encryption.hsm]", f"[encryption.hsm]\n{line}")
    settings = read_settings(config, SignerSettings)
    async with open_encryption_keys(settings, pool) as keys:
        await keys.adopt_first(pool)
        stored = await activate(pool, Shares(pool, keys), made)
    tokens = TokenFolder(tmp_path / "token")
    values = take_out_master_keys(tokens, "custody-signer")
    pin = tokens.pin_file(LABEL).read_text()
    tokens.wipe(LABEL)
    tokens.make(LABEL, pin)
    restore_master_keys(tokens, values)

    with pytest.raises(HsmCannotStart, match="adopt --restored"):
        async with open_encryption_keys(settings, pool):
            pass
    done = await command(config, "master-key", "adopt", "--restored", "--reason", "HSM failed")
    assert done.exit_code == 0, done.output
    assert "custody-signer-host/1" in done.stdout
    with pytest.raises(HsmCannotStart, match="restored_check_values"):  # a row is a record only
        async with open_encryption_keys(settings, pool):
            pass
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("restored_")]
    edit(config, "[encryption.hsm]", f"[encryption.hsm]\n{line}")
    settings = read_settings(config, SignerSettings)
    async with open_encryption_keys(settings, pool) as keys:
        await keys.compare(pool)
        assert await Shares(pool, keys).open(stored)


async def test_a_restored_key_that_the_database_does_not_know_is_refused(
    pool: Pool, settings: SignerSettings, config: Path, tmp_path: Path, key: FileKey
):
    create_signing_key(settings.identity.private_key)
    await EncryptionKeys([key], []).adopt_first(pool)
    labels = ("custody-signer", "custody-signer-host")
    restore_master_keys(TokenFolder(tmp_path / "token"), dict.fromkeys(labels, "11" * 32))
    done = await command(config, "master-key", "adopt", "--restored", "--reason", "HSM failed")
    assert done.exit_code == 1
    assert f"the check values that it knows are {key.id}" in done.stderr


async def test_a_new_database_takes_the_check_values_that_the_operator_noted(
    settings: SignerSettings, config: Path, tmp_path: Path
):
    create_signing_key(settings.identity.private_key)
    labels = ("custody-signer", "custody-signer-host")
    restore_master_keys(TokenFolder(tmp_path / "token"), dict.fromkeys(labels, "11" * 32))
    adopt = ("master-key", "adopt", "--restored", "--reason", "HSM and database failed")
    done = await command(config, *adopt)
    assert done.exit_code == 1
    assert "this database is new" in done.stderr
    listed = json.loads((await command(config, "master-key", "list", "--json")).stdout)
    noted = {key["name"]: key["check_value"] for key in listed}["custody-signer-host/1"]
    done = await command(config, *adopt, "--check-value", noted)
    assert done.exit_code == 0, done.output
    assert noted in done.stdout


async def test_the_backup_of_a_key_in_an_hsm_is_confirmed_by_name(
    pool: Pool, settings: SignerSettings, config: Path
):
    create_signing_key(settings.identity.private_key)
    await make_key(settings)
    async with open_encryption_keys(settings, pool) as keys:
        await keys.adopt_first(pool)
        (warning,) = await backup_warnings(pool, keys)
        assert "mpc-signer master-key confirm-backup" in warning
        done = await command(config, "master-key", "confirm-backup", "--place", "safe 2")
        assert done.exit_code == 0, done.output
        assert "confirmed: custody-signer-host/1" in done.stdout
        assert await backup_warnings(pool, keys) == []
        assert (await backup_check(pool, keys)).status is Status.OK


async def test_a_database_of_before_the_proofs_gets_the_proof_of_its_key(
    pool: Pool, settings: SignerSettings
):
    await make_key(settings)
    changes = AuditedChanges(pool, settings.node.id)
    async with open_encryption_keys(settings, pool) as keys:
        await keys.adopt_first(pool)
        first = keys.current.id
    await pool.rows("TRUNCATE key_proofs")
    async with open_encryption_keys(settings, pool) as keys:
        await keys.compare(pool)
        await keys.record_proofs(pool, changes, "bo")
        await keys.record_proofs(pool, changes, "bo")
        assert keys.current.id == first
    [proof] = await pool.rows("SELECT key_name, mechanism FROM key_proofs")
    assert proof.mechanism == "AES_GCM"
    [record] = await pool.rows(
        "SELECT record FROM audit WHERE node = :me", {"me": settings.node.id}
    )
    assert b"RecordKeyProof" in record.record
