"""The tasks of signers: claimed, extended, reported. A request to sign is done by one report."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import structlog

from custody.control_plane.conductor import queries
from custody.control_plane.conductor.conductor import Conductor
from custody.control_plane.conductor.judging import GivenTask, Judged, judge
from custody.control_plane.conductor.metrics import StepMetrics
from custody.control_plane.database import AnyRow, Database
from custody.control_plane.jobs.notifications import RECHECK_SECONDS, Notifications
from custody.control_plane.jobs.queue import Contended, Queue
from custody.control_plane.jobs.results import KeyFacts, job_of
from custody.control_plane.jobs.transitions import Change, JobFacts, Note
from custody.control_plane.tables import JobState
from custody.runtime.batching import Batcher
from custody.runtime.cache import Cache
from custody.wire.jobs import JobKind
from custody.wire.node_api import ClaimedJob, Lease, Report, ReportResult
from custody.wire.signed_bytes import SignedBytes

MAX_REMEMBERED = 2_000
"""Claimed tasks that a replica remembers, so as not to ask for them again."""
MAX_REMEMBERED_SIZE = 16_384
SEEN_STATES = (JobState.LEASED, JobState.QUEUED)
"""The states of a request that a signature ends, the likely one first."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Look:
    """The time of a look for a signer's tasks, and the number announced by then."""

    announced: int
    at: float

    def is_like(self, last: "_Look") -> bool:
        """Return whether it would find what the last one found."""
        return self.announced == last.announced and self.at < last.at + RECHECK_SECONDS


@dataclass(frozen=True, slots=True, eq=False)
class _Claim:
    """``kinds``: with spaces between. ``look``: the state of things that it was made in."""

    signer: str
    kinds: str
    slots: int
    look: _Look


class Tasks:
    """The node API's work for signers; ``node_group`` is the group of all signers."""

    def __init__(
        self,
        *,
        database: Database,
        notifications: Notifications,
        queue: Queue,
        conductor: Conductor,
        node_group: str,
        metrics: StepMetrics,
        max_clock_offset_seconds: float,
    ) -> None:
        self._database = database
        self._notifications = notifications
        self._queue = queue
        self._conductor = conductor
        self._metrics = metrics
        self.node_group = node_group
        self._max_clock_offset_seconds = max_clock_offset_seconds
        self._given = Cache[UUID, GivenTask](MAX_REMEMBERED)
        self._found_none = Cache[str, _Look](MAX_REMEMBERED)
        self._claims = Batcher(self._claim)
        self._signatures = Batcher(self._finish)

    def max_clock_offset_seconds(self, group: str) -> float | None:
        """Return the clock offset that tickets allow a node of this group; None for drivers."""
        return self._max_clock_offset_seconds if group == self.node_group else None

    async def claim(self, signer: str, kinds: Sequence[str], slots: int) -> list[ClaimedJob]:
        """Lease up to ``slots`` tasks to a signer, the longest waiting first.

        Where none was left the last time, and none was announced since, it asks for none.
        """
        look = _Look(self._notifications.tasks_announced(signer), time.monotonic())
        last = self._found_none.get(signer)
        if last is not None and look.is_like(last):
            return []
        self._found_none.pop(signer)
        return await self._claims.submit(_Claim(signer, " ".join(kinds), slots, look))

    async def _claim(self, claims: list[_Claim]) -> list[list[ClaimedJob] | Exception]:
        """Lease tasks to several signers: a quorum's claims wake together, and share one query."""
        firsts = {one.signer: one for one in reversed(claims)}
        rows = await self._database.hastily(
            queries.CLAIM_TASKS,
            {
                "group": self.node_group,
                "nodes": list(firsts),
                "kinds": [one.kinds for one in firsts.values()],
                "slots": [one.slots for one in firsts.values()],
                "lease_seconds": self._queue.lease_seconds,
            },
        )
        given = {one: [row for row in rows if row.signer == one.signer] for one in firsts.values()}
        for one, its_rows in given.items():
            if len(its_rows) < one.slots:
                self._found_none.put(one.signer, one.look)
        self._remember(rows)
        return [
            [_claimed(row, self._queue.lease_seconds) for row in given.get(one, ())]
            for one in claims
        ]

    def _remember(self, rows: Sequence[AnyRow]) -> None:
        for row in rows:
            if len(row.payload) <= MAX_REMEMBERED_SIZE:
                self._given.put(row.lease, _given(row))

    async def release(self, signer: str, claimed: Sequence[ClaimedJob]) -> None:
        """Take back leases that never reached their signer."""
        leases = [job.lease for job in claimed]
        await self._database.hastily(queries.RELEASE_TASKS, {"node": signer, "leases": leases})
        self._notifications.wake_tasks([signer])

    async def extend(self, signer: str, leases: Sequence[Lease]) -> list[UUID]:
        """Prolong leases; returns the jobs that the signer still holds."""
        rows = await self._database.hastily(
            queries.EXTEND_TASKS,
            {
                "node": signer,
                "ids": [held.job_id for held in leases],
                "leases": [held.lease for held in leases],
                "lease_seconds": self._queue.lease_seconds,
            },
        )
        return [row.job_id for row in rows]

    async def report(
        self, signer: str, identity: bytes, reports: Sequence[Report]
    ) -> list[ReportResult]:
        """Record a signer's outcomes. ``identity``: its Ed25519 public key. Raises Contended."""
        tasks = await self._find(signer, reports)
        notes: dict[int, Note] = {}
        judged: dict[int, Judged] = {}
        for place, report in enumerate(reports):
            task = tasks.get(place)
            if task is None:
                notes[place] = Note.UNKNOWN
                continue
            judged[place] = judge(task, signer, identity, report.outcome)
            if judged[place].fault is not None:
                log.warning(
                    "report not accepted",
                    node=signer,
                    job=str(task.job_id),
                    reason=judged[place].fault,
                )
        signed = {place: one for place, one in judged.items() if one.is_signature}
        others = {place: one for place, one in judged.items() if not one.is_signature}
        for recorded in await asyncio.gather(
            self._finish_together(signed), self._record(signer, others)
        ):
            notes |= recorded
        return [
            ReportResult(job_id=report.job_id, note=notes[place])
            for place, report in enumerate(reports)
        ]

    async def _find(self, signer: str, reports: Sequence[Report]) -> dict[int, GivenTask]:
        """Return each report's task by its place: by lease, else the signer's last of the job."""
        found: dict[int, GivenTask] = {}
        for place, report in enumerate(reports):
            task = None if report.lease is None else self._given.pop(report.lease)
            if task is not None and task.job_id == report.job_id:
                found[place] = task
        missing = [report.job_id for place, report in enumerate(reports) if place not in found]
        if not missing:
            return found
        rows = await self._database.rows(queries.READ_TASKS, {"ids": missing, "node": signer})
        for place, report in enumerate(reports):
            of_job = [row for row in rows if row.job_id == report.job_id]
            held = [row for row in of_job if row.lease == report.lease]
            if place not in found and of_job:
                found[place] = _given((held or of_job)[0])
        return found

    async def _record(self, signer: str, judged: dict[int, Judged]) -> dict[int, Note]:
        """Record outcomes that the request's next step depends on."""
        if not judged:
            return {}
        rows = await self._database.rows(
            queries.RECORD,
            {
                "node": signer,
                "steps": [one.task.step_id for one in judged.values()],
                "outcomes": [one.raw for one in judged.values()],
            },
        )
        recorded = {row.step_id for row in rows}
        await self._blame(signer, [one for one in judged.values() if one.fault is not None])
        self._conductor.look(one.task.request_id for one in judged.values())
        return {
            place: Note.RECORDED
            if one.task.step_id in recorded
            else (Note.DUPLICATE if one.task.outcome == one.raw else Note.LATE)
            for place, one in judged.items()
        }

    async def _blame(self, signer: str, faulty: Sequence[Judged]) -> None:
        """Store who reported something wrong, also where the step continues or is over."""
        if not faulty:
            return
        ids = [one.task.step_id for one in faulty]
        for row in await self._database.rows(queries.BLAME, {"node": signer, "ids": ids}):
            self._metrics.culprits.labels(signer, row.kind).inc()

    async def _finish_together(self, judged: dict[int, Judged]) -> dict[int, Note]:
        """Finish reports in batches: a quorum's come at the same time, and share the reads."""
        notes = await asyncio.gather(*map(self._signatures.submit, judged.values()))
        return dict(zip(judged, notes, strict=True))

    async def _finish(self, judged: list[Judged]) -> list[Note | Exception]:
        """Signatures that verify: each ends its request, unless another one has."""
        ending = self._database.hastily(
            queries.FINISH_SIGNED,
            {
                "steps": [one.task.step_id for one in judged],
                "signers": [one.outcome.node for one in judged],
                "outcomes": [one.raw for one in judged],
            },
        )
        notes, ended = await asyncio.gather(self._sign(judged), ending)
        for row in ended:
            self._metrics.ended.labels(JobKind.SIGN.value, "done").inc()
            begun_at = next(one.task.begun_at for one in judged if one.task.step_id == row.id)
            self._metrics.seconds.observe((datetime.now(UTC) - begun_at).total_seconds())
        self._conductor.slots_freed()
        return notes

    async def _sign(self, judged: Sequence[Judged]) -> list[Note | Exception]:
        """End what is under way; what is not, is looked at, and ended where it may still be."""
        first: dict[UUID, Judged] = {}
        for one in judged:
            if not self._is_known_done(one.task.request_id):
                first.setdefault(one.task.request_id, one)
        notes: dict[UUID, Note] = {}
        for state in SEEN_STATES:
            left = {id_: one for id_, one in first.items() if id_ not in notes}
            written = await self._queue.write([_signed(one, state) for one in left.values()])
            notes |= dict.fromkeys(written, Note.RECORDED)
            notes |= await self._late([one for id_, one in left.items() if id_ not in written])
        return [_note(one, first, notes) for one in judged]

    def _is_known_done(self, request_id: UUID) -> bool:
        final = self._queue.final(request_id)
        return final is not None and final.state is JobState.DONE

    async def _late(self, judged: Sequence[Judged]) -> dict[UUID, Note]:
        """By request that has ended: as this signature says, or else it is for admins only."""
        if not judged:
            return {}
        ids = [one.task.request_id for one in judged]
        rows = await self._database.rows(
            queries.READ_STATES, {"ids": ids, "group": self.node_group}
        )
        states = {row.id: JobState(row.state) for row in rows}
        ended = [one for one in judged if states[one.task.request_id] not in SEEN_STATES]
        late = [one for one in ended if states[one.task.request_id] is not JobState.DONE]
        await self._queue.keep_late([_late_outcome(one) for one in late])
        return {one.task.request_id: Note.LATE if one in late else Note.DUPLICATE for one in ended}


def _note(
    one: Judged, first: Mapping[UUID, Judged], notes: Mapping[UUID, Note]
) -> Note | Exception:
    """Return the answer to a signer; ``first``: the report of each request that counts."""
    request_id = one.task.request_id
    if request_id not in first:
        return Note.DUPLICATE
    if request_id not in notes:
        return Contended(f"request {request_id} kept changing")
    if one is not first[request_id] and notes[request_id] is Note.RECORDED:
        return Note.DUPLICATE
    return notes[request_id]


def _signed(one: Judged, state: JobState) -> Change:
    return Change(_job_facts(one, state), Note.RECORDED, JobState.DONE, one.raw)


def _late_outcome(one: Judged) -> Change:
    return Change(_job_facts(one, JobState.FAILED), Note.LATE, late_outcome=one.raw)


def _job_facts(one: Judged, state: JobState) -> JobFacts:
    key = job_of(one.task.payload).key
    return JobFacts(
        id=one.task.request_id,
        kind=one.task.kind.value,
        payload=one.task.payload,
        state=state,
        key=KeyFacts(key.algorithm, key.network, key.public_key),
    )


def _given(row: AnyRow) -> GivenTask:
    return GivenTask(
        step_id=row.step_id,
        request_id=row.request_id,
        job_id=row.job_id,
        kind=JobKind(row.kind),
        lease=row.lease,
        payload=row.payload,
        ticket=row.ticket,
        begun_at=row.created_at,
        outcome=row.outcome,
    )


def _claimed(row: AnyRow, lease_seconds: float) -> ClaimedJob:
    return ClaimedJob(
        job_id=row.job_id,
        job=SignedBytes(
            payload=row.payload, signature=row.signature, signing_key_id=row.signing_key_id
        ),
        attempt=row.attempt,
        lease=row.lease,
        lease_seconds=lease_seconds,
        ticket=_ticket(row.ticket, row.ticket_signature, row.ticket_key_id),
        delivery_ticket=_ticket(row.delivery_ticket, row.delivery_signature, row.ticket_key_id),
        traceparent=row.traceparent,
    )


def _ticket(
    payload: bytes | None, signature: bytes | None, signing_key_id: str | None
) -> SignedBytes | None:
    if payload is None or signature is None or signing_key_id is None:
        return None
    return SignedBytes(payload=payload, signature=signature, signing_key_id=signing_key_id)
