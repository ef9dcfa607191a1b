"""Master keys that another node adopted, whose audit chain the test does not check."""

from collections.abc import Mapping
from typing import Any

from custody.database.pool import Pool
from custody.node.adoptions import adoptions
from custody.node.audited_changes import AuditedChanges
from hsm_driver.vault import Vault

ADOPTER = "adopting-node"


async def adopt_first(vault: Vault, pool: Pool) -> None:
    """Have an empty database learn the token's master keys, as a driver's start does."""
    await vault.adopt_first_master_keys(AuditedChanges(pool, ADOPTER), "bo")


async def adopt_row(
    pool: Pool, kind: str, key: tuple[str, bytes], insert: str, values: Mapping[str, Any], *,
    node: str = ADOPTER,
) -> None:  # fmt: skip
    """Run an insertion that returns its row, with the record of its adoption by ``node``."""
    records = adoptions(kind, dict([key]), operator="bo")
    await AuditedChanges(pool, node).commit(insert, values, *records)
