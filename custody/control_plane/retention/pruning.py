"""Deletes signatures and imports that were finished longer ago than the retention.

Their steps and tasks go with them. Keys, wallets, and the requests that made or changed keys stay:
the status of a key is read from them. Only the encrypted private keys and shares in them are
deleted (ciphertexts.py). The external id of a pruned request is kept permanently, so that no
repetition of the request signs a second time.

A request is pruned in two rounds. The first spends its external id, the second deletes it. An
insertion that began before its id was spent finds the request, and one that began later finds the
spent id. SETTLED is longer than any statement takes, so there is no insertion that finds neither.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog
from prometheus_client import CollectorRegistry, Counter

from custody.control_plane.database import Database
from custody.control_plane.retention.ciphertexts import TRY_LOCK, CiphertextPruning
from custody.control_plane.retention.node_audit import NodeAuditPruning
from custody.database.causes import is_transient
from custody.database.connection import STATEMENT_SECONDS, Connection
from custody.database.retention import BATCH, read_retention

SETTLED = 10 * STATEMENT_SECONDS
"""Seconds from the first round of a request to its second, at least."""
INTERVAL = SETTLED
"""Seconds between two rounds."""
BATCHES = 100
"""Batches of each kind in one round."""
FIRST = (datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0))

WHICH = {
    "signatures": "kind = 'Sign'",
    "imports": "kind = 'PrepareImport' AND payload <> ''",
}
"""Conditions of what is pruned. Each is in the words of a partial index."""

_OLDEST = """
    WITH oldest AS MATERIALIZED (
        SELECT id, finished_at, application_id, endpoint, external_id FROM jobs
        WHERE {which} AND finished_at < now() - make_interval(days => :days)
            AND (finished_at, id) > (:after_time, :after_id)
        ORDER BY finished_at, id LIMIT :limit
    )
"""

_SPEND = (
    _OLDEST
    + """
    , spent AS (
        INSERT INTO spent_external_ids
            (application_id, endpoint, external_id, request_id, finished_at)
        SELECT application_id, endpoint, external_id, id, finished_at FROM oldest
        WHERE external_id IS NOT NULL
        ON CONFLICT DO NOTHING
        RETURNING request_id
    )
    SELECT id, finished_at, (SELECT count(*) FROM spent) AS number FROM oldest
    ORDER BY finished_at DESC, id DESC LIMIT 1
"""
)

_DELETE = (
    _OLDEST
    + """
    , ready AS MATERIALIZED (
        SELECT id FROM oldest
        WHERE (external_id IS NULL OR (
            SELECT spent_at FROM spent_external_ids AS spent
            WHERE spent.application_id = oldest.application_id
                AND spent.endpoint = oldest.endpoint AND spent.external_id = oldest.external_id
        ) < now() - make_interval(secs => :settled)) AND NOT EXISTS (
            SELECT FROM steps WHERE request_id = oldest.id AND (ended_at IS NULL OR is_unsettled)
        )
    ), pruned_tasks AS (
        DELETE FROM tasks USING steps, ready
        WHERE tasks.step_id = steps.id AND steps.request_id = ready.id RETURNING tasks.step_id
    ), pruned_steps AS (
        DELETE FROM steps USING ready WHERE steps.request_id = ready.id RETURNING steps.id
    ), pruned_jobs AS (
        DELETE FROM jobs USING ready WHERE jobs.id = ready.id RETURNING jobs.id
    )
    SELECT id, finished_at, (SELECT count(*) FROM pruned_jobs) AS jobs,
        (SELECT count(*) FROM pruned_steps) AS steps, (SELECT count(*) FROM pruned_tasks) AS tasks
    FROM oldest ORDER BY finished_at DESC, id DESC LIMIT 1
"""
)

log = structlog.get_logger(__name__)


class PruningMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.rows = Counter(
            "custody_pruned_rows_total",
            "Rows that this replica deleted after the retention.",
            ["table"],
            registry=registry,
        )


@dataclass(frozen=True)
class Pruned:
    """What a round has done: spent external ids, and deleted signatures and imports."""

    spent: int
    deleted: int


class Pruning:
    """Prunes in rounds. Any number of replicas may do so: each batch is of one replica."""

    def __init__(self, database: Database, metrics: PruningMetrics) -> None:
        self._database = database
        self._metrics = metrics
        self._node_audit = NodeAuditPruning(database)
        self._ciphertexts = CiphertextPruning(database)

    async def round(self) -> Pruned:
        """Delete what an earlier round has prepared, then prepare more. Raise database errors."""
        self._metrics.rows.labels("node_audit_records").inc(await self._node_audit.round())
        retention = await read_retention(self._database.rows, default_days=None)
        if retention.kept_days is None:
            return Pruned(0, 0)
        self._count(await self._ciphertexts.round(retention.kept_days))
        in_all = Pruned(0, 0)
        for name, which in WHICH.items():
            deleted = await self._delete(which, retention.kept_days)
            spent = await self._spend(which, retention.kept_days)
            if deleted:
                log.info("pruned finished requests", kind=name, requests=deleted)
            in_all = Pruned(in_all.spent + spent, in_all.deleted + deleted)
        return in_all

    async def run(self) -> None:
        """Do a round every few minutes until cancelled. The next one continues after an error."""
        while True:
            try:
                await self.round()
            except Exception as error:
                if not is_transient(error):
                    raise
                log.debug("pruning failed, it continues later", error=type(error).__name__)
            await asyncio.sleep(INTERVAL)

    def _count(self, deleted: Mapping[str, int]) -> None:
        for table, number in deleted.items():
            self._metrics.rows.labels(table).inc(number)

    async def _delete(self, which: str, days: int) -> int:
        place, in_all = FIRST, 0
        for _ in range(BATCHES):
            sql = _DELETE.replace("{which}", which)
            row = await self._batch(sql, days, place, {"settled": SETTLED})
            if row is None or not row.jobs:
                break
            self._count({"jobs": row.jobs, "steps": row.steps, "tasks": row.tasks})
            place, in_all = (row.finished_at, row.id), in_all + row.jobs
        return in_all

    async def _spend(self, which: str, days: int) -> int:
        place, in_all = FIRST, 0
        for _ in range(BATCHES):
            row = await self._batch(_SPEND.replace("{which}", which), days, place, {})
            if row is None:
                break
            place, in_all = (row.finished_at, row.id), in_all + row.number
        return in_all

    async def _batch(
        self, sql: str, days: int, place: tuple[datetime, UUID], more: dict[str, int]
    ) -> Any:
        """Run one batch. Return its last row; None if there is none, or another replica prunes."""
        values = {"days": days, "limit": BATCH, "after_time": place[0], "after_id": place[1]}

        async def work(connection: Connection) -> Any:
            [lock] = await connection.rows(TRY_LOCK)
            return await connection.row(sql, {**values, **more}) if lock.is_ours else None

        return await self._database.in_transaction(work)
