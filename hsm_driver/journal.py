"""The journal: what this group has already done, so that a job has one effect.

A job is known by its id and the digest of its signed payload. Outcome, new rows and audit record
are committed in one transaction; the first commit wins.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import structlog
from sqlalchemy import (
    ARRAY,
    LargeBinary,
    String,
    Table,
    Uuid,
    bindparam,
    delete,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    wait_exponential_jitter,
)

from daemon.batching import Batcher
from daemon.database import is_transient
from hsm_driver.audit import AuditChain, Entry
from hsm_driver.tables import journal
from wire.outcomes import Outcome, OutcomeStatus

log = structlog.get_logger()
Answer = TypeVar("Answer")

CONFLICT_ATTEMPTS = 4
"""Tries of a commit that conflicts, as when the audit chain's head was read too early."""
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0


@dataclass(frozen=True)
class Recorded:
    """A journalled outcome: its exact bytes and the digest of the job that they answer."""

    digest: bytes
    status: OutcomeStatus
    outcome: bytes

    @classmethod
    def of(cls, digest: bytes, outcome: Outcome) -> "Recorded":
        encoded = outcome.model_dump_json().encode()
        return cls(digest, outcome.status, encoded)

    @property
    def is_final(self) -> bool:
        return self.status in (OutcomeStatus.DONE, OutcomeStatus.DENIED)


@dataclass(frozen=True)
class Commit:
    """What is to be committed for one job."""

    job_id: UUID
    digest: bytes
    outcome: Outcome
    entry: Callable[[bytes], Entry]
    """The audit entry, given the SHA-256 of the outcome's bytes."""
    rows: list[tuple[Table, dict[str, Any]]] = field(default_factory=list)
    journalled: bool = True
    """False for a decision on a job whose id the journal knows with another digest: audit only."""


_INSERT = text(
    """
    INSERT INTO journal AS known (job_id, digest, node, status, outcome)
    SELECT job_id, digest, :node, status, outcome
    FROM unnest(:job_ids, :digests, :statuses, :outcomes)
        AS new (job_id, digest, status, outcome)
    ON CONFLICT (job_id) DO UPDATE
        SET node = excluded.node, status = excluded.status, outcome = excluded.outcome,
            committed_at = now(), reported_at = NULL
        WHERE known.status = 'FAILED' AND known.digest = excluded.digest
    RETURNING job_id
    """
).bindparams(
    bindparam("job_ids", type_=ARRAY(Uuid)),
    bindparam("digests", type_=ARRAY(LargeBinary)),
    bindparam("statuses", type_=ARRAY(String)),
    bindparam("outcomes", type_=ARRAY(LargeBinary)),
)


class Journal:
    """Looks up and commits in batches; while the database is away, it waits and tries again."""

    def __init__(self, engine: AsyncEngine, node: str, chain: AuditChain) -> None:
        self._engine = engine
        self._node = node
        self._chain = chain
        self._lookups = Batcher[UUID, Recorded | None](self._look_up)
        self._commits = Batcher[Commit, Recorded](self._commit)
        self._database_is_there = True

    def problem(self) -> str | None:
        return None if self._database_is_there else "does not answer; waiting for it"

    async def look_up(self, job_id: UUID) -> Recorded | None:
        return await self._lookups.submit(job_id)

    async def commit(self, commit: Commit) -> Recorded:
        """Commit an outcome. Returns what stands in the journal: ours, or an earlier final one."""
        return await self._commits.submit(commit)

    async def unreported(self) -> dict[UUID, bytes]:
        """Outcomes of this node that the control plane has not confirmed."""

        async def read() -> dict[UUID, bytes]:
            async with self._engine.connect() as connection:
                rows = await connection.execute(
                    select(journal.c.job_id, journal.c.outcome).where(
                        journal.c.node == self._node, journal.c.reported_at.is_(None)
                    )
                )
                return {row.job_id: row.outcome for row in rows}

        return await self._patiently(read)

    async def mark_reported(self, job_ids: list[UUID]) -> None:
        """The control plane has these. Losing this in a crash only repeats the report."""

        async def mark() -> None:
            async with self._engine.begin() as connection:
                await connection.execute(text("SET LOCAL synchronous_commit = off"))
                await connection.execute(
                    update(journal)
                    .where(journal.c.job_id.in_(job_ids), journal.c.node == self._node)
                    .values(reported_at=func.now())
                )

        await self._patiently(mark)

    async def purge(self, older_than: timedelta) -> int:
        """Delete reported rows committed longer ago than any job lives. Returns how many."""
        async with self._engine.begin() as connection:
            result = await connection.execute(
                delete(journal).where(
                    journal.c.reported_at.is_not(None),
                    journal.c.committed_at < datetime.now(UTC) - older_than,
                )
            )
            return result.rowcount

    async def _look_up(self, job_ids: list[UUID]) -> list[Recorded | Exception | None]:
        async def read() -> dict[UUID, Recorded]:
            async with self._engine.connect() as connection:
                return await _recorded(connection, job_ids)

        found = await self._patiently(read)
        return [found.get(job_id) for job_id in job_ids]

    async def _commit(self, commits: list[Commit]) -> list[Recorded | Exception]:
        # a job can be in one batch twice, when its lease lapsed while we still worked on it
        ours = {commit.job_id: commit for commit in reversed(commits)}

        async def write() -> dict[UUID, Recorded]:
            try:
                return await self._commit_once(list(ours.values()))
            except BaseException:
                self._chain.forget_head()
                raise

        try:
            recorded = await self._patiently(write)
        except IntegrityError as error:
            if len(commits) == 1:
                return [error]
            # one of them cannot be committed: find it, and let the others through
            return [(await self._commit([commit]))[0] for commit in commits]
        return [recorded[commit.job_id] for commit in commits]

    async def _commit_once(self, commits: list[Commit]) -> dict[UUID, Recorded]:
        ours = {commit.job_id: Recorded.of(commit.digest, commit.outcome) for commit in commits}
        async with self._engine.begin() as connection:
            journalled = {commit.job_id for commit in commits if commit.journalled}
            written = await self._insert(connection, {id_: ours[id_] for id_ in journalled})
            won = [
                commit for commit in commits if not commit.journalled or commit.job_id in written
            ]
            lost = list(journalled - written)
            await _insert_rows(connection, won)
            entries = [
                commit.entry(hashlib.sha256(ours[commit.job_id].outcome).digest()) for commit in won
            ]
            head = await self._chain.append(connection, entries)
            earlier = await _recorded(connection, lost) if lost else {}
        self._chain.advance(head)
        return ours | earlier

    async def _insert(
        self, connection: AsyncConnection, outcomes: dict[UUID, Recorded]
    ) -> set[UUID]:
        # in one order everywhere, so that two drivers of a group cannot deadlock
        ordered = sorted(outcomes.items())
        rows = await connection.execute(
            _INSERT,
            {
                "node": self._node,
                "job_ids": [job_id for job_id, _ in ordered],
                "digests": [recorded.digest for _, recorded in ordered],
                "statuses": [recorded.status.value for _, recorded in ordered],
                "outcomes": [recorded.outcome for _, recorded in ordered],
            },
        )
        return {row.job_id for row in rows}

    async def _patiently(self, act: Callable[[], Awaitable[Answer]]) -> Answer:
        """Do it, again and again while the database is away."""
        async for attempt in AsyncRetrying(
            retry=self._worth_another_try,
            wait=wait_exponential_jitter(multiplier=FIRST_PAUSE, max=LONGEST_PAUSE),
            reraise=True,
        ):
            with attempt:
                answer = await act()
        if not self._database_is_there:
            log.info("database is back")
            self._database_is_there = True
        return answer

    def _worth_another_try(self, state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, IntegrityError):
            return state.attempt_number < CONFLICT_ATTEMPTS
        if error is None or not is_transient(error):
            return False
        if self._database_is_there:
            log.warning("database is away, waiting for it", error=str(error).split("\n")[0])
            self._database_is_there = False
        return True


async def _recorded(connection: AsyncConnection, job_ids: list[UUID]) -> dict[UUID, Recorded]:
    rows = await connection.execute(
        select(journal.c.job_id, journal.c.digest, journal.c.status, journal.c.outcome).where(
            journal.c.job_id == func.any(bindparam("ids", job_ids, type_=ARRAY(Uuid)))
        )
    )
    return {
        row.job_id: Recorded(row.digest, OutcomeStatus(row.status), row.outcome) for row in rows
    }


async def _insert_rows(connection: AsyncConnection, commits: list[Commit]) -> None:
    by_table: dict[Table, list[dict[str, Any]]] = {}
    for commit in commits:
        for table, row in commit.rows:
            by_table.setdefault(table, []).append(row)
    for table, rows in by_table.items():
        await connection.execute(insert(table).values(rows))
