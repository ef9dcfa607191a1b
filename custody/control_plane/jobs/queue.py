"""The job queue: add, claim, report, extend, sweep.

Except for ``add_within``, each statement is a transaction of its own, and may run twice. A report
reads its jobs, decides (transitions.py), and writes each change whose job has not changed since.
``report`` reads and decides changed jobs again. So
no lock is held while signatures are verified, and a
batch of reports costs two round trips.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from custody.control_plane.columns import columns
from custody.control_plane.database import AnyRow, Database
from custody.control_plane.jobs.notifications import Notifications
from custody.control_plane.jobs.queries import (
    ADD,
    CLAIM,
    EXTEND,
    KEEP_LATE,
    LAPSE,
    NOTE_STRANDED,
    READ_EXPIRED,
    READ_LAPSING_TOO_OFTEN,
    READ_REPORTED,
    READ_STRANDED,
    RELEASE,
    WRITE,
    WRITE_ARCHIVALS,
    WRITE_WITH_KEYS,
)
from custody.control_plane.jobs.results import KeyFacts, attestations_json, job_of
from custody.control_plane.jobs.transitions import (
    LEASE_LAPSED,
    Change,
    JobFacts,
    Note,
    decide,
    expire,
    fail_unreported,
    stranded,
)
from custody.control_plane.tables import JobState
from custody.database.connection import Connection
from custody.runtime.cache import Cache
from custody.wire.algorithms import Algorithm, Curve, Network, Scheme
from custody.wire.jobs import JobKind
from custody.wire.node_api import ClaimedJob, Lease, Report, ReportResult
from custody.wire.signed_bytes import SignedBytes

LEASE_SECONDS = 30.0
STRANDED_AFTER_SECONDS = 1
MAX_LAPSES = 5
"""The control plane fails a job when this many received leases in a row have lapsed.

A lease counts as received only if its node extended it. Without an extension, the network may have
lost the answer to the claim.
"""
SPREAD_SECONDS = 5
"""A lapsed job waits a random delay: at most SPREAD_SECONDS times its earlier received lapses."""
SECOND_CHANCE_SECONDS = 2
"""Delay in seconds before the node that failed a job last may claim that job again.

It is shorter than RETRY_WINDOW_SECONDS, so that a sweep wakes that node too.
"""
SEEN_LATELY_SECONDS = 60
"""Seconds. A node whose last heartbeat is older does not count as a working node."""
SWEEP_BATCH = 500
RETRY_WINDOW_SECONDS = 3
"""A sweep finds retries that came due in the last so many seconds: longer than its interval."""
MAX_REMEMBERED = 2_000
"""Number of leased and of final jobs that a replica remembers, to spare reads."""
MAX_REMEMBERED_SIZE = 16_384
"""Maximum payload, in bytes, of a cached job. The queue reads a larger job again."""
ARCHIVES = {JobKind.ARCHIVE_KEY.value: True, JobKind.UNARCHIVE_KEY.value: False}
"""Whether the key of a job of this kind is archived once the job is done."""
MAX_PASSES = 5
"""Maximum number of times that ``report`` decides a report while other writers change its job.

A job has fewer transitions. After the last pass, ``report`` raises Contended.
"""

log = structlog.get_logger(__name__)


class Contended(Exception):
    """Jobs changed each time that a report was to be written. The node sends the report again."""


@dataclass(frozen=True)
class NewJob:
    """A job to queue; the columns of ``jobs`` that its creation sets.

    ``outcome``: the recorded outcome of a job that is final from the start. ``traceparent``: the
    W3C trace context of the request, if it is traced.
    """

    id: UUID
    kind: str
    endpoint: str
    application_id: UUID
    key_id: UUID | None
    node_group: str
    external_id: str | None
    body_digest: bytes
    payload: bytes
    signature: bytes
    signing_key_id: str
    created_at: datetime
    expires_at: datetime
    outcome: bytes | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """The change that WRITE makes to a job if it still has the seen state and lease.

    The fields from ``public_key`` to ``share_set_id`` are of the key that the job made, else None.
    """

    id: UUID
    seen_state: str
    seen_lease: UUID | None
    state: str | None
    outcome: bytes | None
    failure: bytes | None
    delay: float
    refuser: str | None
    public_key: bytes | None
    protection: str | None
    address: str | None
    attestations: str | None
    chain_code: bytes | None
    generation: int | None
    share_set_id: UUID | None
    is_expiry: bool
    archives: bool | None
    """Whether the key is archived from now on; null for a job that does not change this."""


@dataclass(frozen=True)
class Final:
    """A final state and the Outcome's bytes, as they are in the database from now on."""

    state: JobState
    outcome: bytes


@dataclass(frozen=True)
class Swept:
    """Return value of a sweep: how many leases it took back, and how many jobs it ended.

    A sweep ends a job because the job expired, or because its lease lapsed too often.
    """

    lapsed: int
    expired: int
    unreported: int


class Queue:
    """The jobs of every group. Safe with any number of replicas at once."""

    def __init__(
        self,
        database: Database,
        notifications: Notifications,
        lease_seconds: float = LEASE_SECONDS,
        max_lapses: int = MAX_LAPSES,
    ) -> None:
        self._database = database
        self._notifications = notifications
        self.lease_seconds = lease_seconds
        self._max_lapses = max_lapses
        self._leased = Cache[UUID, JobFacts](MAX_REMEMBERED)
        self._finals = Cache[UUID, Final](MAX_REMEMBERED)

    async def add(self, new: Sequence[NewJob]) -> set[UUID]:
        """Queue jobs and announce them. Returns the ids that were added.

        A job whose external id is taken is left out.
        """
        rows = await self._database.rows(ADD, self._additions(new))
        for group in {job.node_group for job in new}:
            self._notifications.wake_jobs(group)
        return {row.id for row in rows}

    async def add_within(self, connection: Connection, new: Sequence[NewJob]) -> set[UUID]:
        """Queue jobs in the caller's transaction. The caller then calls ``wake_jobs``."""
        return {row.id for row in await connection.rows(ADD, self._additions(new))}

    def _additions(self, new: Sequence[NewJob]) -> dict[str, Any]:
        return self._announcing(columns(NewJob, new))

    def _announcing(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Add the parameters with which a statement notifies the other replicas."""
        notifications = self._notifications
        return {
            "origin": notifications.origin,
            "announce": notifications.has_company,
            **parameters,
        }

    async def claim(
        self, node: str, group: str, kinds: Sequence[str], slots: int
    ) -> list[ClaimedJob]:
        """Lease up to ``slots`` jobs to a node, the longest waiting first."""
        rows = await self._database.hastily(
            CLAIM,
            {
                "node": node,
                "group": group,
                "kinds": list(kinds),
                "slots": slots,
                "lease_seconds": self.lease_seconds,
                "second_chance": SECOND_CHANCE_SECONDS,
                "seen_lately": SEEN_LATELY_SECONDS,
            },
        )
        for row in rows:
            if len(row.payload) <= MAX_REMEMBERED_SIZE:
                self._leased.put(row.id, job_facts(row))
        return [_claimed(row, self.lease_seconds) for row in rows]

    def final(self, job_id: UUID) -> "Final | None":
        """Return a job's final state and outcome from the cache; None if they are not cached."""
        return self._finals.get(job_id)

    async def release(self, group: str, claimed: Sequence[ClaimedJob]) -> None:
        """Take back leases that never reached their node."""
        parameters = {
            "ids": [job.job_id for job in claimed],
            "leases": [job.lease for job in claimed],
        }
        await self._database.hastily(RELEASE, parameters)
        self._notifications.wake_jobs(group)

    async def extend(self, node: str, leases: Sequence[Lease]) -> list[UUID]:
        """Prolong leases; returns the jobs that the node still holds."""
        rows = await self._database.hastily(
            EXTEND,
            {
                "node": node,
                "ids": [held.job_id for held in leases],
                "leases": [held.lease for held in leases],
                "lease_seconds": self.lease_seconds,
            },
        )
        return [row.id for row in rows]

    async def report(self, node: str, group: str, reports: Sequence[Report]) -> list[ReportResult]:
        """Record a node's outcomes, and wake the requests that wait for them. Raise Contended."""
        results, left = await self._report_from_memory(node, reports)
        for _ in range(MAX_PASSES):
            if not left:
                return results
            now, later = _one_each(left)
            done, again = await self._report_once(node, group, now)
            results += done
            left = again + later
        if left:
            raise Contended(f"{len(left)} jobs kept changing")
        return results

    async def sweep(self) -> Swept:
        """Queue jobs with lapsed leases again, end hopeless jobs, and announce due retries.

        A job ends if it has expired, or if its lease has lapsed too often.
        """
        lapsing = {"limit": SWEEP_BATCH, "max_lapses": self._max_lapses}
        too_often = await self._database.rows(READ_LAPSING_TOO_OFTEN, lapsing)
        unreported = await self.write(
            [fail_unreported(job_facts(row), self._max_lapses) for row in too_often]
        )
        for row in too_often:
            if row.id in unreported:
                log.error(
                    "job failed: its lease lapsed too often",
                    job=str(row.id),
                    node=row.lease_node,
                    code=LEASE_LAPSED,
                )
        rows = await self._database.hastily(
            LAPSE,
            {
                **lapsing,
                "spread_seconds": SPREAD_SECONDS,
                "retry_window": RETRY_WINDOW_SECONDS,
                "origin": self._notifications.origin,
            },
        )
        for row in rows:
            self._notifications.wake_jobs(row.node_group)
        await self._note_stranded()
        expired = await self._database.rows(READ_EXPIRED, {"limit": SWEEP_BATCH})
        ended = await self.write([expire(job_facts(row), row.last_failure) for row in expired])
        return Swept(
            lapsed=sum(int(row.lapsed) for row in rows),
            expired=len(ended),
            unreported=len(unreported),
        )

    async def _note_stranded(self) -> None:
        """Store ``no_node_works`` as the reason of queued jobs whose group has no working node."""
        rows = await self._database.rows(
            READ_STRANDED,
            {
                "limit": SWEEP_BATCH,
                "seen_lately": SEEN_LATELY_SECONDS,
                "stranded_after": STRANDED_AFTER_SECONDS,
            },
        )
        if rows:
            failures = [stranded(row.id, row.nodes) for row in rows]
            noted = {"ids": [row.id for row in rows], "failures": failures}
            await self._database.hastily(NOTE_STRANDED, noted)

    async def _report_from_memory(
        self, node: str, reports: Sequence[Report]
    ) -> tuple[list[ReportResult], list[Report]]:
        """Decide reports on jobs that this replica has leased, without reading them again.

        The statement writes a change only if the job still has that lease. Return the results, and
        the reports for ``_report_once``: other jobs, and refusals, which depend on other nodes.
        """
        changes: dict[UUID, Change] = {}
        decided: dict[UUID, Report] = {}
        for report in reports:
            facts = self._leased.pop(report.job_id)
            if facts is None or (facts.lease, facts.lease_node) != (report.lease, node):
                continue
            change = _decide(facts, node, report, frozenset())
            if change.state is not None and change.refused_by is None:
                changes[report.job_id] = change
                decided[report.job_id] = report
        written = await self.write(list(changes.values()))
        _log_faults(node, (changes[job_id] for job_id in written))
        results = [ReportResult(job_id=id_, note=changes[id_].note) for id_ in written]
        done = {id(decided[job_id]) for job_id in written}
        return results, [each for each in reports if id(each) not in done]

    async def _report_once(
        self, node: str, group: str, reports: Sequence[Report]
    ) -> tuple[list[ReportResult], list[Report]]:
        """Decide and write one report a job. Return results, and the reports to decide again."""
        rows = await self._database.rows(
            READ_REPORTED,
            {
                "ids": [report.job_id for report in reports],
                "group": group,
                "seen_lately": SEEN_LATELY_SECONDS,
            },
        )
        found = {row.id: row for row in rows}
        changes = [
            _decide(
                job_facts(found[report.job_id]),
                node,
                report,
                frozenset(found[report.job_id].willing),
            )
            for report in reports
            if report.job_id in found
        ]
        written = await self.write([change for change in changes if change.state is not None])
        await self.keep_late([change for change in changes if change.late_outcome is not None])
        settled = {
            change.job.id: change
            for change in changes
            if change.state is None or change.job.id in written
        }
        _log_faults(node, settled.values())
        again = [each for each in reports if each.job_id in found and each.job_id not in settled]
        results = [
            ReportResult(job_id=job_id, note=settled[job_id].note)
            if job_id in settled
            else ReportResult(job_id=job_id, note=Note.UNKNOWN)
            for job_id in (each.job_id for each in reports if each not in again)
        ]
        return results, again

    async def write(self, changes: Sequence[Change]) -> set[UUID]:
        """Write each change whose job still has the state and lease that were read; return ids."""
        archivals = [change for change in changes if _archives(change) is not None]
        others = [change for change in changes if _archives(change) is None]
        has_keys = any(change.new_key is not None for change in others)
        rows = [
            *await self._write(WRITE_WITH_KEYS if has_keys else WRITE, others),
            *await self._write(WRITE_ARCHIVALS, archivals),
        ]
        by_id = {change.job.id: change for change in changes}
        for row in rows:
            if row.final:
                self._remember(by_id[job_id] for job_id in row.ids)
                self._notifications.wake_done(row.ids)
            elif row.due:
                self._notifications.wake_jobs(row.node_group)
        return {job_id for row in rows for job_id in row.ids}

    async def _write(self, sql: str, changes: Sequence[Change]) -> Sequence[AnyRow]:
        if not changes:
            return []
        values = columns(ChangeRow, [_change_row(change) for change in changes])
        return await self._database.rows(sql, self._announcing(values))

    def _remember(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if change.state is not None and change.outcome is not None:
                self._finals.put(change.job.id, Final(change.state, change.outcome))

    async def keep_late(self, changes: Sequence[Change]) -> None:
        """Store outcomes that came after their job was final. Only admins see them."""
        if not changes:
            return
        parameters = {
            "ids": [change.job.id for change in changes],
            "outcomes": [change.late_outcome for change in changes],
        }
        await self._database.rows(KEEP_LATE, parameters)


def _claimed(row: AnyRow, lease_seconds: float) -> ClaimedJob:
    return ClaimedJob(
        job_id=row.id,
        job=SignedBytes(
            payload=row.payload, signature=row.signature, signing_key_id=row.signing_key_id
        ),
        attempt=row.attempt,
        lease=row.lease,
        lease_seconds=lease_seconds,
        traceparent=row.traceparent,
    )


def job_facts(row: AnyRow) -> JobFacts:
    """Return the facts of a row that the queue's queries read."""
    return JobFacts(
        id=row.id,
        kind=row.kind,
        payload=row.payload,
        state=JobState(row.state),
        attempt=row.attempt,
        lease=row.lease,
        lease_node=row.lease_node,
        refused_by=frozenset(row.refused_by),
        outcome=row.outcome,
        key=_key_facts(row),
    )


def _key_facts(row: AnyRow) -> KeyFacts:
    """Return the facts of the row's key; of an import, which has no key, those that it is for."""
    if row.scheme is None:
        return KeyFacts(job_of(row.payload).key.algorithm, network=None, public_key=None)
    return KeyFacts(
        algorithm=Algorithm(Scheme(row.scheme), Curve(row.curve)),
        network=None if row.network is None else Network(row.network),
        public_key=row.public_key,
    )


def _decide(job: JobFacts, node: str, report: Report, willing: frozenset[str]) -> Change:
    return decide(
        job,
        node,
        report.lease,
        report.outcome,
        willing,
        random.random(),  # noqa: S311 (it spreads retries and keeps no secret)
    )


def _change_row(change: Change) -> ChangeRow:
    """Return a change as WRITE takes it."""
    key = change.new_key
    return ChangeRow(
        id=change.job.id,
        seen_state=change.job.state.value,
        seen_lease=change.job.lease,
        state=None if change.state is None else change.state.value,
        outcome=change.outcome,
        failure=change.last_failure,
        delay=change.delay_seconds,
        refuser=change.refused_by,
        public_key=None if key is None else key.public_key,
        protection=None if key is None else key.protection,
        address=None if key is None else key.address,
        attestations=None if key is None else attestations_json(key),
        chain_code=None if key is None else key.chain_code,
        generation=None if key is None else key.generation,
        share_set_id=None if key is None else key.share_set_id,
        is_expiry=change.is_expiry,
        archives=_archives(change),
    )


def _archives(change: Change) -> bool | None:
    """Return whether a change archives its key, or un-archives it; None for neither."""
    return ARCHIVES.get(change.job.kind) if change.state is JobState.DONE else None


def _one_each(reports: Sequence[Report]) -> tuple[list[Report], list[Report]]:
    """Return the first report on each job, and the reports for the next pass."""
    first = {report.job_id: report for report in reversed(reports)}
    return list(first.values()), [each for each in reports if first[each.job_id] is not each]


def _log_faults(node: str, changes: Iterable[Change]) -> None:
    for change in changes:
        if change.fault is not None:
            log.warning(
                "report not accepted", node=node, job=str(change.job.id), reason=change.fault
            )
        elif change.note is Note.LATE:
            log.warning("report came after the end", node=node, job=str(change.job.id))
