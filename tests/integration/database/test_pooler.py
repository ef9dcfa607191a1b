"""A pooler that shares sessions is refused; one that keeps them apart works."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from custody.database.pool import Pool
from custody.database.pooler import SharedSession, require_own_session
from tests.integration.database.pgbouncer import pgbouncer
from tests.integration.database.relay import Relay


@asynccontextmanager
async def busy(url: str, clients: int) -> AsyncIterator[None]:
    """Have other clients use the same pooler."""

    async def work() -> None:
        async with Pool(url, 1, "busy") as pool:
            while True:
                await pool.rows("SELECT pg_sleep(0.001)")

    tasks = [asyncio.create_task(work()) for _ in range(clients)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_server_itself_is_accepted(empty_database: str):
    async with Pool(empty_database, 1, "test") as pool:
        await require_own_session(pool)


async def test_a_proxy_that_only_forwards_is_accepted(empty_database: str):
    async with Relay(empty_database) as relay, Pool(relay.url, 1, "test") as pool:
        await require_own_session(pool)


@pytest.mark.parametrize("clients", [0, 4], ids=["idle", "busy"])
@pytest.mark.parametrize("mode", ["transaction", "statement"])
async def test_a_pooler_that_shares_sessions_is_refused(
    empty_database: str, mode: str, clients: int
):
    with pgbouncer(empty_database, mode) as url:
        async with busy(url, clients), Pool(url, 1, "test") as pool:
            with pytest.raises(SharedSession) as caught:
                await require_own_session(pool)
    assert "pool_mode = session" in caught.value.todo


@pytest.mark.parametrize("clients", [0, 4], ids=["idle", "busy"])
async def test_a_pooler_that_keeps_sessions_apart_is_accepted(empty_database: str, clients: int):
    with pgbouncer(empty_database, "session") as url:
        async with busy(url, clients), Pool(url, 1, "test") as pool:
            await require_own_session(pool)
