"""A master key that came from the HSM's backup: the same key, but not made inside this token.

The first token's master key is extractable, so that the test can take it out and put it into a
second token with the attributes that a vendor's restore keeps: CKA_LOCAL is then false for real.
"""

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from custody.database.pool import Pool
from custody.pkcs11.launch import HsmCannotStart
from custody.pkcs11.wrapped_key import WrappedKey
from custody.runtime.configuration import read_settings, write_secret
from custody.runtime.errors import OperatorError
from custody.runtime.signing_key import create_signing_key
from custody.wire.algorithms import ECDSA_SECP256K1
from hsm_driver.cli import app
from hsm_driver.configuration import NewDriver, new_configuration
from hsm_driver.driver import open_hsm
from hsm_driver.settings import DriverSettings
from hsm_driver.vault import ADOPTED, Vault
from softhsm.tokens import TokenFolder
from tests.adopter import ADOPTER, adopt_first, adopt_row
from tests.integration.pkcs11.conftest import make_master_key, settings_for
from tests.integration.pkcs11.outside import (
    LABEL,
    restore_master_keys,
    take_out_master_keys,
)
from tests.integration.pkcs11.test_schemes import digest, verified

REASON = ["--reason", "HSM failed, backup of Monday"]


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Values of an extractable master key and its key for host signing."""
    folder = tmp_path_factory.mktemp("lost")
    lost = TokenFolder(folder)
    lost.make(LABEL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(lost.configuration))
        asyncio.run(make_master_key(settings_for(lost, folder / "state"), extractable=True))
    return take_out_master_keys(lost)


@pytest.fixture
def config(empty_token: TokenFolder, tmp_path: Path, driver_database: str) -> Path:
    """A driver's configuration over an empty token."""
    path = tmp_path / "hsm-driver.toml"
    new = NewDriver(
        node="node-1",
        url="https://localhost:1",
        job_signing_keys=["AAAA"],
        database_url=driver_database,
        module=Path(empty_token.module),
        token_label=LABEL,
        pin_file=empty_token.pin_file(LABEL),
    )
    write_secret(path, new_configuration(new).encode())
    create_signing_key(read_settings(path, DriverSettings).identity.private_key)
    return path


@pytest.fixture
def settings(config: Path) -> DriverSettings:
    return read_settings(config, DriverSettings)


@pytest.fixture
async def pool(driver_database: str):
    async with Pool(driver_database, 2, "test") as pool:
        yield pool


async def call(config: Path, *arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, ["--config", str(config), *arguments])


async def adopt(config: Path, *options: str) -> Result:
    return await call(config, "master-key", "adopt", "--restored", *REASON, *options)


def pin(config: Path, adopted: Result) -> DriverSettings:
    """Write the lines that adopt printed into [hsm]. Return the settings."""
    lines = [line for line in adopted.stdout.splitlines() if line.startswith("restored_")]
    assert lines
    text = config.read_text()
    config.write_text(text.replace("[hsm]\n", "\n".join(["[hsm]", *lines, ""])))
    return read_settings(config, DriverSettings)


def without(config: Path, line: str) -> DriverSettings:
    """Remove a line of the configuration. Return the settings."""
    text = config.read_text()
    assert line in text
    config.write_text(text.replace(line, ""))
    return read_settings(config, DriverSettings)


async def know(pool: Pool, config: Path, values: dict[str, str]) -> None:
    """Record the keys' check values in the database, as their first driver did."""
    keys = await check_values(config)
    assert {name.rpartition("/")[0] for name in keys} == set(values)
    for name, text in keys.items():
        insert = (
            "INSERT INTO master_keys (id, check_value) VALUES (:id, :check_value) "
            "ON CONFLICT DO NOTHING RETURNING id"
        )
        check_value = bytes.fromhex(text[2:])
        row = {"id": name, "check_value": check_value}
        await adopt_row(pool, ADOPTED, (name, check_value), insert, row)


async def generated(settings: DriverSettings, pool: Pool) -> WrappedKey:
    async with open_hsm(settings, workers=1) as hsm:
        vault = Vault(pool, hsm)
        await vault.compare_master_keys()
        return await vault.generate(ECDSA_SECP256K1)


async def test_a_restored_master_key_is_used_once_it_is_adopted(
    config: Path, settings: DriverSettings, pool: Pool, empty_token: TokenFolder, values
):
    restore_master_keys(empty_token, values)
    await know(pool, config, values)
    with pytest.raises(HsmCannotStart) as caught:
        await generated(settings, pool)
    assert "was not made inside this HSM" in caught.value.what
    assert "adopt --restored" in caught.value.todo

    done = await adopt(config)
    assert done.exit_code == 0, done.output
    assert "custody/1" in done.stdout
    assert "custody-host/1" in done.stdout
    with pytest.raises(HsmCannotStart, match="restored_check_values"):
        await generated(settings, pool)
    settings = pin(config, done)
    assert "already" in (await adopt(config)).stdout
    key = await generated(settings, pool)
    async with open_hsm(settings) as hsm:  # another start
        verified(key, digest(1), await hsm.sign(key, digest(1)))

    checks = json.loads((await call(config, "doctor", "--json")).stdout)
    found = {check["name"]: check for check in checks}
    assert found["master key"]["status"] == "ok"
    assert "restored from a backup" in found["master key"]["detail"]
    assert found["master key and database"]["status"] == "ok"

    records = await pool.rows("SELECT record FROM audit WHERE node = 'node-1' ORDER BY sequence")
    said = [json.loads(row.record) for row in records]
    assert {(each["kind"], each["key"]) for each in said} == {
        ("AdoptRestoredKey", "custody/1"),
        ("AdoptRestoredKey", "custody-host/1"),
        ("RecordKeyProof", "custody/1"),
        ("RecordKeyProof", "custody-host/1"),
    }
    assert {each["reason"] for each in said if "reason" in each} == {REASON[1]}
    verify = await call(config, "audit", "verify", "--offline", "--other", ADOPTER)
    assert verify.exit_code == 0, verify.output


async def test_an_imported_version_is_refused_though_the_database_says_that_it_is_adopted(
    config: Path, settings: DriverSettings, pool: Pool, empty_token: TokenFolder, tmp_path: Path,
    values,
):  # fmt: skip
    """The attacker of ADR 19: he has the PIN, and writes to the database."""
    await make_master_key(settings_for(empty_token, tmp_path / "state"))
    await generated(settings, pool)
    second = "{Attribute.ID: (2).to_bytes(4)}"
    restore_master_keys(empty_token, dict.fromkeys(values, "11" * 32), second)
    await know(pool, config, values)
    await pool.rows(
        "INSERT INTO restored_keys (check_value, is_extractable, operator, reason) "
        "SELECT check_value, false, 'bo', 'none' FROM master_keys"
    )
    with pytest.raises(HsmCannotStart, match="restored_check_values") as caught:
        await generated(settings, pool)
    assert "'custody/2'" in caught.value.what
    checks = json.loads((await call(config, "doctor", "--json")).stdout)
    assert next(each for each in checks if each["name"] == "master key")["status"] == "fail"


async def test_another_master_key_is_refused_and_named(
    config: Path, settings: DriverSettings, pool: Pool, empty_token: TokenFolder, values
):
    restore_master_keys(empty_token, dict.fromkeys(values, "11" * 32))
    await know(pool, config, values)
    (before,) = await pool.rows("SELECT check_value FROM master_keys WHERE id = 'custody/1'")
    await pool.rows("UPDATE master_keys SET check_value = sha256('another') WHERE id = 'custody/1'")
    done = await adopt(config)
    assert done.exit_code == 1
    assert "'custody/1' is another key" in done.stderr
    assert before.check_value.hex()[:16] in done.stderr
    with pytest.raises(OperatorError):
        await generated(settings, pool)


async def check_values(config: Path) -> dict[str, str]:
    """Return the check values of the token's keys by name, in hex, as an operator notes them."""
    listed = await call(config, "master-key", "list", "--json")
    return {key["name"]: key["check_value"] for key in json.loads(listed.stdout)}


async def test_an_imported_key_that_the_database_does_not_know_is_refused(
    config: Path, pool: Pool, empty_token: TokenFolder, values
):
    restore_master_keys(empty_token, values)
    await know(pool, config, values)
    await pool.rows("DELETE FROM master_keys WHERE id = 'custody-host/1'")
    done = await adopt(config)
    assert done.exit_code == 1
    assert "custody-host/1" in done.stderr
    assert "not a key that this database knows" in done.stderr
    assert await pool.rows("SELECT FROM restored_keys") == []


async def test_a_new_database_takes_the_check_values_that_the_operator_noted(
    config: Path, pool: Pool, empty_token: TokenFolder, values
):
    """HSM and database are lost together, and the database has no backup."""
    restore_master_keys(empty_token, values)
    noted = await check_values(config)
    for given in ([], ["--check-value", noted["custody/1"]]):
        done = await adopt(config, *given)
        assert done.exit_code == 1
        assert "this database is new" in done.stderr
        assert "backup restore" in done.stderr
        assert "--check-value" in done.stderr
    done = await adopt(config, *(f"--check-value={value}" for value in noted.values()))
    assert done.exit_code == 0, done.output
    settings = pin(config, done)
    async with open_hsm(settings, workers=1) as hsm:
        await adopt_first(Vault(pool, hsm), pool)  # as rebuild-from-s3 and run do
    await generated(settings, pool)
    verify = await call(config, "audit", "verify", "--offline", "--other", ADOPTER)
    assert verify.exit_code == 0, verify.output


async def test_a_noted_check_value_that_no_imported_key_has_is_refused(
    config: Path, pool: Pool, empty_token: TokenFolder, values
):
    restore_master_keys(empty_token, values)
    noted = [*(await check_values(config)).values(), "0x" + "ab" * 32]
    done = await adopt(config, *(f"--check-value={value}" for value in noted))
    assert done.exit_code == 1
    assert "no imported key in this HSM has the check value ababab" in done.stderr
    await know(pool, config, values)
    assert (await adopt(config, f"--check-value={noted[-1]}")).exit_code == 1
    assert await pool.rows("SELECT FROM restored_keys") == []


@pytest.mark.parametrize(
    ("inner", "said"),
    [
        ("{Attribute.PRIVATE: None}", "as an object that needs no login"),
        ("{Attribute.PRIVATE: False}", "wraps no key that it can unwrap again"),
    ],
    ids=["an attribute is missing", "an attribute differs"],
)
async def test_a_restored_key_with_another_unwrap_template_is_refused(
    config: Path, pool: Pool, empty_token: TokenFolder, values, inner: str, said: str
):
    restore_master_keys(empty_token, values, inner=inner)
    await know(pool, config, values)
    done = await adopt(config)
    assert done.exit_code == 1
    assert said in done.stderr
    assert await pool.rows("SELECT FROM restored_keys") == []


async def test_a_key_that_was_generated_extractable_needs_that_option(
    config: Path, pool: Pool, empty_token: TokenFolder, values
):
    restore_master_keys(empty_token, values, "{Attribute.EXTRACTABLE: True}")
    await know(pool, config, values)
    assert "it is extractable" in (await adopt(config)).stderr
    done = await adopt(config, "--extractable")
    assert done.exit_code == 0, done.output
    await generated(pin(config, done), pool)
    settings = without(config, "restored_extractable = true\n")
    with pytest.raises(HsmCannotStart, match="is extractable"):  # each worker checks the attributes
        await generated(settings, pool)


async def test_nothing_is_adopted_where_every_key_was_made_inside(
    config: Path, pool: Pool, empty_token: TokenFolder, tmp_path: Path
):
    await make_master_key(settings_for(empty_token, tmp_path / "state"))
    done = await adopt(config)
    assert done.exit_code == 0
    assert "no key needs adoption" in done.stdout
    assert await pool.rows("SELECT FROM restored_keys") == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--restored"], "a reason has"),
        (["--reason", "x"], "belong to --restored"),
        (["--extractable"], "belong to --restored"),
        (["--check-value", "0x" + "11" * 32], "belong to --restored"),
        (["custody/2", "--restored", "--reason", "x"], "takes no names"),
        (["--restored", "--reason", "x", "--check-value", "0x11"], "is not a check value"),
    ],
)
async def test_options_that_do_not_fit_are_refused(config: Path, options: list[str], said: str):
    done = await call(config, "master-key", "adopt", *options)
    assert done.exit_code == 1
    assert said in done.stderr
