"""Which stored keys are still under a master key that lets them out: doctor and ``keys list``."""

import asyncio
import json
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from typer.testing import CliRunner

from custody.database.pool import Pool
from custody.runtime.configuration import read_settings, write_secret
from custody.runtime.errors import OperatorError
from custody.runtime.signing_key import create_signing_key
from custody.wire.algorithms import ECDSA_SECP256K1
from devstack.processes import free_port
from hsm_driver.cli import app
from hsm_driver.configuration import NewDriver, new_configuration
from hsm_driver.driver import open_hsm
from hsm_driver.settings import DriverSettings
from hsm_driver.vault import Vault, row_of
from softhsm.tokens import TokenFolder
from tests.adopter import adopt_first
from tests.integration.pkcs11.outside import LABEL, make_first_version


@pytest.fixture
def config(empty_token: TokenFolder, tmp_path: Path, driver_database: str) -> Path:
    path = tmp_path / "hsm-driver.toml"
    new = NewDriver(
        node="node-1",
        group="hsm",
        url="https://localhost:1",
        job_signing_keys=["AAAA"],
        database_url=driver_database,
        health_port=free_port(),
        module=Path(empty_token.module),
        token_label=LABEL,
        pin_file=empty_token.pin_file(LABEL),
    )
    write_secret(path, new_configuration(new).encode())
    create_signing_key(read_settings(path, DriverSettings).identity.private_key)
    return path


async def store_a_key(config: Path) -> UUID:
    """As the driver does it, under the newest master key that its database knows."""
    settings = read_settings(config, DriverSettings)
    key_id = uuid4()
    async with (
        Pool(settings.database.read_url(), 2, "test") as pool,
        open_hsm(settings, workers=1) as hsm,
    ):
        vault = Vault(pool, hsm)
        await adopt_first(vault, pool)
        row = row_of(key_id, None, await vault.generate(ECDSA_SECP256K1))
        await pool.rows(row.sql, {name: [row.values[name]] for name in row.values})
    return key_id


def edit(config: Path, old: str, new: str) -> None:
    config.write_text(config.read_text().replace(old, new))


async def accept_weaker(config: Path) -> None:
    """Name the token's keys in the configuration, as an operator does who made them."""
    keys = await call(config, "master-key", "list", "--json")
    values = [key["check_value"] for key in keys]
    edit(config, '# weaker_check_values = ["0x..."]', f"weaker_check_values = {json.dumps(values)}")


async def call(config: Path, *arguments: str) -> Any:
    done = await asyncio.to_thread(CliRunner().invoke, app, ["--config", str(config), *arguments])
    assert done.exit_code in (0, 1), done.output
    return json.loads(done.stdout) if "--json" in arguments else done.stdout


async def test_keys_under_an_older_master_key_are_named(config: Path, empty_token: TokenFolder):
    make_first_version(empty_token)
    await accept_weaker(config)
    old = await store_a_key(config)
    assert await call(config, "keys", "list", "--older", "--json") == []
    await call(config, "master-key", "generate")
    await call(config, "master-key", "adopt", "custody/2", "custody-host/2", "--yes")
    new = await store_a_key(config)

    checks = {check["name"]: check for check in await call(config, "doctor", "--json")}
    weak = checks["keys under custody/1"]
    assert weak["status"] == "warn"
    assert weak["ids"] == [str(old)]
    assert "unwrap-public" in weak["detail"]
    assert "keys list --master-key custody/1" in weak["todo"]
    assert "keys under custody/2" not in checks

    for arguments, expected in (
        (["--older"], [old]),
        (["--master-key", "custody/1"], [old]),
        (["--master-key", "custody/2"], [new]),
        ([], [new, old]),
    ):
        rows = await call(config, "keys", "list", *arguments, "--json")
        assert [row["key_id"] for row in rows] == [str(key_id) for key_id in expected]


async def driver_with_a_first_version(config: Path, token: TokenFolder) -> None:
    await call(config, "master-key", "generate")
    await store_a_key(config)


async def test_adoption_takes_only_keys_that_are_named_and_confirmed(
    config: Path, empty_token: TokenFolder, driver_database: str
):
    await driver_with_a_first_version(config, empty_token)
    await call(config, "master-key", "generate")
    keys = {key["name"]: key for key in await call(config, "master-key", "list", "--json")}

    done = await invoke(config, "master-key", "adopt")
    assert done.exit_code == 1
    assert "hsm-driver master-key adopt custody-host/2 custody/2" in flat(done.stderr)
    done = await invoke(config, "master-key", "adopt", "custody/2", answer="n\n")
    assert done.exit_code == 1
    assert keys["custody/2"]["check_value"] in done.stderr.replace("\n", "")
    assert await adopted(driver_database) == {"custody/1", "custody-host/1"}
    done = await invoke(config, "master-key", "adopt", "custody/2", answer="y\n")
    assert done.exit_code == 0, done.output
    assert await adopted(driver_database) == {"custody/1", "custody-host/1", "custody/2"}
    done = await invoke(config, "master-key", "adopt", "custody/2", "--yes")
    assert "the database knows it" in flat(done.stderr)
    assert "--accept-weaker" not in flat(done.stderr)


async def test_a_weaker_new_key_is_adopted_only_on_demand(
    config: Path, empty_token: TokenFolder, driver_database: str
):
    await driver_with_a_first_version(config, empty_token)
    await call(config, "master-key", "generate", "--rewrappable")
    names = ("custody/2", "custody-host/2", "--yes")
    done = await invoke(config, "master-key", "adopt", *names)
    assert done.exit_code == 1
    assert "does not fix EXTRACTABLE" in flat(done.stderr)
    assert "repeat the command with --accept-weaker" in flat(done.stderr)
    assert "custody/2" not in await adopted(driver_database)

    done = await invoke(config, "master-key", "adopt", *names, "--accept-weaker")
    assert done.exit_code == 0, done.output
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("weaker_")]
    with pytest.raises(OperatorError, match="does not fix EXTRACTABLE"):
        await store_a_key(config)
    edit(config, '# weaker_check_values = ["0x..."]', line)
    await store_a_key(config)


async def invoke(config: Path, *arguments: str, answer: str | None = None) -> Any:
    return await asyncio.to_thread(
        CliRunner().invoke, app, ["--config", str(config), *arguments], input=answer
    )


def flat(text: str) -> str:
    return " ".join(text.split())


async def adopted(driver_database: str) -> set[str]:
    async with Pool(driver_database, 1, "test") as pool:
        return {row.id for row in await pool.rows("SELECT id FROM master_keys")}
