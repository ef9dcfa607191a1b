"""Keys of which this restored signer lacks the share set that its peers use."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from custody.database.causes import is_transient
from custody.database.pool import Pool
from mpc.metrics import NEEDED_REPAIRS
from mpc.shares import share_queries

INTERVAL = 10.0


@dataclass(frozen=True)
class NeededRepair:
    """``ceremony`` and ``generation``: of the set that the peers ``told_by`` use."""

    key_id: UUID
    ceremony: UUID
    generation: int
    threshold: int
    told_by: list[str]
    noticed_at: datetime


class NeededRepairs:
    """Counted every few seconds, and shown in the health."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._count = 0

    def problem(self) -> str | None:
        """Return how many keys need a repair, as of the last count; None for none."""
        if not self._count:
            return None
        return (
            f"{self._count} keys need a repair: this signer's database was restored from a backup "
            "that is older than the peers' share sets. See: mpc-signer shares list"
        )

    async def count(self) -> None:
        self._count = len(await needed_repairs(self._pool))
        NEEDED_REPAIRS.set(self._count)

    async def count_repeatedly(self) -> None:
        """Count until cancelled."""
        while True:
            try:
                await self.count()
            except Exception as error:
                if not is_transient(error):
                    raise
            await asyncio.sleep(INTERVAL)


async def needed_repairs(pool: Pool) -> list[NeededRepair]:
    """Return the keys that still need a repair, in the order in which that was noticed."""
    return [NeededRepair(*row) for row in await pool.rows(share_queries.NEEDED_REPAIRS)]
