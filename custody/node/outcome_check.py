"""Comparison of the outcomes in a chain with the journal, in bounded memory."""

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from custody.node.audit_records import Finding, Said
from custody.wire.jobs import JobKind
from custody.wire.outcomes import OutcomeStatus

PAGE = 1_000
CLOCKS_APART = timedelta(hours=1)
"""Allowed difference of the node's and its database's clocks, by which the journal is purged."""
FIRST = datetime(1970, 1, 1, tzinfo=UTC)
JOB_KINDS = frozenset(JobKind)
FINAL = (OutcomeStatus.DONE, OutcomeStatus.DENIED)

Rows = Callable[[str, dict[str, Any]], Awaitable[list[Any]]]


@dataclass(frozen=True)
class Recorded:
    """The last outcome of a job in the chain."""

    job_id: UUID
    sequence: int
    at: datetime
    status: str
    digest: str


class OutcomeCheck:
    """Remembers the last outcome of each job, in a temporary SQLite file."""

    def __init__(self, connection: sqlite3.Connection, retention: timedelta) -> None:
        self._connection = connection
        self._retention = retention
        connection.execute(
            "CREATE TABLE outcomes (job_id BLOB PRIMARY KEY, sequence INTEGER, at REAL,"
            " status TEXT, digest TEXT) WITHOUT ROWID"
        )

    def note(self, said: Said) -> list[Finding]:
        """Note a record, and return a finding if its job already has a final outcome.

        After the retention the journal has forgotten the job. A repeated job is then denied
        again as expired, which is not a finding.
        """
        if not _is_journalled(said):
            return []
        key = said.job_id.bytes
        before = self._find(key)
        self._connection.execute(
            "INSERT OR REPLACE INTO outcomes VALUES (?, ?, ?, ?, ?)",
            (key, said.sequence, said.at.timestamp(), said.status.value, said.outcome_digest),
        )
        if (
            before is None
            or before.status not in FINAL
            or said.at - before.at > self._retention - CLOCKS_APART
        ):
            return []
        return [
            Finding(
                said.sequence,
                f"a second outcome of job {said.job_id} ({said.status}), which was {before.status} "
                f"for good in record {before.sequence}",
            )
        ]

    async def compare(
        self, rows: Rows, node: str, pruned: datetime | None = None
    ) -> AsyncIterator[Finding]:
        """Check that chain and journal contain the same outcomes, until the journal purges them.

        ``pruned``: time of the last record that was pruned. The chain lacks outcomes before it.
        """
        since = FIRST if pruned is None else pruned + CLOCKS_APART
        purged_before = datetime.now(UTC) - self._retention + CLOCKS_APART
        for page in self._pages():
            found = await rows(_FIND, {"job_ids": [each.job_id for each in page]})
            by_id = {row.job_id: row for row in found}
            for each in page:
                what = _difference(each, by_id.get(each.job_id), node, purged_before)
                if what is not None:
                    yield Finding(each.sequence, what)
        last = UUID(int=0)
        while found := await rows(
            _OF_NODE, {"node": node, "last": last, "since": since, "limit": PAGE}
        ):
            for row in found:
                if self._find(row.job_id.bytes) is None:
                    yield Finding(
                        None, f"the journal has an outcome of job {row.job_id}, the chain has none"
                    )
            last = found[-1].job_id

    def _find(self, key: bytes) -> Recorded | None:
        row = self._connection.execute(
            "SELECT job_id, sequence, at, status, digest FROM outcomes WHERE job_id = ?", (key,)
        ).fetchone()
        return None if row is None else _recorded(row)

    def _pages(self) -> Iterator[list[Recorded]]:
        cursor = self._connection.execute(
            "SELECT job_id, sequence, at, status, digest FROM outcomes"
        )
        while page := cursor.fetchmany(PAGE):
            yield [_recorded(row) for row in page]


@contextmanager
def outcome_check(retention: timedelta) -> Iterator[OutcomeCheck]:
    """``retention``: the age from which the journal may lack a job."""
    connection = sqlite3.connect("")  # on disk, in a file without a name
    try:
        yield OutcomeCheck(connection, retention)
    finally:
        connection.close()


_FIND = """
    SELECT job_id, node, status, encode(sha256(outcome), 'hex') AS digest FROM journal
    WHERE job_id = ANY(:job_ids::uuid[])
"""

_OF_NODE = """
    SELECT job_id FROM journal WHERE node = :node AND job_id > :last AND committed_at > :since
    ORDER BY job_id LIMIT :limit
"""


def _is_journalled(said: Said) -> bool:
    """Return True for a job's outcome, which the journal must contain.

    Operators' acts, refusals and denials of replays are in the chain only.
    """
    return (
        said.kind in JOB_KINDS
        and said.status is not OutcomeStatus.REFUSED
        and said.code != "replayed"
    )


def _difference(recorded: Recorded, row: Any, node: str, purged_before: datetime) -> str | None:
    job = recorded.job_id
    if row is None:
        is_purged = recorded.at < purged_before
        return None if is_purged else f"the outcome of job {job} is missing from the journal"
    if row.node != node:  # another driver of the group did the job that this driver had failed
        is_legal = recorded.status == OutcomeStatus.FAILED
        return None if is_legal else f"the journal says that {row.node} did job {job}"
    if (row.status, row.digest) != (recorded.status, recorded.digest):
        return f"the journal's outcome of job {job} differs from the chain's"
    return None


def _recorded(row: tuple[bytes, int, float, str, str]) -> Recorded:
    job_id, sequence, at, status, digest = row
    return Recorded(UUID(bytes=job_id), sequence, datetime.fromtimestamp(at, UTC), status, digest)
