"""What is made after a job's time is thrown away: nothing that is DONE gets into the journal."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from custody.database.causes import Unavailable
from custody.database.pool import Pool
from custody.node.clock import Clock
from custody.node.decisions import decide, require_in_time
from custody.node.errors import Denied, Failed
from custody.node.freeze import Freeze
from custody.node.handlers import Handled, Work
from custody.node.health import Health
from custody.node.locks import Locks
from custody.node.loop import JobLoop
from custody.node.slots import Slots
from custody.wire.jobs import Job, JobKind
from custody.wire.outcomes import NothingMade, Outcome, OutcomeStatus
from tests.integration.driver.conftest import NodeParts, node_parts
from tests.unit.node.test_decisions import AUTHENTICATOR, claimed, job

LIFE = timedelta(days=1)


class Stalled:
    """Stands for an HSM that answers after a while; ``meanwhile`` is called before it does."""

    carries_request = False
    asks_gate = False

    def __init__(self, seconds: float = 0.0, meanwhile: Callable[[], object] = lambda: None):
        self._seconds = seconds
        self._meanwhile = meanwhile
        self.work: Work | None = None

    async def handle(self, work: Work) -> Handled:
        self.work = work
        await asyncio.sleep(self._seconds)
        self._meanwhile()
        return Handled(result=NothingMade(), audit={})


class AwayFor:
    """A database that fails until a moment, then is the real one: no server stops so exactly."""

    def __init__(self, pool: Pool, until: datetime) -> None:
        self._pool = pool
        self._until = until

    async def rows(self, *arguments: Any) -> list[Any]:
        if "INSERT INTO journal" in arguments[0]:
            self._require_there()
        return await self._pool.rows(*arguments)

    async def row(self, *arguments: Any) -> Any:
        return await self._pool.row(*arguments)

    def transaction(self) -> AbstractAsyncContextManager[Any]:
        self._require_there()
        return self._pool.transaction()

    def _require_there(self) -> None:
        if datetime.now(UTC) < self._until:
            raise Unavailable("the connection is lost")


def loop_of(parts: NodeParts, handler: Stalled, folder: Path) -> tuple[JobLoop, Clock]:
    clock = Clock(timedelta(seconds=30))
    now = datetime.now(UTC)
    clock.compare(now, now, now)
    unused = cast(Any, None)
    loop = JobLoop(
        node=parts.name,
        client=unused,
        authenticator=AUTHENTICATOR,
        journal=parts.journal,
        clock=clock,
        handlers={JobKind.SIGN.value: handler},
        reporter=unused,
        slots=Slots(1),
        longest_life=lambda: timedelta(days=1),
        health=Health([]),
        freeze=Freeze(folder),
        locks=Locks(unused, None, unused),
        on_stage=lambda _: None,
    )
    return loop, clock


def job_for(seconds: float) -> Job:
    now = datetime.now(UTC)
    return job(created_at=now, expires_at=now + timedelta(seconds=seconds))


async def done(loop: JobLoop, one: Job) -> Outcome:
    return Outcome.model_validate_json(await loop._run_job(claimed(one)))


async def journalled(pool: Pool, one: Job) -> list[str]:
    rows = await pool.rows("SELECT status FROM journal WHERE job_id = :id", {"id": one.id})
    return [row.status for row in rows]


async def test_what_is_made_in_time_is_done(node: NodeParts, pool: Pool, tmp_path: Path):
    loop, _ = loop_of(node, Stalled(), tmp_path)
    one = job_for(30)
    assert (await done(loop, one)).status is OutcomeStatus.DONE
    assert await journalled(pool, one) == ["DONE"]


async def test_what_an_hsm_makes_after_the_deadline_is_denied(
    node: NodeParts, pool: Pool, tmp_path: Path
):
    loop, _ = loop_of(node, Stalled(0.8), tmp_path)
    one = job_for(0.5)
    outcome = await done(loop, one)
    assert (outcome.status, outcome.code, outcome.result) == (
        OutcomeStatus.DENIED, "expired", None,
    )  # fmt: skip
    assert await journalled(pool, one) == ["DENIED"]


async def test_what_is_not_committed_by_the_deadline_is_denied(pool: Pool, tmp_path: Path):
    """The database is away when the signature is there, and back after the deadline."""
    one = job_for(0.6)
    away = cast(Pool, AwayFor(pool, one.expires_at + timedelta(seconds=0.2)))
    loop, _ = loop_of(node_parts(away, "driver-1"), Stalled(), tmp_path)
    outcome = await done(loop, one)
    assert (outcome.status, outcome.code) == (OutcomeStatus.DENIED, "expired")
    assert await journalled(pool, one) == ["DENIED"]
    audited = await pool.rows("SELECT record FROM audit")
    assert [b"DENIED" in row.record for row in audited] == [True]


async def test_what_is_not_committed_before_a_freeze_is_not_done(pool: Pool, tmp_path: Path):
    one = job_for(30)
    back = datetime.now(UTC) + timedelta(seconds=0.8)
    away = cast(Pool, AwayFor(pool, back))
    loop, _ = loop_of(node_parts(away, "driver-1"), Stalled(), tmp_path)
    doing = asyncio.create_task(done(loop, one))
    await asyncio.sleep(0.3)
    Freeze(tmp_path).freeze("drill")
    outcome = await doing
    assert (outcome.status, outcome.code) == (OutcomeStatus.FAILED, "frozen")
    assert await journalled(pool, one) == ["FAILED"]


async def test_the_work_knows_its_end_by_the_clock_that_is_ahead(node: NodeParts, tmp_path: Path):
    handler = Stalled()
    loop, clock = loop_of(node, handler, tmp_path)
    now = datetime.now(UTC)
    one = job_for(30)
    clock.compare(now + timedelta(seconds=20), now, now)
    assert (await done(loop, one)).status is OutcomeStatus.DONE
    assert handler.work is not None
    assert handler.work.not_after == one.expires_at - timedelta(seconds=20)
    handler.work.require_wanted()
    clock.compare(now + timedelta(seconds=40), now, now)
    with pytest.raises(Denied, match="expired"):
        handler.work.require_wanted()


def test_a_job_is_over_when_either_clock_says_so():
    clock = Clock(timedelta(seconds=30))
    now = datetime.now(UTC)
    one = job(created_at=now, expires_at=now + timedelta(seconds=10))
    for ahead, is_over in ((0, False), (9, False), (11, True), (-20, False)):
        clock.compare(now + timedelta(seconds=ahead), now, now)
        if is_over:
            with pytest.raises(Denied):
                require_in_time(one, now, clock)
        else:
            require_in_time(one, now, clock)
    with pytest.raises(Denied):
        require_in_time(one, one.expires_at, clock)


def test_a_clock_that_is_wrong_denies_nothing_for_good():
    clock = Clock(timedelta(seconds=30))
    now = datetime.now(UTC)
    clock.compare(now + timedelta(minutes=10), now, now)
    with pytest.raises(Failed, match="clocks_disagree"):
        decide(job(created_at=now, expires_at=now + timedelta(minutes=2)), now, clock, LIFE)
