"""The journal: the outcomes of this group's jobs, so that each job has one effect.

Id and digest of the signed payload identify a job. Outcome, new rows and audit record are committed
in one transaction. A later attempt can replace only a FAILED outcome.
"""

import contextlib
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

from asyncpg.exceptions import IntegrityConstraintViolationError, UniqueViolationError
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    wait_exponential_jitter,
)

from custody.database.causes import is_transient
from custody.database.connection import Connection
from custody.database.health import DatabaseHealth
from custody.database.pool import Pool
from custody.database.retention import BATCH
from custody.node.archivals import KeyPlace
from custody.node.archived_sql import is_archived
from custody.node.audit import INSERT_LINKS, AuditChain, AuditRecord, link
from custody.node.database_away import database_needed
from custody.node.handlers import RowChange
from custody.node.journal_retention import journal_retention
from custody.runtime.batching import Batcher
from custody.wire.outcomes import Outcome, OutcomeStatus

Answer = TypeVar("Answer")

CONFLICT_ATTEMPTS = 4
"""Tries of a commit that conflicts, for example because the audit head was read too early."""
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0


def outcome_bytes(outcome: Outcome) -> bytes:
    """Return the bytes that are journalled and reported."""
    return outcome.model_dump_json().encode()


@dataclass(frozen=True)
class Recorded:
    """A journalled outcome: its exact bytes and the digest of the job that they answer."""

    digest: bytes
    status: OutcomeStatus
    outcome: bytes

    @classmethod
    def of(cls, digest: bytes, outcome: Outcome) -> "Recorded":
        return cls(digest, outcome.status, outcome_bytes(outcome))

    @property
    def is_final(self) -> bool:
        return self.status in (OutcomeStatus.DONE, OutcomeStatus.DENIED)


@dataclass(frozen=True)
class Known:
    """What the database knows of a job before it is done.

    ``is_archived``: the key that the job signs with is archived.
    """

    recorded: Recorded | None
    is_archived: bool


@dataclass(frozen=True)
class Commit:
    """What to commit for one job: its outcome, its audit record, and other rows."""

    job_id: UUID
    digest: bytes
    outcome: Outcome
    audit_record: Callable[[bytes], AuditRecord]
    """Builds the audit record from the SHA-256 of the outcome's bytes."""
    rows: list[RowChange] = field(default_factory=list)
    journalled: bool = True
    """False for a replay or a refusal: only the audit chain records that outcome."""
    instead: Callable[[], "Commit | None"] = lambda: None
    """Called right before each try; may return a commit that replaces this one."""
    unless_archived: KeyPlace | None = None
    """The key of a signature, which is not committed once the key is archived."""

    def as_of_now(self) -> "Commit":
        return self.instead() or self


# SELECT hides the length of an array. PostgreSQL would plan each statement again for a single job,
# whose plan costs less than one for any number. That takes longer than to run it.
_INSERT = f"""
    INSERT INTO journal AS known (job_id, digest, node, status, outcome)
    SELECT job_id, digest, :node,
        CASE WHEN new.root_id IS NULL OR NOT {is_archived("new.root_id", "new.path")}
            THEN status END,
        outcome
    FROM unnest((SELECT :job_ids::uuid[]), (SELECT :digests::bytea[]),
        (SELECT :statuses::varchar[]), (SELECT :outcomes::bytea[]),
        (SELECT :root_ids::uuid[]), (SELECT :paths::varchar[]))
        AS new (job_id, digest, status, outcome, root_id, path)
"""
"""A signature by an archived key has no status to go to, which NOT NULL refuses."""

_INSERT_WITH_LINKS = f"WITH inserted AS ({_INSERT}) {INSERT_LINKS}"

_INSERT_OR_KEEP = f"""
    {_INSERT}
    ON CONFLICT (job_id) DO UPDATE
        SET node = excluded.node, status = excluded.status, outcome = excluded.outcome,
            committed_at = now(), reported_at = NULL
        WHERE known.status = 'FAILED' AND known.digest = excluded.digest
            AND known.outcome <> excluded.outcome
    RETURNING job_id
"""

_RECORDED = """
    SELECT job_id, digest, status, outcome FROM journal
    WHERE job_id = ANY((SELECT :job_ids::uuid[])::uuid[])
"""

_KNOWN = f"""
    {_RECORDED}
    UNION ALL
    SELECT job_id, NULL, NULL, NULL
    FROM unnest((SELECT :asked::uuid[]), (SELECT :root_ids::uuid[]), (SELECT :paths::varchar[]))
        AS asked (job_id, root_id, path)
    WHERE {is_archived("asked.root_id", "asked.path")}
"""
"""The journalled jobs, and after them, without a status, the jobs whose key is archived."""

_ARCHIVED = f"""
    SELECT DISTINCT root_id, path
    FROM unnest((SELECT :root_ids::uuid[]), (SELECT :paths::varchar[]))
        AS asked (root_id, path)
    WHERE {is_archived("asked.root_id", "asked.path")}
"""

_UNREPORTED = "SELECT job_id, outcome FROM journal WHERE node = :node AND reported_at IS NULL"

_MARK_REPORTED = """
    UPDATE journal SET reported_at = now()
    FROM unnest(:job_ids::uuid[], :digests::bytea[]) AS reported (job_id, digest)
    WHERE journal.job_id = reported.job_id AND sha256(outcome) = reported.digest
        AND node = :node
"""

_PURGE = """
    DELETE FROM journal WHERE job_id = ANY(ARRAY(
        SELECT job_id FROM journal
        WHERE reported_at IS NOT NULL AND committed_at < now() - make_interval(days => :days)
        ORDER BY committed_at LIMIT :limit FOR UPDATE SKIP LOCKED
    ))
    RETURNING job_id
"""

_OLDEST = """
    SELECT extract(epoch FROM now() - min(committed_at))::float8 AS seconds FROM journal
"""


class Journal:
    """Looks up and commits in batches; retries while the database is unavailable."""

    def __init__(self, pool: Pool, node: str, chain: AuditChain) -> None:
        self._pool = pool
        self._node = node
        self._chain = chain
        self._lookups = Batcher[tuple[UUID, KeyPlace | None], Known](self._look_up)
        self._archived = Batcher[KeyPlace, bool](self._are_archived)
        self._commits = Batcher[Commit, Recorded](self._commit)
        self.database = DatabaseHealth(pool)

    async def look_up(self, job_id: UUID) -> Recorded | None:
        """Return the journalled outcome of a job."""
        return (await self.known(job_id)).recorded

    async def known(self, job_id: UUID, key: KeyPlace | None = None) -> Known:
        """Return the journalled outcome of a job, and whether its ``key`` is archived."""
        return await self._lookups.submit((job_id, key))

    async def is_archived(self, key: KeyPlace) -> bool:
        """Return whether a key is archived now. Raise Failed while the database is away.

        Others wait for the answer in a ceremony, so no lookup is repeated.
        """
        return await self._archived.submit(key)

    async def commit(self, commit: Commit) -> Recorded:
        """Commit an outcome. Return the outcome in the journal: ours, or an earlier final one."""
        return await self._commits.submit(commit)

    async def unreported(self) -> dict[UUID, bytes]:
        """Return this node's outcomes that the control plane has not confirmed."""
        rows = await self._patiently(lambda: self._pool.rows(_UNREPORTED, {"node": self._node}))
        return {row.job_id: row.outcome for row in rows}

    async def mark_reported(self, outcomes: dict[UUID, bytes]) -> None:
        """Mark outcomes as reported. ``outcomes``: the SHA-256 of each outcome's bytes, by job id.

        An outcome that a later attempt has replaced stays unmarked. A mark that is lost in a crash
        only repeats the report.
        """
        parameters = {
            "job_ids": list(outcomes),
            "digests": list(outcomes.values()),
            "node": self._node,
        }
        await self._patiently(lambda: self._pool.rows(_MARK_REPORTED, parameters))

    async def purge(self) -> int:
        """Delete a batch of reported rows that are older than the retention. Return their number.

        Nodes of a group may do so at once: each takes other rows.
        """
        retention = await journal_retention(self._pool.rows)
        values = {"days": retention.kept_days, "limit": BATCH}
        return len(await self._pool.rows(_PURGE, values))

    async def oldest_seconds(self) -> float:
        """Return the age of the oldest row, in seconds; 0 for an empty journal."""
        [row] = await self._pool.rows(_OLDEST)
        return row.seconds or 0.0

    async def _look_up(self, asked: list[tuple[UUID, KeyPlace | None]]) -> list[Known | Exception]:
        of_keys = [(job_id, key) for job_id, key in asked if key is not None]
        values = {
            "job_ids": [job_id for job_id, _ in asked],
            "asked": [job_id for job_id, _ in of_keys],
            "root_ids": [key.root_id for _, key in of_keys],
            "paths": [key.path for _, key in of_keys],
        }
        rows = await self._patiently(lambda: self._pool.rows(_KNOWN, values))
        found = _recorded([row for row in rows if row.status is not None])
        archived = {row.job_id for row in rows if row.status is None}
        return [Known(found.get(job_id), job_id in archived) for job_id, _ in asked]

    async def _are_archived(self, keys: list[KeyPlace]) -> list[bool | Exception]:
        values = {"root_ids": [key.root_id for key in keys], "paths": [key.path for key in keys]}
        with database_needed():
            rows = await self._pool.rows(_ARCHIVED, values)
        archived = {KeyPlace(row.root_id, row.path) for row in rows}
        return [key in archived for key in keys]

    async def _commit(self, commits: list[Commit]) -> list[Recorded | Exception]:
        if len(commits) > 1 and not all(commit.journalled for commit in commits):
            return await self._commit_apart(commits)
        # a batch can contain a job twice, if the job's lease lapsed while this node worked on it
        ours = {commit.job_id: commit for commit in reversed(commits)}

        async def write() -> dict[UUID, Recorded]:
            try:
                return await self._commit_once([commit.as_of_now() for commit in ours.values()])
            except BaseException:
                self._chain.forget_head()
                raise

        try:
            recorded = await self._patiently(write)
        except IntegrityConstraintViolationError as error:
            if len(commits) == 1:
                return [error]
            # one entry cannot be committed: commit the others one by one
            return [(await self._commit([commit]))[0] for commit in commits]
        return [recorded[commit.job_id] for commit in commits]

    async def _commit_apart(self, commits: list[Commit]) -> list[Recorded | Exception]:
        """Commit audit-only outcomes separately: such an outcome may share its job id."""
        journalled = [commit for commit in commits if commit.journalled]
        recorded = iter(await self._commit(journalled) if journalled else [])
        return [
            next(recorded) if commit.journalled else (await self._commit([commit]))[0]
            for commit in commits
        ]

    async def _commit_once(self, commits: list[Commit]) -> dict[UUID, Recorded]:
        ours = {commit.job_id: Recorded.of(commit.digest, commit.outcome) for commit in commits}
        if all(commit.journalled and not commit.rows for commit in commits):
            with contextlib.suppress(UniqueViolationError):
                return await self._commit_unknown(commits, ours)
            self._chain.forget_head()
        return await self._commit_carefully(commits, ours)

    async def _commit_unknown(
        self, commits: list[Commit], ours: dict[UUID, Recorded]
    ) -> dict[UUID, Recorded]:
        """Insert new jobs with one statement. Raise UniqueViolationError for a journalled job."""
        links = link(await self._chain.head(), _audit_records(commits, ours))
        await self._pool.rows(_INSERT_WITH_LINKS, self._insertion(commits, ours) | links.parameters)
        self._chain.advance(links)
        return ours

    async def _commit_carefully(
        self, commits: list[Commit], ours: dict[UUID, Recorded]
    ) -> dict[UUID, Recorded]:
        journalled = {commit.job_id: ours[commit.job_id] for commit in commits if commit.journalled}
        head = await self._chain.head()
        async with self._pool.transaction() as connection:
            kept = await connection.rows(_INSERT_OR_KEEP, self._insertion(commits, journalled))
            written = {row.job_id for row in kept}
            won = [one for one in commits if not one.journalled or one.job_id in written]
            await _insert_rows(connection, won)
            links = link(head, _audit_records(won, ours))
            await connection.rows(INSERT_LINKS, links.parameters)
            lost = {"job_ids": list(journalled.keys() - written)}
            earlier = _recorded(await connection.rows(_RECORDED, lost))
        self._chain.advance(links)
        return ours | earlier

    def _insertion(self, commits: list[Commit], outcomes: dict[UUID, Recorded]) -> dict[str, Any]:
        # sort by job id, so that two nodes of a group cannot deadlock
        ordered = sorted(outcomes.items())
        keys = {commit.job_id: commit.unless_archived for commit in commits}
        places = [keys[job_id] for job_id, _ in ordered]
        return {
            "node": self._node,
            "job_ids": [job_id for job_id, _ in ordered],
            "digests": [recorded.digest for _, recorded in ordered],
            "statuses": [recorded.status.value for _, recorded in ordered],
            "outcomes": [recorded.outcome for _, recorded in ordered],
            "root_ids": [place and place.root_id for place in places],
            "paths": [place and place.path for place in places],
        }

    async def _patiently(self, act: Callable[[], Awaitable[Answer]]) -> Answer:
        """Call a function, and repeat the call while the database is unavailable."""
        async for attempt in AsyncRetrying(
            retry=self._worth_another_try,
            wait=wait_exponential_jitter(multiplier=FIRST_PAUSE, max=LONGEST_PAUSE),
            reraise=True,
        ):
            with attempt:
                answer = await act()
        return answer

    def _worth_another_try(self, state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, IntegrityConstraintViolationError):
            return state.attempt_number < CONFLICT_ATTEMPTS
        if error is None or not is_transient(error):
            return False
        self.database.failed(error)
        return True


def _recorded(rows: list[Any]) -> dict[UUID, Recorded]:
    return {
        row.job_id: Recorded(row.digest, OutcomeStatus(row.status), row.outcome) for row in rows
    }


def _audit_records(commits: list[Commit], ours: dict[UUID, Recorded]) -> list[AuditRecord]:
    return [
        commit.audit_record(hashlib.sha256(ours[commit.job_id].outcome).digest())
        for commit in commits
    ]


async def _insert_rows(connection: Connection, commits: list[Commit]) -> None:
    by_sql: dict[str, list[dict[str, Any]]] = {}
    for commit in commits:
        for row in commit.rows:
            by_sql.setdefault(row.sql, []).append(row.values)
    for sql, rows in by_sql.items():
        await connection.rows(sql, {name: [row[name] for row in rows] for name in rows[0]})
