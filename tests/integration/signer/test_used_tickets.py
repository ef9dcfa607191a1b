"""Used tickets are remembered for as long as the journal remembers, and no longer."""

from datetime import timedelta
from uuid import uuid4

from custody.database.pool import Pool
from mpc.ceremonies.used_tickets import forget


async def test_only_what_is_older_is_forgotten(pool: Pool):
    for days in (1, 89, 91):
        await pool.rows(
            "INSERT INTO used_tickets (ceremony, used_at)"
            " VALUES (:ceremony, now() - CAST(:ago AS interval))",
            {"ceremony": uuid4(), "ago": timedelta(days=days)},
        )
    assert await forget(pool, timedelta(days=90)) == 1
    assert len(await pool.rows("SELECT FROM used_tickets")) == 2
