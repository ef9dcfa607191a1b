"""When the job loop asks for jobs: only while nothing is known that would fail them all."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest

from custody.node.clock import Clock
from custody.node.control_plane_client import ControlPlaneUnavailable
from custody.node.freeze import Freeze
from custody.node.health import Health, Part
from custody.node.loop import JobLoop
from custody.node.slots import Slots
from custody.wire.node_api import (
    ClaimedJob,
    ClaimRequest,
    ClaimResponse,
    ExtendRequest,
    ExtendResponse,
)
from custody.wire.signed_bytes import SignedBytes

SECONDS = 10


class ControlPlane:
    """Has no jobs; counts how often it is asked."""

    def __init__(self) -> None:
        self.claims = 0
        self.asked = asyncio.Event()

    async def claim(self, _: ClaimRequest) -> ClaimResponse:
        self.claims += 1
        self.asked.set()
        await asyncio.sleep(0.01)
        return ClaimResponse(jobs=[])


class Database:
    """Away, until it is asked often enough whether it is back."""

    def __init__(self, checks: int) -> None:
        self._left = checks

    @property
    def cause(self) -> str | None:
        return "away" if self._left else None

    async def check(self) -> None:
        self._left -= 1


class Journal:
    def __init__(self, database: Database) -> None:
        self.database = database


def loop_of(control_plane: ControlPlane, health: Health, database: Database) -> JobLoop:
    clock = Clock(timedelta(seconds=30))
    now = datetime.now(UTC)
    clock.compare(now, now, now)
    unused = cast(Any, None)
    return JobLoop(
        node="driver-1",
        client=cast(Any, control_plane),
        authenticator=unused,
        journal=cast(Any, Journal(database)),
        clock=clock,
        handlers={"Sign": unused},
        reporter=unused,
        slots=Slots(1),
        longest_life=lambda: timedelta(days=1),
        health=health,
        freeze=unused,
        locks=unused,
        on_stage=lambda _: None,
    )


async def test_a_frozen_node_claims_nothing_until_it_is_unfrozen(tmp_path: Path):
    freeze, control_plane = Freeze(tmp_path), ControlPlane()
    freeze.freeze("drill")
    loop = loop_of(control_plane, Health([Part("freeze", freeze.problem)]), Database(0))
    running = asyncio.create_task(loop.run())
    await asyncio.sleep(0.6)  # a claim, which must not come
    assert control_plane.claims == 0
    freeze.unfreeze()
    async with asyncio.timeout(SECONDS):
        await control_plane.asked.wait()
    freeze.freeze("drill")
    await asyncio.sleep(0.1)  # the claim under way
    before = control_plane.claims
    await asyncio.sleep(0.4)  # a claim, which must not come
    assert control_plane.claims == before
    running.cancel()


class Waiting(ControlPlane):
    """Holds each claim open, as while it has no jobs; counts the claims that were closed."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = asyncio.Event()

    async def claim(self, request: ClaimRequest) -> ClaimResponse:
        self.claims += 1
        self.asked.set()
        try:
            await asyncio.sleep(request.wait)
        except asyncio.CancelledError:
            self.closed.set()
            raise
        return ClaimResponse(jobs=[])


async def test_a_node_that_freezes_closes_the_claim_that_waits(tmp_path: Path):
    freeze, control_plane = Freeze(tmp_path), Waiting()
    loop = loop_of(control_plane, Health([Part("freeze", freeze.problem)]), Database(0))
    running = asyncio.create_task(loop.run())
    async with asyncio.timeout(SECONDS):
        await control_plane.asked.wait()
        freeze.freeze("drill")
        await control_plane.closed.wait()
    await asyncio.sleep(0.4)  # a claim, which must not come
    assert control_plane.claims == 1
    control_plane.asked.clear()
    freeze.unfreeze()
    async with asyncio.timeout(SECONDS):
        await control_plane.asked.wait()
    assert control_plane.claims == 2
    running.cancel()


class Away(ControlPlane):
    """Answers no claim until it is back."""

    is_back = False

    async def claim(self, request: ClaimRequest) -> ClaimResponse:
        if self.is_back:
            return await super().claim(request)
        self.asked.set()
        raise ControlPlaneUnavailable("no answer")


async def test_a_node_that_freezes_between_retries_claims_nothing(tmp_path: Path):
    freeze, control_plane = Freeze(tmp_path), Away()
    loop = loop_of(control_plane, Health([Part("freeze", freeze.problem)]), Database(0))
    running = asyncio.create_task(loop.run())
    async with asyncio.timeout(SECONDS):
        await control_plane.asked.wait()
    freeze.freeze("drill")
    control_plane.is_back = True
    await asyncio.sleep(1)  # several of the first pauses
    assert control_plane.claims == 0
    freeze.unfreeze()
    control_plane.asked.clear()
    async with asyncio.timeout(SECONDS):
        await control_plane.asked.wait()
    running.cancel()


class Handing(ControlPlane):
    """Hands out a new job and one that was leased before, then none."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[str] = []

    async def claim(self, request: ClaimRequest) -> ClaimResponse:
        await super().claim(request)
        job = SignedBytes(payload=b"{}", signature=b"", signing_key_id="k")
        return ClaimResponse(
            jobs=[
                ClaimedJob(job_id=uuid4(), job=job, attempt=n, lease=uuid4(), lease_seconds=30)
                for n in ((2, 1) if self.claims == 1 else ())
            ]
        )

    async def extend(self, request: ExtendRequest) -> ExtendResponse:
        self.events.append(f"{len(request.leases)} confirmed")
        raise ControlPlaneUnavailable("no answer")  # the job is begun nevertheless


async def test_a_job_that_was_leased_before_is_confirmed_before_it_begins(
    monkeypatch: pytest.MonkeyPatch,
):
    control_plane = Handing()
    begun = asyncio.Event()

    def start(_: JobLoop, claimed: ClaimedJob) -> None:
        control_plane.events.append(f"attempt {claimed.attempt}")
        if claimed.attempt == 2:
            begun.set()

    monkeypatch.setattr(JobLoop, "_start", start)
    running = asyncio.create_task(loop_of(control_plane, Health([]), Database(0)).run())
    async with asyncio.timeout(SECONDS):
        await begun.wait()
    running.cancel()
    assert control_plane.events == ["attempt 1", "1 confirmed", "attempt 2"]


async def test_a_loop_that_is_stopped_closes_the_claim_that_waits():
    control_plane = Waiting()
    running = asyncio.create_task(loop_of(control_plane, Health([]), Database(0)).run())
    async with asyncio.timeout(SECONDS):
        await control_plane.asked.wait()
        running.cancel()
        await control_plane.closed.wait()


async def test_a_problem_that_stops_no_work_is_none_for_claiming():
    control_plane = ControlPlane()
    health = Health([Part("shares", lambda: "1 does not open", stops_work=False)])
    running = asyncio.create_task(loop_of(control_plane, health, Database(0)).run())
    async with asyncio.timeout(SECONDS):
        await control_plane.asked.wait()
    running.cancel()
    assert health.summary().status == "degraded"
    assert health.summary().works


async def test_a_node_finds_out_by_itself_that_its_database_is_back():
    """Without jobs nothing else would ask it before the next heartbeat."""
    control_plane, database = ControlPlane(), Database(2)
    health = Health([Part("database", lambda: database.cause)])
    assert not health.summary().works
    running = asyncio.create_task(loop_of(control_plane, health, database).run())
    async with asyncio.timeout(SECONDS):
        await control_plane.asked.wait()
    running.cancel()
    assert database.cause is None
