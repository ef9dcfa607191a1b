"""The token's master keys against those that the driver's database knows."""

from collections.abc import AsyncIterator

import pytest

from custody.database.pool import Pool
from custody.pkcs11.hsm import Hsm
from custody.runtime.errors import OperatorError
from hsm_driver.vault import Vault
from tests.adopter import adopt_first


@pytest.fixture
async def pool(driver_database: str) -> AsyncIterator[Pool]:
    async with Pool(driver_database, 2, "test") as pool:
        yield pool


@pytest.fixture
def vault(pool: Pool, hsm: Hsm) -> Vault:
    return Vault(pool, hsm)


async def know(pool: Pool, name: str, check_value: bytes) -> None:
    insert = "INSERT INTO master_keys (id, check_value) VALUES (:name, :value)"
    await pool.rows(insert, {"name": name, "value": check_value})


async def refusal(vault: Vault) -> str:
    with pytest.raises(OperatorError) as caught:
        await vault.compare_master_keys()
    return str(caught.value)


async def test_the_first_master_keys_are_adopted_and_known_from_then_on(vault: Vault, pool: Pool):
    await vault.compare_master_keys()
    await adopt_first(vault, pool)
    await vault.compare_master_keys()


async def test_another_master_key_under_a_known_name_is_refused(vault, pool, hsm):
    first, *_ = sorted(await hsm.check_values())
    await know(pool, first, bytes(32))
    assert "is another key" in await refusal(vault)


async def test_a_master_key_that_appeared_later_is_refused(vault, pool, hsm):
    """A holder of the PIN could have made it, and know its value."""
    present = await hsm.check_values()
    first, *others = sorted(present)
    assert others
    await know(pool, first, present[first])
    told = await refusal(vault)
    assert all(name in told for name in others)
    assert "master-key adopt" in told


async def test_a_known_master_key_that_is_missing_is_refused(vault, pool):
    await know(pool, "custody/9", bytes(32))
    assert "no master key 'custody/9'" in await refusal(vault)
