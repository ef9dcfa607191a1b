"""Deletes encrypted private keys and shares from requests that have imported or copied a key.

A request to import has the private key, sealed to import keys. The steps of an import and of a copy
have it too, or the sub-shares. Once the key is Active or Failed nobody needs them. The request
itself stays, since the status of the key is read from it. Its signed job becomes empty.
"""

import structlog

from custody.control_plane.database import Database
from custody.database.connection import Connection
from custody.database.retention import BATCH

LOCK = 0x637573746F647901
"""Of PostgreSQL's advisory locks: one replica prunes at a time."""
TRY_LOCK = f"SELECT pg_try_advisory_xact_lock({LOCK}) AS is_ours"
BATCHES = 100
"""Batches in one round."""

_DELETE = """
    WITH oldest AS MATERIALIZED (
        SELECT id FROM jobs
        WHERE kind IN ('ImportKey', 'CopyKey') AND payload <> ''
            AND finished_at < now() - make_interval(days => :days)
            AND NOT EXISTS (
                SELECT FROM steps WHERE request_id = jobs.id AND (ended_at IS NULL OR is_unsettled)
            )
        ORDER BY finished_at, id LIMIT :limit
    ), deleted_tasks AS (
        DELETE FROM tasks USING steps, oldest
        WHERE tasks.step_id = steps.id AND steps.request_id = oldest.id RETURNING tasks.step_id
    ), deleted_steps AS (
        DELETE FROM steps USING oldest WHERE steps.request_id = oldest.id RETURNING steps.id
    ), emptied AS (
        UPDATE jobs SET payload = '', signature = '' FROM oldest WHERE jobs.id = oldest.id
        RETURNING jobs.id
    )
    SELECT (SELECT count(*) FROM emptied) AS jobs, (SELECT count(*) FROM deleted_steps) AS steps,
        (SELECT count(*) FROM deleted_tasks) AS tasks
"""
"""The outcomes of a copy's tasks have the dealings. A signer that reports one later is told that
the control plane does not know it."""

log = structlog.get_logger(__name__)


class CiphertextPruning:
    """Prunes in rounds. Any number of replicas may do so: each batch is of one replica."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def round(self, days: int) -> dict[str, int]:
        """Delete what is old enough. Return the deleted rows by table. Raise database errors."""
        deleted, emptied = {"steps": 0, "tasks": 0}, 0
        for _ in range(BATCHES):
            jobs, steps, tasks = await self._batch(days)
            emptied += jobs
            deleted = {"steps": deleted["steps"] + steps, "tasks": deleted["tasks"] + tasks}
            if jobs < BATCH:
                break
        if emptied:
            log.info("deleted the ciphertexts of imports and copies", requests=emptied)
        return deleted

    async def _batch(self, days: int) -> tuple[int, int, int]:
        """Return the numbers of emptied requests, and of deleted steps and tasks."""

        async def work(connection: Connection) -> tuple[int, int, int]:
            [lock] = await connection.rows(TRY_LOCK)
            if not lock.is_ours:
                return 0, 0, 0
            [row] = await connection.rows(_DELETE, {"days": days, "limit": BATCH})
            return row.jobs, row.steps, row.tasks

        return await self._database.in_transaction(work)
