"""A driver's database and token with two versions of the master key, the first one rewrappable."""

import asyncio
import json
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import nacl.signing
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from typer.testing import CliRunner, Result

from custody.database.pool import Pool
from custody.pkcs11.hsm import Hsm
from custody.pkcs11.wrapped_key import WrappedKey
from custody.runtime.configuration import read_settings
from custody.wire.algorithms import Curve, Scheme
from hsm_driver.cli import app
from hsm_driver.driver import open_hsm
from hsm_driver.settings import DriverSettings
from hsm_driver.vault import Vault, row_of
from tests.adopter import adopt_first
from tests.integration.pkcs11.test_schemes import digest

CURVES = {Curve.SECP256K1: ec.SECP256K1(), Curve.SECP256R1: ec.SECP256R1()}
NEXT = ("master-key", "adopt", "custody/2", "custody-host/2", "--yes")
REWRAP = ("master-key", "rewrap", "--yes", "--json")


async def call(config: Path, *arguments: str, answer: str | None = None) -> Result:
    return await asyncio.to_thread(
        CliRunner().invoke, app, ["--config", str(config), *arguments], input=answer
    )


async def done(config: Path, *arguments: str, exit_code: int = 0) -> Any:
    """Run a command that ends with this exit code. Return its document if it has one."""
    result = await call(config, *arguments)
    assert result.exit_code == exit_code, f"{result.output}{result.exception!r}"
    return json.loads(result.stdout) if "--json" in arguments else result.stdout


def add_to_hsm(config: Path, *lines: str) -> DriverSettings:
    """Allow host signing, and write lines into [hsm]. Return the settings."""
    text = config.read_text().replace("host_signing = []", 'host_signing = ["EdDSA/ed25519"]')
    config.write_text(text.replace("[hsm]\n", "\n".join(["[hsm]", *lines, ""])))
    return read_settings(config, DriverSettings)


def refuse_weaker(config: Path) -> None:
    """Take the acceptance of weaker master keys out of the configuration."""
    lines = config.read_text().splitlines(keepends=True)
    config.write_text("".join(line for line in lines if not line.startswith("weaker_")))


async def first_version(config: Path, *options: str) -> DriverSettings:
    """Make the first version, and accept it although it is weaker. Return the settings."""
    await done(config, "master-key", "generate", *options)
    keys = await done(config, "master-key", "list", "--json")
    values = json.dumps([key["check_value"] for key in keys])
    return add_to_hsm(config, f"weaker_check_values = {values}")


async def second_version(config: Path) -> None:
    await done(config, "master-key", "generate")
    await done(config, *NEXT)
    await done(config, "master-key", "confirm-backup", "--place", "a spare HSM")


async def store_keys(settings: DriverSettings, pool: Pool, each: int) -> dict[UUID, WrappedKey]:
    """Store so many keys of each algorithm, under the newest adopted master key."""
    stored = {}
    async with open_hsm(settings, pool, workers=1) as hsm:
        vault = Vault(pool, hsm)
        await adopt_first(vault, pool)
        for algorithm in [*await hsm.capabilities()] * each:
            key_id, key = uuid4(), await vault.generate(algorithm)
            row = row_of(key_id, None, key)
            await pool.rows(row.sql, row.alone)
            stored[key_id] = key
    return stored


async def rows(pool: Pool) -> dict[UUID, tuple[str, bytes]]:
    """Return master key and wrapped key of each row."""
    found = await pool.rows("SELECT key_id, master_key, wrapped FROM wrapped_keys")
    return {row.key_id: (row.master_key, row.wrapped) for row in found}


async def all_sign(settings: DriverSettings, pool: Pool, keys: dict[UUID, WrappedKey]) -> None:
    """Sign with each key by its present row. Another library verifies under the first public key.

    The HSM is opened as a driver opens it.
    """
    async with open_hsm(settings, pool, workers=1) as hsm:
        vault = Vault(pool, hsm)
        await vault.compare_master_keys()
        for key_id, key in keys.items():
            found = await vault.find(key_id)
            assert found is not None
            await check_signature(hsm, found[0], key.public_key)


async def check_signature(hsm: Hsm, key: WrappedKey, public_key: bytes) -> None:
    raw = await hsm.sign(key, digest(1))
    if key.algorithm.scheme is Scheme.EDDSA:
        nacl.signing.VerifyKey(public_key).verify(digest(1), raw)
        return
    point = ec.EllipticCurvePublicKey.from_encoded_point(CURVES[key.algorithm.curve], public_key)
    der = utils.encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    point.verify(der, digest(1), ec.ECDSA(utils.Prehashed(SHA256())))
