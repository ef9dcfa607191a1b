"""`hsm-driver import-keys`: an operator looks at the import keys of a token, and destroys them."""

import json
from pathlib import Path
from uuid import UUID, uuid4

from custody.database.pool import Pool
from custody.pkcs11.hsm_imports import HsmImports
from custody.wire.algorithms import ECDSA_SECP256K1
from hsm_driver.driver import open_hsm
from hsm_driver.import_keys import ImportRows
from hsm_driver.settings import DriverSettings
from tests.integration.pkcs11.rewrapping import call, done, first_version
from tests.integration.pkcs11.test_restored_master_keys import config, pool

__all__ = ["config", "pool"]


async def make_import_keys(
    settings: DriverSettings, pool: Pool, number: int, owner: str | None = None
) -> list[UUID]:
    """Make import keys of this driver group, or of another owner."""
    ids = sorted(uuid4() for _ in range(number))
    async with open_hsm(settings, pool, workers=1) as hsm:
        imports = HsmImports(hsm, owner or await ImportRows(pool).owner())
        for each in ids:
            await imports.make(each, ECDSA_SECP256K1)
    return ids


async def listed(config: Path, *options: str) -> list[UUID]:
    found = await done(config, "import-keys", "list", "--json", *options)
    return sorted(UUID(each["import_id"]) for each in found)


async def records(pool: Pool) -> list[tuple[str, str]]:
    """Return operator and import of each audit record of the command."""
    rows = await pool.rows("SELECT record FROM audit ORDER BY sequence")
    said = [json.loads(row.record) for row in rows]
    return [
        (each["operator"], each["import_id"]) for each in said if each["kind"] == "DeleteImportKey"
    ]


async def test_each_import_key_that_an_operator_destroys_has_an_audit_record(
    config: Path, pool: Pool
):
    settings = await first_version(config, "--rewrappable")
    first, second, third = ids = await make_import_keys(settings, pool, 3)
    assert await listed(config) == ids
    unknown = str(uuid4())
    partly = await call(config, "import-keys", "delete", str(first), unknown)
    assert partly.exit_code == 1
    assert unknown in partly.stderr
    assert str(first) not in partly.stderr
    assert await listed(config) == [second, third]
    assert [import_id for _, import_id in await records(pool)] == [str(first)]
    said = await done(config, "import-keys", "delete", "--all")
    assert "import keys destroyed: 2" in said
    assert await listed(config) == []
    found = await records(pool)
    assert [import_id for _, import_id in found] == [str(each) for each in ids]
    assert all(operator for operator, _ in found)
    await done(config, "import-keys", "delete", "--all")
    assert await records(pool) == found
    checked = await done(config, "audit", "verify", "--offline", "--json")
    assert checked["findings"] == []


async def test_an_import_whose_key_is_destroyed_does_not_count_among_those_that_wait(
    config: Path, pool: Pool
):
    """Else many imports that applications have broken off stop all others for an hour."""
    settings = await first_version(config, "--rewrappable")
    rows = ImportRows(pool)
    ids = await make_import_keys(settings, pool, 2)
    for each in ids:
        await rows.reserve(each, None, ECDSA_SECP256K1)
    assert await rows.alive(ids) == set(ids)
    await done(config, "import-keys", "delete", str(ids[0]))
    assert await rows.alive(ids) == {ids[1]}
    await done(config, "import-keys", "delete", "--all")
    assert await rows.alive(ids) == set()


async def test_without_a_database_for_the_record_no_import_key_is_destroyed(
    config: Path, pool: Pool
):
    settings = await first_version(config, "--rewrappable")
    ids = await make_import_keys(settings, pool, 1)
    await pool.rows("ALTER TABLE audit RENAME TO no_audit")
    assert (await call(config, "import-keys", "delete", "--all")).exit_code != 0
    assert await listed(config) == ids


async def test_import_keys_of_another_group_are_destroyed_only_by_their_ids(
    config: Path, pool: Pool
):
    settings = await first_version(config, "--rewrappable")
    own = await make_import_keys(settings, pool, 1)
    others = await make_import_keys(settings, pool, 2, "fedcba9876543210")
    assert await listed(config) == own
    assert await listed(config, "--others") == others
    checked = await done(config, "doctor", "--json", exit_code=1)  # without a control plane
    rows = {each["name"]: each for each in checked}
    said = rows["import keys of other driver groups"]
    assert (said["status"], said["detail"][0]) == ("ok", "2")
    said = rows["import keys"]  # that of this group has no row
    assert said["status"] == "warn"
    assert str(own[0]) in said["detail"]
    assert not any(str(each) in said["detail"] for each in others)
    first, second = map(str, others)
    for refused in ((first,), ("--all", "--others"), ("--others",), ("--others", str(own[0]))):
        assert (await call(config, "import-keys", "delete", *refused)).exit_code == 1
    assert await listed(config, "--others") == others
    await done(config, "import-keys", "delete", "--all")
    assert (await listed(config), await listed(config, "--others")) == ([], others)
    await done(config, "import-keys", "delete", "--others", second)
    assert await listed(config, "--others") == [others[0]]
    assert [import_id for _, import_id in await records(pool)] == [str(own[0]), second]
