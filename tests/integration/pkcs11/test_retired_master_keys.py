"""One version of the master key is lost for good, while another one is intact."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from asyncpg.exceptions import NotNullViolationError

from custody.database.pool import Pool
from custody.node.adoptions import adoptions
from custody.node.audited_changes import AuditedChanges
from custody.node.errors import Failed
from custody.runtime.errors import OperatorError
from custody.wire.algorithms import ECDSA_SECP256K1
from hsm_driver import retirement
from hsm_driver.driver import open_hsm
from hsm_driver.possession import prove_possession
from hsm_driver.settings import DriverSettings
from hsm_driver.vault import INSERT_KEYS, Vault, row_of
from softhsm.tokens import TokenFolder
from tests.adopter import ADOPTER, adopt_first
from tests.integration.backup.conftest import age_key
from tests.integration.driver.test_audited_changes import waits_for_a_lock
from tests.integration.pkcs11.conftest import make_master_key, settings_for
from tests.integration.pkcs11.outside import restore_master_keys, run
from tests.integration.pkcs11.test_restored_master_keys import (
    adopt,
    call,
    config,
    know,
    pin,
    pool,
    settings,
    values,
)
from tests.integration.signer.commands import edit
from tests.providers.tokens import Tokens

__all__ = ["config", "pool", "settings", "values"]

RETIRE = ("master-key", "retire", "custody/1", "custody-host/1", "--reason", "HSM 1 burnt")


def delete_version(tokens: Tokens, version: int) -> None:
    code = f"""
session = token.open(rw=True, user_pin=pin)
for found in list(session.get_objects({{Attribute.ID: ({version}).to_bytes(4)}})):
    found.destroy()
print("true")
"""
    run(tokens, code)


def save(tokens: TokenFolder, name: str) -> None:
    """Back the HSM up."""
    shutil.copytree(tokens.folder / "tokens", tokens.folder / name)


def restore(tokens: TokenFolder, name: str) -> None:
    """Put the keys of a backup onto the token, beside those that it has."""
    shutil.copytree(tokens.folder / name, tokens.folder / "tokens", dirs_exist_ok=True)


def adopt_version(version: int) -> list[str]:
    names = [f"custody/{version}", f"custody-host/{version}"]
    return ["master-key", "adopt", *names, "--yes"]


async def store_a_key(settings: DriverSettings, pool: Pool) -> UUID:
    key_id = uuid4()
    async with open_hsm(settings, workers=1) as hsm:
        vault = Vault(pool, hsm)
        await adopt_first(vault, pool)
        row = row_of(key_id, None, await vault.generate(ECDSA_SECP256K1))
        await pool.rows(row.sql, row.alone)
    return key_id


async def signs(settings: DriverSettings, pool: Pool, key_id: UUID) -> None:
    async with open_hsm(settings, workers=1) as hsm:
        vault = Vault(pool, hsm)
        await vault.compare_master_keys()
        found = await vault.find(key_id)
        assert found is not None
        await prove_possession(vault, key_id, found[0])


@pytest.fixture
async def keys(
    config: Path,
    settings: DriverSettings,
    pool: Pool,
    empty_token: TokenFolder,
    tmp_path: Path,
) -> tuple[UUID, UUID]:
    """A stored key under each of two versions. The first version is then lost."""
    await make_master_key(settings_for(empty_token, tmp_path / "state"))
    old = await store_a_key(settings, pool)
    save(empty_token, "older")
    await make_master_key(settings_for(empty_token, tmp_path / "state"))
    assert (await call(config, *adopt_version(2))).exit_code == 0
    new = await store_a_key(settings, pool)
    save(empty_token, "newer")
    delete_version(empty_token, 1)
    return old, new


async def test_keys_of_the_other_version_sign_again_after_a_retirement(
    config: Path, settings: DriverSettings, pool: Pool, keys: tuple[UUID, UUID]
):
    old, new = keys
    with pytest.raises(OperatorError, match="no master key 'custody/1'") as caught:
        await signs(settings, pool, new)
    assert "master-key-lost" in caught.value.todo

    done = await call(config, *RETIRE)
    assert done.exit_code == 1
    assert "1 under custody/1" in done.stderr
    assert "--lost" in done.stderr
    with pytest.raises(OperatorError):
        await signs(settings, pool, new)

    done = await call(config, *RETIRE, "--lost")
    assert done.exit_code == 0, done.output
    assert "1 stored keys under custody/1 cannot be used" in done.stdout
    await signs(settings, pool, new)
    with pytest.raises(Failed, match="custody/1"):
        await signs(settings, pool, old)
    rows = await pool.rows("SELECT record FROM audit WHERE node = 'node-1' ORDER BY sequence")
    said = [json.loads(row.record) for row in rows]
    retired = {each["key"] for each in said if each["kind"] == "RetireMasterKey"}
    assert retired == {"custody/1", "custody-host/1"}
    verify = await call(config, "audit", "verify", "--offline", "--other", ADOPTER)
    assert verify.exit_code == 0, verify.output


@pytest.fixture
async def after_retirement(config: Path, keys: tuple[UUID, UUID]) -> tuple[UUID, UUID]:
    done = await call(config, *RETIRE, "--lost")
    assert done.exit_code == 0, done.output
    return keys


NOT_TRIED = "1 keys under retired master keys, not tried"


async def test_keys_under_a_retired_master_key_are_counted_and_not_tried(
    config: Path, after_retirement: tuple[UUID, UUID]
):
    """Nobody can use them again: a check that always fails would hide the next fault."""
    old, _ = after_retirement
    done = await call(config, "keys", "verify")
    assert done.exit_code == 0, done.output
    assert "1 of 1 keys sign" in done.stdout
    assert NOT_TRIED in done.stdout
    done = await call(config, "keys", "verify", "--json")
    assert json.loads(done.stdout) == {"verified": 1, "bad": [], "not_tried": 1}
    named = await call(config, "keys", "verify", str(old))
    assert named.exit_code == 1
    assert "custody/1" in named.stdout


@pytest.mark.parametrize("sample", [(), ("--sample", "1")])
async def test_a_backup_is_good_after_a_retirement(
    config: Path, after_retirement: tuple[UUID, UUID], tmp_path: Path, sample: tuple[str, ...]
):
    identity = tmp_path / "recipient"
    edit(config, "recipients = []", f'recipients = ["{age_key(identity)}"]')
    (tmp_path / "tls").mkdir()
    for file in ("tls/ca.pem", "tls/certificate.pem", "tls/private_key.pem"):
        (tmp_path / file).write_text(f"the contents of {file}")
    made = await call(config, "backup", "create")
    assert made.exit_code == 0, made.output
    found = await call(config, "backup", "verify", "--identity", str(identity), "--json", *sample)
    assert found.exit_code == 0, found.output
    document = json.loads(found.stdout)
    assert (document["good"], document["tried"], document["in_all"]) == (True, 1, 1)
    assert NOT_TRIED in document["checks"]


async def test_a_row_under_a_master_key_that_nobody_retired_is_found(
    config: Path, pool: Pool, after_retirement: tuple[UUID, UUID]
):
    """A damaged row must not pass for a key under a retired master key."""
    _, new = after_retirement
    await pool.rows(
        "UPDATE wrapped_keys SET master_key = 'custody/9' WHERE key_id = :new", {"new": new}
    )
    done = await call(config, "keys", "verify", "--json")
    assert done.exit_code == 1, done.output
    document = json.loads(done.stdout)
    assert [each["key_id"] for each in document["bad"]] == [str(new)]
    assert document["not_tried"] == 1


async def test_a_version_that_wraps_no_key_is_retired_without_more(
    config: Path, settings: DriverSettings, pool: Pool, keys: tuple[UUID, UUID]
):
    old, new = keys
    await pool.rows("DELETE FROM wrapped_keys WHERE key_id = :old", {"old": old})
    done = await call(config, *RETIRE)
    assert done.exit_code == 0, done.output
    assert "cannot be used" not in done.stdout
    await signs(settings, pool, new)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE wrapped_keys SET master_key = 'custody/1'",
        "UPDATE master_keys SET retired_at = now()",
    ],
    ids=["a key was made", "another command was first"],
)
async def test_a_database_that_changes_meanwhile_is_named(
    config: Path,
    pool: Pool,
    keys: tuple[UUID, UUID],
    driver_database: str,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
):
    """The first check has passed: the statement that retires finds the change."""
    await pool.rows("DELETE FROM wrapped_keys WHERE key_id = :old", {"old": keys[0]})

    def change_first(*arguments, **details):
        with psycopg.connect(driver_database, autocommit=True) as connection:
            connection.execute(change.encode())
        return adoptions(*arguments, **details)

    monkeypatch.setattr(retirement, "adoptions", change_first)
    done = await call(config, *RETIRE)
    assert done.exit_code == 1
    assert "the database changed meanwhile: nothing was retired" in done.stderr
    assert "Stop all drivers of the group" in done.stderr
    records = await pool.rows("SELECT convert_from(record, 'UTF8') AS record FROM audit")
    assert not any("RetireMasterKey" in row.record for row in records)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("custody/2", "the token has 'custody/2'"),
        ("custody/9", "knows no master key 'custody/9'"),
    ],
)
async def test_what_is_not_lost_is_not_retired(
    config: Path, pool: Pool, keys: tuple[UUID, UUID], name: str, said: str
):
    before = await pool.rows("SELECT id FROM master_keys ORDER BY id")
    done = await call(config, "master-key", "retire", name, "--lost", "--reason", "a slip")
    assert done.exit_code == 1
    assert said in done.stderr
    assert await pool.rows("SELECT id FROM master_keys ORDER BY id") == before


async def test_the_last_version_is_not_retired(
    config: Path, settings: DriverSettings, pool: Pool, empty_token: TokenFolder, tmp_path: Path
):
    """An empty table would learn whatever keys the token has."""
    await make_master_key(settings_for(empty_token, tmp_path / "state"))
    await store_a_key(settings, pool)
    delete_version(empty_token, 1)
    done = await call(config, *RETIRE, "--lost")
    assert done.exit_code == 1
    assert "no other version of 'custody/1'" in done.stderr
    assert len(await pool.rows("SELECT FROM master_keys")) == 2


NEWEST = ("master-key", "retire", "custody/2", "custody-host/2", "--reason", "HSM 1 burnt")
GENERATE = ("master-key", "generate", "--above", "2")


@pytest.fixture
async def older_token(empty_token: TokenFolder, keys: tuple[UUID, UUID]) -> tuple[UUID, UUID]:
    """The HSM's backup is older than the newest version, which is lost."""
    delete_version(empty_token, 2)
    restore(empty_token, "older")
    return keys


@pytest.fixture
async def newest_retired(config: Path, older_token: tuple[UUID, UUID]) -> tuple[UUID, UUID]:
    done = await call(config, *NEWEST, "--lost")
    assert done.exit_code == 0, done.output
    assert " ".join(("hsm-driver", *GENERATE)) in done.stdout
    return older_token


async def test_a_new_key_never_gets_the_name_of_a_retired_one(
    config: Path,
    settings: DriverSettings,
    pool: Pool,
    empty_token: TokenFolder,
    newest_retired: tuple[UUID, UUID],
):
    old, new = newest_retired
    assert (await call(config, "master-key", "generate")).exit_code == 0
    done = await call(config, *adopt_version(2))
    assert done.exit_code == 1
    assert "has the name of another master key" in done.stderr
    assert " ".join(GENERATE) in " ".join(done.stderr.split())
    with pytest.raises(OperatorError):
        await signs(settings, pool, old)

    delete_version(empty_token, 2)
    assert (await call(config, *GENERATE)).exit_code == 0
    done = await call(config, *adopt_version(3))
    assert "adopted custody-host/3, custody/3" in done.stdout
    third = await store_a_key(settings, pool)

    restore(empty_token, "newer")  # the lost key is found
    with pytest.raises(OperatorError, match="custody/2"):
        await signs(settings, pool, old)
    done = await call(config, *adopt_version(2))
    assert "adopted custody-host/2, custody/2" in done.stdout
    for key_id in (old, new, third):
        await signs(settings, pool, key_id)
    done = await call(config, "keys", "verify", "--json")
    assert json.loads(done.stdout) == {"verified": 3, "bad": [], "not_tried": 0}
    rows = await pool.rows("SELECT record FROM audit WHERE node = 'node-1' ORDER BY sequence")
    said = [json.loads(row.record) for row in rows]
    kinds = [each["kind"] for each in said if each["key"] == "custody/2"]
    assert kinds == ["AdoptMasterKey", "RecordKeyProof", "RetireMasterKey", "AdoptMasterKey"]
    verify = await call(config, "audit", "verify", "--offline", "--other", ADOPTER)
    assert verify.exit_code == 0, verify.output


async def test_a_new_key_never_gets_a_name_that_stored_keys_have(
    config: Path, pool: Pool, empty_token: TokenFolder, newest_retired: tuple[UUID, UUID]
):
    """A database that was rebuilt from S3 has no row of the lost version."""
    await pool.rows("DELETE FROM master_keys WHERE retired_at IS NOT NULL")
    assert (await call(config, "master-key", "generate")).exit_code == 0
    done = await call(config, *adopt_version(2))
    assert done.exit_code == 1
    assert str(newest_retired[1]) in done.stderr
    assert " ".join(GENERATE) in " ".join(done.stderr.split())

    delete_version(empty_token, 2)
    restore(empty_token, "newer")
    done = await call(config, *adopt_version(2))
    assert "adopted custody-host/2, custody/2" in done.stdout


@pytest.fixture
async def other_pool(driver_database: str) -> AsyncIterator[Pool]:
    async with Pool(driver_database, 1, "another process") as pool:
        yield pool


async def test_no_new_key_gets_under_a_retired_master_key(
    settings: DriverSettings, pool: Pool, other_pool: Pool, empty_token: TokenFolder, tmp_path: Path
):
    """A driver that was not restarted still wraps new keys by the master key that is retired."""
    await make_master_key(settings_for(empty_token, tmp_path / "state"))
    async with open_hsm(settings, workers=1) as hsm:
        vault = Vault(pool, hsm)
        await adopt_first(vault, pool)
        rows = [row_of(uuid4(), None, await vault.generate(ECDSA_SECP256K1)) for _ in range(2)]
    changes, names = AuditedChanges(pool, ADOPTER), ["custody-host/1", "custody/1"]
    first, late = (row.alone for row in rows)

    async with other_pool.transaction() as uncommitted:  # a driver is about to commit a new key
        await uncommitted.rows(INSERT_KEYS, first)
        retiring = asyncio.create_task(retirement.retire_unused(changes, names, "bo", "a test"))
        await waits_for_a_lock(pool)
    assert await retiring == ["custody-host/1"]
    assert await retirement.retire_unused(changes, names[:1], "bo", "a test") == []

    await pool.rows("DELETE FROM wrapped_keys")
    assert await retirement.retire_unused(changes, names, "bo", "a test") == ["custody/1"]
    with pytest.raises(NotNullViolationError):
        await pool.rows(INSERT_KEYS, late)
    assert await pool.rows("SELECT FROM wrapped_keys") == []


async def test_a_new_key_waits_for_a_retirement_that_is_not_committed(
    settings: DriverSettings, pool: Pool, other_pool: Pool, empty_token: TokenFolder, tmp_path: Path
):
    await make_master_key(settings_for(empty_token, tmp_path / "state"))
    async with open_hsm(settings, workers=1) as hsm:
        vault = Vault(pool, hsm)
        await adopt_first(vault, pool)
        row = row_of(uuid4(), None, await vault.generate(ECDSA_SECP256K1))
    values = row.alone
    async with other_pool.transaction() as uncommitted:
        await uncommitted.rows("UPDATE master_keys SET retired_at = now()")
        inserting = asyncio.create_task(pool.rows(INSERT_KEYS, values))
        await waits_for_a_lock(pool)
    with pytest.raises(NotNullViolationError):
        await inserting


async def test_another_key_under_the_name_of_a_lost_one_is_named(
    config: Path, pool: Pool, older_token: tuple[UUID, UUID]
):
    """The operator makes a new key before the lost one is retired."""
    assert (await call(config, "master-key", "generate")).exit_code == 0
    done = await call(config, *NEWEST, "--lost")
    assert done.exit_code == 1
    assert "another key under the name 'custody/2'" in done.stderr
    assert "delete it" in done.stderr
    assert await pool.rows("SELECT FROM master_keys WHERE retired_at IS NOT NULL") == []


async def test_a_database_knows_its_newest_version_without_the_retired_ones(
    config: Path, newest_retired: tuple[UUID, UUID]
):
    done = await call(config, "keys", "list", "--older", "--json")
    assert json.loads(done.stdout) == []


async def test_a_retirement_without_an_audit_record_is_found(
    config: Path, pool: Pool, keys: tuple[UUID, UUID]
):
    """A person who writes to the database could hide keys from the checks."""
    await pool.rows("UPDATE master_keys SET retired_at = now() WHERE id = 'custody/1'")
    verify = await call(config, "audit", "verify", "--offline", "--other", ADOPTER)
    assert verify.exit_code == 1
    assert "retired master key custody/1" in verify.output


async def test_a_retired_key_that_is_imported_is_compared_with_its_row(
    config: Path,
    settings: DriverSettings,
    pool: Pool,
    empty_token: TokenFolder,
    tmp_path: Path,
    values: dict[str, str],
):
    """The found key comes from a backup: it was not made inside the HSM that it is restored to."""
    await make_master_key(settings_for(empty_token, tmp_path / "state"))
    old = await store_a_key(settings, pool)
    second = "{Attribute.ID: (2).to_bytes(4)}"
    restore_master_keys(empty_token, values, second)
    await know(pool, config, values)
    delete_version(empty_token, 2)
    assert (await call(config, *NEWEST)).exit_code == 0

    restore_master_keys(empty_token, dict.fromkeys(values, "11" * 32), second)
    done = await adopt(config)
    assert done.exit_code == 1
    assert "not a key that this database knows" in done.stderr
    delete_version(empty_token, 2)

    restore_master_keys(empty_token, values, second)
    done = await adopt(config)
    assert done.exit_code == 0, done.output
    settings = pin(config, done)
    with pytest.raises(OperatorError, match="custody/2"):
        await signs(settings, pool, old)
    done = await call(config, *adopt_version(2))
    assert "adopted custody-host/2, custody/2" in done.stdout
    await signs(settings, pool, old)
