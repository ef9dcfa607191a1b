"""Deletes audit records of nodes that arrived longer ago than their own retention.

The last record of a node always stays: the node's next page follows it. While a node's chain is in
doubt, all its records stay.
"""

import structlog

from custody.control_plane.audit.space import ROW_BYTES
from custody.control_plane.database import Database
from custody.database.connection import Connection
from custody.database.retention import BATCH, read_retention

TABLE = "node_audit_retention"
CHANGE = """
    INSERT INTO node_audit_retention (days, operator, reason) VALUES (:days, :operator, :reason)
    RETURNING changed_at
"""
BATCHES = 100
"""Batches of each node in one round."""

_NODES = "SELECT id FROM nodes WHERE audit_alarm IS NULL AND audit_record_bytes > 0 ORDER BY id"

_LOCK_NODE = """
    SELECT FROM nodes WHERE id = :node AND audit_alarm IS NULL FOR NO KEY UPDATE
"""

_DELETE = """
    WITH oldest AS MATERIALIZED (
        SELECT sequence, hash FROM node_audit_records
        WHERE node_id = :node ORDER BY sequence, hash LIMIT :limit
    ), pruned AS (
        DELETE FROM node_audit_records AS record USING oldest
        WHERE record.node_id = :node AND record.sequence = oldest.sequence
            AND record.hash = oldest.hash
            AND record.received_at < now() - make_interval(days => :days)
            AND record.sequence < (
                SELECT max(sequence) FROM node_audit_records
                WHERE node_id = :node AND set_aside_by IS NULL
            )
        RETURNING octet_length(record.record) + :row_bytes AS size
    ), counted AS (
        SELECT count(*) AS records, coalesce(sum(size), 0) AS bytes FROM pruned
    )
    UPDATE nodes SET audit_record_bytes = audit_record_bytes - counted.bytes FROM counted
    WHERE nodes.id = :node RETURNING counted.records
"""

log = structlog.get_logger(__name__)


class NodeAuditPruning:
    """Prunes in rounds. Any number of replicas may do so: each batch locks its node."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def round(self) -> int:
        """Delete what is old enough. Return the number of records. Raise database errors."""
        retention = await read_retention(self._database.rows, default_days=None, table=TABLE)
        if retention.kept_days is None:
            return 0
        in_all = 0
        for node in await self._database.rows(_NODES):
            in_all += await self._of_node(node.id, retention.kept_days)
        if in_all:
            log.info("pruned audit records of nodes", records=in_all)
        return in_all

    async def _of_node(self, node: str, days: int) -> int:
        in_all = 0
        for _ in range(BATCHES):
            deleted = await self._batch(node, days)
            in_all += deleted
            if deleted < BATCH:
                break
        return in_all

    async def _batch(self, node: str, days: int) -> int:
        async def work(connection: Connection) -> int:
            if await connection.row(_LOCK_NODE, {"node": node}) is None:
                return 0
            values = {"node": node, "days": days, "limit": BATCH, "row_bytes": ROW_BYTES}
            [row] = await connection.rows(_DELETE, values)
            return int(row.records)

        return await self._database.in_transaction(work)
