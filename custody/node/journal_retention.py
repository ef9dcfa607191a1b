"""How long a group's journal keeps outcomes: one setting in the group's database.

Every node of the group reads it, and `retention set` changes it for all of them.
"""

import asyncio
from datetime import timedelta
from typing import Any

from custody.database.causes import is_transient
from custody.database.pool import Pool
from custody.database.retention import CHANGE, MIN_DAYS, Retention, Rows, read_retention
from custody.node.adoptions import AdoptedRows
from custody.node.audited_changes import AuditedChanges, record_without_job

DEFAULT_DAYS = 90
KIND = "SetRetention"
"""The kind of the audit record of a change."""
SETTINGS = AdoptedRows(
    "retention of days",
    KIND,
    "SELECT days::text AS name, operator AS value FROM retention",
    details=("days", "operator"),
    said="set by",
)
"""The settings, each of which has an audit record."""
INTERVAL = 60.0
"""Seconds between two readings of the setting."""


async def journal_retention(rows: Rows) -> Retention:
    """Read the setting of a node's database."""
    return await read_retention(rows, DEFAULT_DAYS)


def shortest(retention: Retention) -> timedelta:
    """Return the age from which the journal may lack an outcome.

    It was deleted under the shortest setting that was ever in force, and does not come back.
    """
    assert retention.shortest_days is not None  # the default is not "keep everything"
    return timedelta(days=retention.shortest_days)


async def set_journal_retention(
    changes: AuditedChanges, days: int, operator: str, reason: str
) -> None:
    """Change the setting for all nodes of the group, with an audit record."""
    values: dict[str, Any] = {"days": days, "operator": operator, "reason": reason}
    record = record_without_job(KIND, {**values, "days": str(days)})
    await changes.commit(CHANGE, values, record)


class LongestLife:
    """The longest life of a job that this node does: the retention, as last read.

    The journal would forget a job that lives longer, and the job could be done twice.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._longest = timedelta(days=MIN_DAYS)

    def __call__(self) -> timedelta:
        return self._longest

    async def refresh(self) -> None:
        """Read the setting. Keep the last reading while the database is unavailable."""
        try:
            retention = await journal_retention(self._pool.rows)
        except Exception as error:
            if not is_transient(error):
                raise
            return
        assert retention.days is not None
        self._longest = timedelta(days=retention.days)

    async def refresh_repeatedly(self) -> None:
        """Read the setting every minute, until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            await self.refresh()
