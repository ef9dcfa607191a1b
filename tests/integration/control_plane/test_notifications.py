"""Waiting is ended by events, of this process and of others, also after an outage."""

import asyncio
import time
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from sqlalchemy import text

from custody.control_plane.jobs import notifications as module
from custody.control_plane.jobs.notifications import DONE_CHANNEL, JOBS_CHANNEL, Notifications
from tests.engines import create_engine


@pytest.fixture
async def listening(control_plane_database: str) -> AsyncIterator[Notifications]:
    notifications = Notifications(control_plane_database)
    notifications.start()
    async with asyncio.timeout(10):
        while not notifications.listening:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    yield notifications
    await notifications.close()


async def notify(url: str, channel: str, payload: str) -> None:
    engine = create_engine(url)
    async with engine.begin() as connection:
        await connection.execute(
            text("SELECT pg_notify(:channel, :payload)"), {"channel": channel, "payload": payload}
        )
    await engine.dispose()


async def test_another_process_wakes_who_waits_for_it(
    listening: Notifications, control_plane_database: str
):
    job, other = uuid4(), uuid4()
    with (
        listening.done(job) as done,
        listening.done(other) as not_done,
        listening.jobs("hsm") as jobs,
    ):
        await notify(control_plane_database, DONE_CHANNEL, f"somebody {job} {uuid4()}")
        assert await done.wait(5)
        assert not await not_done.wait(0.1)
        await notify(control_plane_database, JOBS_CHANNEL, "somebody hsm")
        assert await jobs.wait(5)
        assert not await jobs.wait(0.1)


async def test_this_process_has_woken_its_own_already(
    listening: Notifications, control_plane_database: str
):
    with listening.jobs("hsm") as waiter:
        await notify(control_plane_database, JOBS_CHANNEL, f"{listening.origin} hsm")
        assert not await waiter.wait(0.3)
        listening.wake_jobs("hsm")
        assert await waiter.wait(0)


async def test_what_came_before_the_wait_is_not_missed(listening: Notifications):
    job = uuid4()
    with listening.done(job) as waiter:
        listening.wake_done([job])
        assert await waiter.wait(5)


async def test_a_lost_connection_is_made_again_and_everybody_looks(
    listening: Notifications, control_plane_database: str
):
    with listening.jobs("hsm") as waiter:
        engine = create_engine(control_plane_database)
        async with engine.connect() as connection:
            await connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        await engine.dispose()
        assert await waiter.wait(5)
        await notify(control_plane_database, JOBS_CHANNEL, "somebody hsm")
        assert await waiter.wait(5)


async def test_a_wait_ends_by_itself_to_look_again(
    listening: Notifications, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "RECHECK_SECONDS", 0.2)
    started = time.monotonic()
    with listening.jobs("hsm") as waiter:
        assert not await waiter.wait(60)
    assert time.monotonic() - started < 50


async def test_nobody_is_kept_who_has_stopped_waiting(listening: Notifications):
    for _ in range(3):
        with listening.jobs("hsm"), listening.done(uuid4()):
            pass
    assert not listening._waiting


async def test_closing_wakes_everybody(listening: Notifications):
    with listening.jobs("hsm") as waiter:
        waiting = asyncio.create_task(waiter.wait(60))
        await asyncio.sleep(0)
        await listening.close()
        assert await waiting
        assert listening.closed
