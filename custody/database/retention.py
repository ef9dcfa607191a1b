"""The retention setting of a database: how many days finished work is kept.

All processes with this database read the same setting. Each change is a row, so that nothing that
was promised under a longer retention is deleted under a shorter one.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from custody.runtime.errors import OperatorError

MIN_DAYS = 2
"""One more than the longest life that a control plane may give a job (86,400 s)."""
MAX_DAYS = 36_500
BATCH = 1_000
"""Rows that one transaction prunes."""

TABLE = "retention"

_READ = """
    SELECT now() AS read_at, changed_at, days, operator, reason
    FROM (SELECT) AS one LEFT JOIN {table} ON true ORDER BY changed_at
"""
CHANGE = """
    INSERT INTO retention (days, operator, reason) VALUES (:days, :operator, :reason)
    RETURNING changed_at
"""

Rows = Callable[[str, dict[str, Any]], Awaitable[Sequence[Any]]]


@dataclass(frozen=True)
class Change:
    """One setting. ``days``: None keeps everything."""

    changed_at: datetime
    days: int | None
    operator: str
    reason: str


@dataclass(frozen=True)
class Retention:
    """The settings of a database, oldest first, at ``read_at`` by the database's clock.

    ``default_days`` is in force before the first change.
    """

    default_days: int | None
    changes: Sequence[Change]
    read_at: datetime

    @property
    def days(self) -> int | None:
        """Return the setting in force; None keeps everything."""
        return self.changes[-1].days if self.changes else self.default_days

    @property
    def kept_days(self) -> int | None:
        """Return after how many days rows are deleted now; None for never.

        A longer earlier setting still counts until its own days, and one more, have passed since
        it was replaced: a job that was accepted under that setting may live so long.
        """
        if self.days is None:
            return None
        replaced = zip(self._settings, self.changes, strict=False)
        still_counting = [
            days
            for days, change in replaced
            if days is not None and change.changed_at + timedelta(days=days + 1) > self.read_at
        ]
        return max([self.days, *still_counting])

    @property
    def shortest_days(self) -> int | None:
        """Return the shortest setting that was ever in force; None if rows were never deleted."""
        return min((days for days in self._settings if days is not None), default=None)

    @property
    def shown(self) -> dict[str, Any]:
        """Return the setting for people, by name."""
        last = self.changes[-1] if self.changes else None
        return {
            "days": self.days,
            "days_until_deletion": self.kept_days,
            "changed_at": None if last is None else last.changed_at,
            "operator": None if last is None else last.operator,
            "reason": None if last is None else last.reason,
        }

    @property
    def _settings(self) -> list[int | None]:
        return [self.default_days, *(change.days for change in self.changes)]


def require_days(days: int) -> None:
    """Raise OperatorError for a number of days that no job or no calendar allows."""
    if not MIN_DAYS <= days <= MAX_DAYS:
        raise OperatorError(
            f"a retention of {days} days is not possible",
            f"Give {MIN_DAYS} to {MAX_DAYS} days: a job may live for one day.",
        )


async def read_retention(rows: Rows, default_days: int | None, table: str = TABLE) -> Retention:
    """Read the settings. ``rows``: of a pool or a connection."""
    found = await rows(_READ.format(table=table), {})
    changes = [
        Change(row.changed_at, row.days, row.operator, row.reason)
        for row in found
        if row.changed_at is not None
    ]
    return Retention(default_days, changes, found[0].read_at)
