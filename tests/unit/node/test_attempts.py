"""One attempt at a job: what the loop checks before its handler, and after it."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from asyncpg.exceptions import ObjectNotInPrerequisiteStateError, UndefinedColumnError

from custody.database.causes import Unavailable
from custody.node.archivals import KeyPlace
from custody.node.clock import Clock
from custody.node.errors import Denied
from custody.node.freeze import Freeze
from custody.node.handlers import Handled, Handler, RowChange, Work
from custody.node.journal import Commit, Recorded
from custody.node.locks import Details, Locks
from custody.node.loop import JobLoop
from custody.wire.jobs import Endpoint, Job, JobKind
from custody.wire.outcomes import NothingMade, Outcome, OutcomeStatus
from tests.unit.node.requests import complete, job_around

Act = Callable[[], Awaitable[None]]


LIFE = 0.5
"""Seconds of a job that is to expire: enough for the steps before, also on a busy machine."""


async def nothing() -> None:
    pass


async def outlive_it() -> None:
    await asyncio.sleep(LIFE + 0.05)


class Handles:
    """A handler that notes that it was called, and does as a test says meanwhile."""

    carries_request: ClassVar[bool] = False
    asks_gate: ClassVar[bool] = False

    def __init__(self, meanwhile: Act = nothing) -> None:
        self.calls = 0
        self._meanwhile = meanwhile

    async def handle(self, work: Work) -> Handled:
        self.calls += 1
        await self._meanwhile()
        return Handled(result=NothingMade(), audit={})


class TakesTime(Locks):
    """Locks behind a gate that takes its time."""

    def __init__(self, meanwhile: Act = nothing) -> None:
        self.calls = 0
        self._meanwhile = meanwhile

    async def open(self, job: Job, handler: Handler, details: Details) -> None:
        self.calls += 1
        await self._meanwhile()


@pytest.fixture
def freeze(tmp_path: Path) -> Freeze:
    return Freeze(tmp_path)


async def attempt(
    handler: Handles,
    freeze: Freeze,
    locks: Locks | None = None,
    seconds: float = 60,
    *,
    is_archived: bool = False,
) -> Outcome:
    """At a job that lives so long from now; of the loop's parts only those that take part."""
    now = datetime.now(UTC)
    clock = Clock(timedelta(seconds=30))
    clock.compare(now, now, now)
    job = job_around(complete(), expires_at=now + timedelta(seconds=seconds))
    parts: dict[str, Any] = dict.fromkeys(inspect.signature(JobLoop).parameters)
    parts |= {
        "node": "zurich-1",
        "clock": clock,
        "handlers": {job.kind: handler},
        "longest_life": lambda: timedelta(days=90),
        "freeze": freeze,
        "locks": locks or TakesTime(),
        "on_stage": lambda _: None,
        "require_ready": lambda: None,
    }
    commit = await JobLoop(**parts)._decide_and_handle(
        Work(job, bytes(32)), is_archived=is_archived
    )
    return commit.as_of_now().outcome


async def test_a_job_is_handled(freeze):
    handler = Handles()
    assert (await attempt(handler, freeze)).result == NothingMade()
    assert handler.calls == 1


async def test_nothing_is_handled_while_the_node_is_frozen(freeze):
    handler = Handles()
    freeze.freeze("a stolen laptop")
    assert (await attempt(handler, freeze)).code == "frozen"
    assert handler.calls == 0


async def test_an_archived_key_does_nothing_and_asks_no_gate(freeze):
    handler, locks = Handles(), TakesTime()
    outcome = await attempt(handler, freeze, locks, is_archived=True)
    assert (outcome.status, outcome.code) == (OutcomeStatus.DENIED, "key_archived")
    assert (locks.calls, handler.calls) == (0, 0)


class Archived:
    """A journal that knows of one archived key."""

    async def is_archived(self, _: KeyPlace) -> bool:
        return True


@pytest.mark.parametrize(
    ("changes", "is_denied"),
    [
        ({}, True),
        ({"kind": JobKind.PROVE_KEY, "endpoint": Endpoint.REFRESHES}, False),
        ({"kind": JobKind.PROVE_KEY, "endpoint": Endpoint.COPIES}, True),
    ],
)
async def test_a_handler_can_ask_whether_the_key_was_archived_meanwhile(changes, is_denied):
    """The shares of an archived key are still refreshed, and then proved with a signature."""
    parts: dict[str, Any] = dict.fromkeys(inspect.signature(JobLoop).parameters)
    parts |= {"journal": Archived(), "clock": Clock(timedelta(seconds=30))}
    work = JobLoop(**parts)._limited(Work(job_around(complete(), **changes), bytes(32)))
    if not is_denied:
        await work.require_unarchived()
        return
    with pytest.raises(Denied, match="key_archived"):
        await work.require_unarchived()


async def test_a_job_that_expired_is_not_handled(freeze):
    handler = Handles()
    assert (await attempt(handler, freeze, seconds=0)).code == "expired"
    assert handler.calls == 0


async def test_a_job_that_expired_while_the_gate_decided_is_not_handled(freeze):
    handler = Handles()
    slow = TakesTime(outlive_it)
    assert (await attempt(handler, freeze, slow, seconds=LIFE)).code == "expired"
    assert (slow.calls, handler.calls) == (1, 0)


async def test_a_node_that_was_frozen_while_the_gate_decided_handles_nothing(freeze):
    async def freezing() -> None:
        freeze.freeze("a stolen laptop")

    handler = Handles()
    assert (await attempt(handler, freeze, TakesTime(freezing))).code == "frozen"
    assert handler.calls == 0


async def test_what_was_made_while_the_node_was_frozen_does_not_leave(freeze):
    async def freezing() -> None:
        freeze.freeze("a stolen laptop")

    outcome = await attempt(Handles(freezing), freeze)
    assert (outcome.code, outcome.result) == ("frozen", None)


async def test_what_was_made_after_the_jobs_time_does_not_leave(freeze):
    handler = Handles(outlive_it)
    outcome = await attempt(handler, freeze, seconds=LIFE)
    assert (outcome.code, outcome.result, handler.calls) == ("expired", None, 1)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unavailable("the server has ended the connection"), "database_away"),
        (ObjectNotInPrerequisiteStateError("not accepting connections"), "database_away"),
        (UndefinedColumnError("no such column"), "internal_error"),
        (FileNotFoundError("a module of the HSM"), "internal_error"),
        (KeyError("a mistake"), "internal_error"),
    ],
)
async def test_an_attempt_says_whether_the_database_ended_it(freeze, error, code):
    async def failing() -> None:
        raise error

    outcome = await attempt(Handles(failing), freeze)
    assert (outcome.code, outcome.transient) == (code, True)


@pytest.mark.parametrize("is_ours", [True, False])
def test_rows_take_effect_only_if_their_own_outcome_stands(is_ours: bool):
    effects: list[str] = []
    job = job_around(complete())
    ours, other = (
        Outcome(job_id=job.id, node=node, status=OutcomeStatus.DONE, result=NothingMade())
        for node in ("zurich-1", "zurich-2")
    )
    row = RowChange("INSERT", {}, after=lambda: effects.append("after"))
    commit = Commit(job.id, bytes(32), ours, lambda _: pytest.fail("not called"), [row])
    parts: dict[str, Any] = dict.fromkeys(inspect.signature(JobLoop).parameters)
    recorded = Recorded.of(bytes(32), ours if is_ours else other)
    JobLoop(**parts)._after_commit(job, commit, recorded)
    assert effects == (["after"] if is_ours else [])
