"""Each ticket is used once: which were, until long after nobody could use them again."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import structlog

from custody.database.causes import is_transient
from custody.database.pool import Pool

log = structlog.get_logger()

INTERVAL = 3600.0

_USE = """
    INSERT INTO used_tickets (ceremony) VALUES (:ceremony)
    ON CONFLICT DO NOTHING RETURNING ceremony
"""

_FORGET = """
    DELETE FROM used_tickets WHERE used_at < now() - CAST(:older_than AS interval)
    RETURNING ceremony
"""


async def use_ticket(pool: Pool, ceremony: UUID) -> bool:
    """Remember a ceremony's ticket, on disk when this returns. False when it was used before."""
    # not rows(), which tries again: the second time would find the first's own row
    async with pool.connection() as connection:
        return await connection.row(_USE, {"ceremony": ceremony}) is not None


async def forget(pool: Pool, older_than: timedelta) -> int:
    """Forget old tickets; return how many. ``older_than``: far longer than any ticket lives."""
    return len(await pool.rows(_FORGET, {"older_than": older_than}))


async def forget_repeatedly(pool: Pool, older_than: Callable[[], timedelta]) -> None:
    """Forget now and then, until cancelled."""
    while True:
        try:
            if forgotten := await forget(pool, older_than()):
                log.info("forgot used tickets", rows=forgotten)
        except Exception as error:
            if not is_transient(error):
                raise
        await asyncio.sleep(INTERVAL)
