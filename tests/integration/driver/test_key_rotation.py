"""The age of the master key that wraps new keys."""

from uuid import uuid4

import pytest

from custody.database.pool import Pool
from custody.runtime.checks import Status
from hsm_driver.key_rotation import master_key_age, older_keys_check, rotation_check
from hsm_driver.settings import HsmSection

SECTION = HsmSection.model_validate(
    {"module": "/nowhere/pkcs11.so", "token_label": "custody", "pin_file": "/nowhere/pin"}
)
KNOW = """
    INSERT INTO master_keys (id, check_value, first_seen, retired_at)
    VALUES (:id, '', now() - make_interval(days => :days), :retired_at)
"""


STORE = """
    INSERT INTO wrapped_keys (key_id, scheme, curve, public_key, protection, wrapped, master_key,
        mechanism) VALUES (:id, 'ECDSA', 'secp256k1', :public_key, 'hsm', '', :master_key, '')
"""


async def store(pool: Pool, master_key: str) -> None:
    """Store a key under a master key."""
    key_id = uuid4()
    stored = {"id": key_id, "public_key": key_id.bytes, "master_key": master_key}
    await pool.rows(STORE, stored)


async def know(pool: Pool, name: str, days: int, *, retired: bool = False) -> None:
    """Have the database know a master key for so many days."""
    await pool.rows(KNOW, {"id": name, "days": days, "retired_at": None})
    if retired:
        await pool.rows("UPDATE master_keys SET retired_at = now() WHERE id = :id", {"id": name})


async def test_before_the_first_run_no_master_key_has_an_age(pool: Pool):
    assert await master_key_age(pool, SECTION) is None
    assert (await rotation_check(pool, SECTION)).status is Status.OK


async def test_the_newest_version_counts_and_a_new_one_resets_the_age(pool: Pool):
    await know(pool, "custody/9", days=800)
    await know(pool, "custody-host/9", days=800)
    check = await rotation_check(pool, SECTION)
    assert check.status is Status.WARN
    assert "custody/9 was first used on" in check.detail
    assert (check.todo or "").startswith("hsm-driver master-key generate && hsm-driver master-key")
    await know(pool, "custody/10", days=0)
    check = await rotation_check(pool, SECTION)
    assert check.status is Status.OK
    assert "custody/10 was first used on" in check.detail


async def test_a_retired_version_wraps_nothing_new(pool: Pool):
    await know(pool, "custody/1", days=800)
    await know(pool, "custody/2", days=1, retired=True)
    assert (await rotation_check(pool, SECTION)).status is Status.WARN


@pytest.mark.parametrize(("limit", "status"), [(0, Status.OK), (799, Status.WARN)])
async def test_the_configuration_says_when(pool: Pool, limit: int, status: Status):
    await know(pool, "custody/1", days=800)
    section = SECTION.model_copy(update={"rotate_after_days": limit})
    assert (await rotation_check(pool, section)).status is status


async def test_keys_under_older_versions_are_named_with_the_command_that_moves_them(pool: Pool):
    for name in ("custody/9", "custody-host/9", "custody/10", "custody-host/10"):
        await know(pool, name, days=1)
        await store(pool, name)
    await store(pool, "custody/9")
    check = await older_keys_check(pool)
    assert check is not None
    assert check.status is Status.OK
    assert check.detail.startswith("1 under custody-host/9, 2 under custody/9: hsm-driver master-")
    assert "rewrap" in check.detail
    assert check.detail.endswith("version 10")


async def test_without_keys_under_older_versions_there_is_nothing_to_say(pool: Pool):
    await know(pool, "custody/9", days=1)
    await know(pool, "custody/10", days=1)
    await store(pool, "custody/10")
    assert await older_keys_check(pool) is None
