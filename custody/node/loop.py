"""The job loop: claim, authenticate, look up, decide, handle, commit, report.

The loop finds each job's handler by the job's kind. Each job is one coroutine, which
reads from top to bottom. Jobs that are ready together share round trips.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from uuid import UUID

import structlog
from asyncpg.exceptions import IntegrityConstraintViolationError
from tenacity import AsyncRetrying, retry_if_exception_type

from custody.database.causes import DATABASE_ERRORS, is_transient
from custody.node.archivals import KeyPlace, needs_unarchived_key, require_unarchived
from custody.node.audit import AuditRecord
from custody.node.authentication import Authenticator
from custody.node.clock import Clock
from custody.node.control_plane_client import (
    ControlPlaneClient,
    ControlPlaneRefused,
    ControlPlaneUnavailable,
    pausing,
)
from custody.node.database_away import database_away
from custody.node.decisions import decide, require_in_time, require_thawed
from custody.node.errors import Denied, Failed, NotDone, Refused
from custody.node.freeze import Freeze
from custody.node.handlers import Handler, Work
from custody.node.health import Health
from custody.node.journal import Commit, Journal, Recorded, outcome_bytes
from custody.node.locks import Details, Locks
from custody.node.metrics import IN_FLIGHT, JOBS, STAGE_SECONDS
from custody.node.reporter import Reporter
from custody.node.slots import Slots
from custody.runtime.activities import keep_going
from custody.runtime.tracing import continued, record_span
from custody.wire.jobs import Job
from custody.wire.node_api import (
    MAX_BATCH,
    MAX_CLAIM_WAIT,
    ClaimedJob,
    ClaimRequest,
    ExtendRequest,
    Lease,
)
from custody.wire.outcomes import Outcome, OutcomeStatus

log = structlog.get_logger()


class Stage(StrEnum):
    """The stages of a job. The loop names each completed stage to ``on_stage``."""

    CLAIMED = "claimed"
    AUTHENTICATED = "authenticated"
    LOOKED_UP = "looked_up"
    DECIDED = "decided"
    UNLOCKED = "unlocked"
    HANDLED = "handled"
    COMMITTED = "committed"
    REPORTED = "reported"


STAGES = tuple(Stage)
OnStage = Callable[[Stage], None]
Withdraw = Callable[[Work, str], Awaitable[None]]

_stage_began: ContextVar[float] = ContextVar("stage_began")
"""When the stage began that the task's job is in. Each job has a task."""

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0
"""Seconds until a failed claim is retried: FIRST_PAUSE, doubled each time up to LONGEST_PAUSE."""
EXTENSIONS_PER_LEASE = 3
GATHERING_SECONDS = 0.02
"""Seconds that a claim waits for half of the slots to become free."""
CLAIM_PAUSE = 0.002
CONFIRM_SECONDS = 2.0
"""Seconds that the loop waits, at most, to confirm the lease of a job that was leased before."""
LOOK_SECONDS = 0.25
"""Seconds between two checks for a problem that would fail every job."""


class JobLoop:
    """Claims jobs while it has free slots, does them and reports them."""

    def __init__(
        self,
        *,
        node: str,
        client: ControlPlaneClient,
        authenticator: Authenticator,
        journal: Journal,
        clock: Clock,
        handlers: Mapping[str, Handler],
        reporter: Reporter,
        slots: Slots,
        longest_life: Callable[[], timedelta],
        health: Health,
        freeze: Freeze,
        locks: Locks,
        on_stage: OnStage,
        withdraw: Withdraw | None = None,
        require_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self._node = node
        self._client = client
        self._authenticator = authenticator
        self._journal = journal
        self._clock = clock
        self._handlers = handlers
        self._reporter = reporter
        self._slots = slots
        self._longest_life = longest_life
        self._health = health
        self._freeze = freeze
        self._locks = locks
        self._on_stage = on_stage
        self._withdraw = withdraw
        self._require_ready = require_ready
        self._jobs: dict[asyncio.Task[None], Lease] = {}
        self._lease_seconds = MAX_CLAIM_WAIT

    async def run(self) -> None:
        """Claim and do jobs until cancelled. The caller then awaits ``drain``."""
        async with asyncio.TaskGroup() as group:
            group.create_task(keep_going("claim", self._claim_repeatedly), name="claim")
            group.create_task(keep_going("extend", self._extend_repeatedly), name="extend")

    async def drain(self, seconds: float) -> int:
        """Wait for the jobs that have begun. Return how many did not end in time."""
        if not self._jobs:
            return 0
        extending = asyncio.create_task(self._extend_repeatedly())
        _, pending = await asyncio.wait(list(self._jobs), timeout=seconds)
        extending.cancel()
        return len(pending)

    async def _claim_repeatedly(self) -> None:
        await self._clock.compared.wait()
        while True:
            jobs = await self._claim()
            again = [claimed for claimed in jobs if _must_confirm_lease(claimed)]
            for claimed in jobs:
                if claimed not in again:
                    self._start(claimed)
            if again:
                await self._confirm(again)
            for claimed in again:
                self._start(claimed)
            # the claimed jobs start first; jobs that arrive meanwhile are then claimed together
            await asyncio.sleep(CLAIM_PAUSE)

    async def _wait_for_slots(self) -> None:
        # under load, wait a moment for half of the slots: few claims of many jobs each
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GATHERING_SECONDS):
                await self._slots.wait_until_busy_at_most(self._slots.total // 2)
        await self._slots.wait_until_busy_at_most(self._slots.total - 1)

    async def _wait_until_able(self) -> None:
        """Wait while a known problem would fail every job. Meanwhile other nodes get the jobs.

        Jobs that have begun, and reports, need no claim and continue.
        """
        obstacle = self._health.obstacle()
        if obstacle is None:
            return
        log.warning("taking no jobs", reason=obstacle)
        while self._health.obstacle() is not None:
            await asyncio.sleep(LOOK_SECONDS)
            if self._journal.database.cause is not None:
                # no job uses the database now, so this loop must test the database
                await self._journal.database.check()
        log.info("taking jobs again")

    async def _claim(self) -> list[ClaimedJob]:
        """Poll until an answer comes or an obstacle ends the poll. Retry after failures."""
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type((ControlPlaneUnavailable, ControlPlaneRefused)),
            wait=pausing(FIRST_PAUSE, LONGEST_PAUSE),
            before_sleep=lambda state: log.warning(
                "claim failed, trying again",
                error=str(state.outcome.exception()) if state.outcome else None,
                attempt=state.attempt_number,
            ),
        ):
            with attempt:
                await self._wait_until_able()  # before each attempt: a pause may have been long
                await self._wait_for_slots()
                jobs = await self._poll()
        return jobs

    async def _poll(self) -> list[ClaimedJob]:
        """Ask for jobs once. If an obstacle appears first, close the request and return no jobs.

        The control plane takes leases back when their request is closed. If the answer was already
        sent, the leases lapse, and other nodes get these jobs. Jobs of a received answer always
        start: the decision then fails each with a transient Failed.
        """
        request = ClaimRequest(
            kinds=sorted(self._handlers),
            slots=self._slots.total - self._slots.busy,
            wait=MAX_CLAIM_WAIT,
        )
        polling = asyncio.create_task(self._client.claim(request), name="poll")
        try:
            while not polling.done() and self._health.obstacle() is None:
                await asyncio.wait([polling], timeout=LOOK_SECONDS)
        finally:
            polling.cancel()  # has no effect on a finished poll
        await asyncio.wait([polling])
        return [] if polling.cancelled() else polling.result().jobs

    async def _confirm(self, again: list[ClaimedJob]) -> None:
        """Extend leases at once, which shows the control plane that this node received them.

        A job that was leased before may have crashed its node, and may crash this node before the
        first ordinary extension. The control plane fails a job after several received leases
        lapsed.
        """
        leases = [Lease(job_id=claimed.job_id, lease=claimed.lease) for claimed in again]
        with contextlib.suppress(ControlPlaneUnavailable, ControlPlaneRefused, TimeoutError):
            async with asyncio.timeout(CONFIRM_SECONDS):
                await self._client.extend(ExtendRequest(leases=leases))

    def _start(self, claimed: ClaimedJob) -> None:
        self._lease_seconds = claimed.lease_seconds
        lease = Lease(job_id=claimed.job_id, lease=claimed.lease)
        task = asyncio.create_task(self._run_and_report(claimed), name=f"job {claimed.job_id}")
        self._jobs[task] = lease
        self._slots.take()
        IN_FLIGHT.set(len(self._jobs))
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._jobs[task]
        self._slots.give_back()
        IN_FLIGHT.set(len(self._jobs))
        if not task.cancelled() and (error := task.exception()):
            # the lease lapses, and another attempt follows
            log.error("job dropped", task=task.get_name(), exc_info=error)

    async def _run_and_report(self, claimed: ClaimedJob) -> None:
        _stage_began.set(time.perf_counter())
        facts: dict[str, str | int] = {
            "custody.job": str(claimed.job_id),
            "custody.attempt": claimed.attempt,
        }
        with continued(claimed.traceparent, "job", facts):
            self._passed(Stage.CLAIMED)
            outcome = await self._run_job(claimed)
            if await self._reporter.report(claimed.job_id, claimed.lease, outcome):
                self._passed(Stage.REPORTED)

    def _passed(self, stage: Stage) -> None:
        """Note that this task's job has completed a stage."""
        now = time.perf_counter()
        seconds = now - _stage_began.get(now)
        STAGE_SECONDS.labels(stage).observe(seconds)
        record_span(stage, seconds)
        _stage_began.set(now)
        self._on_stage(stage)

    async def _run_job(self, claimed: ClaimedJob) -> bytes:
        """Do one job. Return the bytes of its outcome."""
        try:
            work = self._authenticator.open(claimed)
        except Refused as refusal:
            log.warning("job refused", job=str(claimed.job_id), code=refusal.code)
            return outcome_bytes(self._outcome(claimed.job_id, refusal))
        self._passed(Stage.AUTHENTICATED)
        job, digest = work.job, work.digest

        key = KeyPlace.of(job.key) if needs_unarchived_key(job) else None
        known = await self._journal.known(job.id, key)
        recorded = known.recorded
        self._passed(Stage.LOOKED_UP)
        if recorded is not None and recorded.digest != digest:
            return await self._deny_replay(job, digest)
        if recorded is not None and recorded.is_final:
            return recorded.outcome

        commit = await self._decide_and_handle(work, is_archived=known.is_archived)
        self._passed(Stage.HANDLED)

        try:
            recorded = await self._journal.commit(commit)
        except IntegrityConstraintViolationError:
            failure = await self._conflict(job, key)
            recorded = await self._journal.commit(self._record_not_done(job, digest, failure, {}))
        else:
            self._after_commit(job, commit, recorded)
        self._passed(Stage.COMMITTED)
        if recorded.digest != digest:
            return await self._deny_replay(job, digest)
        return recorded.outcome

    async def _conflict(self, job: Job, key: KeyPlace | None) -> NotDone:
        """Return why the database rejected the rows of a job."""
        known = await self._journal.known(job.id, key)
        try:
            require_unarchived(job.key, is_archived=known.is_archived)
        except Denied as denial:  # archived while the job was under way
            return denial
        # the facts that the handler read have changed, so the database rejected all the rows
        log.exception("nothing committed", job=str(job.id), kind=job.kind)
        return Failed(
            "conflict",
            "the node's database rejected the job's rows, which are outdated",
            transient=True,
        )

    async def _decide_and_handle(self, work: Work, *, is_archived: bool) -> Commit:
        """Decide and handle the job. Return the commit of its result or its failure.

        ``is_archived``: the key that the job signs with is archived.
        """
        job, digest = work.job, work.digest
        handler = self._handlers[job.kind]
        details: Details = {}
        try:
            self._decide(job)
            require_unarchived(job.key, is_archived=is_archived)
            self._passed(Stage.DECIDED)
            signed_by = await self._locks.open(job, handler, details)
            self._decide(job)  # the gate may have taken long
            self._passed(Stage.UNLOCKED)
            handled = await handler.handle(self._limited(replace(work, signed_by=signed_by)))
        except NotDone as error:
            await self._withdraw_from(work, error.code)
            # a refusal concerns this attempt only, and must not stop a later attempt
            journalled = not isinstance(error, Refused)
            return self._record_not_done(job, digest, error, details, journalled=journalled)
        except Exception as error:
            failure = _failure(error, job)
            await self._withdraw_from(work, failure.code)
            return self._record_not_done(job, digest, failure, details)
        outcome = Outcome(
            job_id=job.id, node=self._node, status=OutcomeStatus.DONE, result=handled.result
        )
        audit_record = partial(_audit_record, job, digest, outcome, details | handled.audit)
        # checked right before the commit: handler or database may have delayed it
        instead = partial(self._unwanted, job, digest, details)
        return Commit(
            job.id,
            digest,
            outcome,
            audit_record,
            handled.rows,
            instead=instead,
            unless_archived=KeyPlace.of(job.key) if needs_unarchived_key(job) else None,
        )

    def _limited(self, work: Work) -> Work:
        """Return the work for a handler, with the checks that end it meanwhile."""
        return replace(
            work,
            not_after=self._clock.deadline(work.job.expires_at),
            require_wanted=partial(self._require_wanted, work.job),
            require_unarchived=partial(self._require_unarchived, work.job),
        )

    def _require_wanted(self, job: Job) -> None:
        require_in_time(job, datetime.now(UTC), self._clock)
        self._require_work()

    async def _require_unarchived(self, job: Job) -> None:
        """Raise Denied if the job needs a key that is not archived, and the key is archived now."""
        if needs_unarchived_key(job):
            is_archived = await self._journal.is_archived(KeyPlace.of(job.key))
            require_unarchived(job.key, is_archived=is_archived)

    def _unwanted(self, job: Job, digest: bytes, details: Details) -> Commit | None:
        """Return the denial or failure that replaces a result; None while the result is wanted."""
        try:
            self._require_work()  # a result made before the freeze must not leave either
            require_in_time(job, datetime.now(UTC), self._clock)  # nor a result made too late
        except NotDone as error:
            return self._commit_for_error(job, digest, error, details)
        return None

    async def _withdraw_from(self, work: Work, code: str) -> None:
        if self._withdraw is not None:
            await self._withdraw(work, code)

    def _decide(self, job: Job) -> None:
        decide(job, datetime.now(UTC), self._clock, self._longest_life())
        self._require_work()

    def _require_work(self) -> None:
        """Raise Failed while this node must do no job at all."""
        require_thawed(self._freeze)
        self._require_ready()

    def _record_not_done(
        self,
        job: Job,
        digest: bytes,
        error: NotDone,
        details: Details,
        *,
        journalled: bool = True,
    ) -> Commit:
        JOBS.labels(job.kind, error.status.value).inc()
        log.warning("job not done", job=str(job.id), kind=job.kind, error=str(error))
        return self._commit_for_error(job, digest, error, details, journalled=journalled)

    def _commit_for_error(
        self,
        job: Job,
        digest: bytes,
        error: NotDone,
        details: Details,
        *,
        journalled: bool = True,
    ) -> Commit:
        outcome = self._outcome(job.id, error)
        audit_record = partial(_audit_record, job, digest, outcome, details)
        return Commit(job.id, digest, outcome, audit_record, journalled=journalled)

    def _after_commit(self, job: Job, commit: Commit, recorded: Recorded) -> None:
        """Count the job and call the rows' ``after``, unless the journal has another outcome."""
        if recorded.outcome != outcome_bytes(commit.outcome):
            # another outcome was first, or the result was not wanted any more at the commit
            log.warning("result discarded", job=str(job.id), stands=recorded.status.value)
            if recorded.status is not OutcomeStatus.DONE:
                JOBS.labels(job.kind, recorded.status.value).inc()
            return
        if recorded.status is OutcomeStatus.DONE:
            JOBS.labels(job.kind, OutcomeStatus.DONE.value).inc()
        for row in commit.rows:
            if row.after is not None:
                row.after()

    async def _deny_replay(self, job: Job, digest: bytes) -> bytes:
        """Deny a replay: the journal knows this id with another payload."""
        denial = Denied(
            "replayed", "this node's journal has a job with this id and another payload"
        )
        commit = self._record_not_done(job, digest, denial, {}, journalled=False)
        await self._journal.commit(commit)
        return outcome_bytes(commit.outcome)

    def _outcome(self, job_id: UUID, error: NotDone) -> Outcome:
        return Outcome(
            job_id=job_id,
            node=self._node,
            status=error.status,
            code=error.code,
            reason=error.reason,
            transient=error.transient,
            culprits=error.culprits,
            shares=error.shares,
        )

    async def _extend_repeatedly(self) -> None:
        """Extend the leases of running jobs, well before they lapse."""
        while True:
            await asyncio.sleep(self._lease_seconds / EXTENSIONS_PER_LEASE)
            leases = list(self._jobs.values())
            # jobs at the gate hold no slot, so there may be more jobs than one request can name
            for start in range(0, len(leases), MAX_BATCH):
                with contextlib.suppress(ControlPlaneUnavailable, ControlPlaneRefused):
                    request = ExtendRequest(leases=leases[start : start + MAX_BATCH])
                    await self._client.extend(request)


def _must_confirm_lease(claimed: ClaimedJob) -> bool:
    """Return True for an HSM-mode job that was leased before: its lease must be confirmed.

    A signer's ticket expires too soon for that round trip.
    """
    return claimed.attempt > 1 and claimed.ticket is None


def _failure(error: Exception, job: Job) -> Failed:
    """Return the outcome of an attempt that an unexpected error ended."""
    if isinstance(error, DATABASE_ERRORS) and is_transient(error):
        return database_away()
    log.error("handler failed", job=str(job.id), kind=job.kind, exc_info=error)
    return Failed(
        "internal_error", f"the node failed: see its log for job {job.id}", transient=True
    )


def _audit_record(
    job: Job,
    digest: bytes,
    outcome: Outcome,
    details: dict[str, str | None],
    outcome_digest: bytes,
) -> AuditRecord:
    return AuditRecord(
        job_id=job.id,
        kind=job.kind,
        key_id=job.key.id,
        job_digest=digest,
        status=outcome.status.value,
        code=outcome.code,
        outcome_digest=outcome_digest,
        details=details,
    )
