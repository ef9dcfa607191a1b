"""A new version of the master key that is on the token, and not adopted yet."""

from pathlib import Path

from custody.database.pool import Pool
from tests.integration.pkcs11.rewrapping import NEXT, done, first_version, store_keys
from tests.integration.pkcs11.test_restored_master_keys import config, pool
from tests.providers.tokens import Tokens

__all__ = ["config", "pool"]


async def test_a_new_version_wraps_no_key_before_it_is_adopted(
    config: Path, pool: Pool, empty_token: Tokens
):
    """Also one that is not weaker: without a backup of it, its keys could be lost."""
    settings = await first_version(config)
    await store_keys(settings, pool, 1)
    await done(config, "master-key", "generate")
    before = await store_keys(settings, pool, 1)
    assert {key.master_key for key in before.values()} == {"custody/1", "custody-host/1"}
    await done(config, *NEXT)
    after = await store_keys(settings, pool, 1)
    assert {key.master_key for key in after.values()} == {"custody/2", "custody-host/2"}
