"""Keys that this restored signer cannot sign with: their shares need a repair, or are uncertain."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from custody.database.causes import is_transient
from custody.database.pool import Pool
from mpc.metrics import NEEDED_REPAIRS, UNCERTAIN_SHARES
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
        self._uncertain = 0

    def problem(self) -> str | None:
        """Return how many keys cannot sign here, as of the last count; None for none."""
        said = []
        if self._count:
            said.append(f"{self._count} keys need a repair: their signers use other share sets")
        if self._uncertain:
            said.append(
                f"{self._uncertain} shares are uncertain, and sign nothing: too few signers have "
                "said that they use these share sets"
            )
        if not said:
            return None
        return f"this signer was restored: {'; '.join(said)}. See: mpc-signer shares list"

    async def count(self) -> None:
        self._count = len(await needed_repairs(self._pool))
        NEEDED_REPAIRS.set(self._count)
        self._uncertain = await count_uncertain(self._pool)
        UNCERTAIN_SHARES.set(self._uncertain)

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


async def count_uncertain(pool: Pool) -> int:
    """Return how many restored shares sign nothing until t signers name their sets."""
    [row] = await pool.rows(share_queries.COUNT_UNCERTAIN)
    return int(row.number)
