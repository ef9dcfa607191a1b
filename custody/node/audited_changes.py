"""Changes of a node's database with their audit records, outside of jobs.

An operator's command makes most of them, beside a node that may be running.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID, uuid4

from asyncpg.exceptions import IntegrityConstraintViolationError
from tenacity import AsyncRetrying, RetryError, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_random

from custody.database.connection import Connection, Row
from custody.database.pool import Pool
from custody.node.audit import INSERT_LINKS, AuditRecord, link, read_head
from custody.runtime.errors import OperatorError
from custody.wire.audit import AuditHead
from custody.wire.outcomes import OutcomeStatus

Result = TypeVar("Result")

NO_KEY = UUID(int=0)
"""The key id in a record that is about no key."""
ATTEMPTS = 20
"""Tries of a transaction: the running node may append to the chain first."""
LONGEST_PAUSE = 0.1
"""Seconds between two tries, at most."""


def record_without_job(
    kind: str, details: Mapping[str, str | None], key_id: UUID = NO_KEY
) -> AuditRecord:
    """Return a record that belongs to no job. ``details`` never contain a secret."""
    return AuditRecord(
        job_id=uuid4(),
        kind=kind,
        key_id=key_id,
        job_digest=hashlib.sha256(b"").digest(),
        status=OutcomeStatus.DONE.value,
        code=None,
        outcome_digest=hashlib.sha256(json.dumps(dict(details), sort_keys=True).encode()).digest(),
        details=dict(details),
    )


class AuditedChanges:
    """Commits changes and their audit records in one transaction, in the chain of ``node``.

    All methods raise OperatorError if the running node is first at each try.
    """

    def __init__(self, pool: Pool, node: str) -> None:
        self._pool = pool
        self._node = node

    async def commit(self, sql: str, values: Mapping[str, Any], *records: AuditRecord) -> list[Row]:
        """Run a statement, append ``records``, and commit both. Return the statement's rows.

        A statement that returns no row has changed nothing: nothing is recorded then.
        """

        async def work(connection: Connection) -> list[Row]:
            rows = await connection.rows(sql, values)
            if rows:
                await self._append(connection, lambda _: records)
            return rows

        return await self._in_transaction(work)

    async def change(
        self, work: Callable[[Connection], Awaitable[Sequence[AuditRecord]]]
    ) -> Sequence[AuditRecord]:
        """Do ``work``, append the records that it returns, and commit both. Return the records.

        The work is done again, in another transaction, if the running node appends first.
        """

        async def work_and_append(connection: Connection) -> Sequence[AuditRecord]:
            records = await work(connection)
            if records:
                await self._append(connection, lambda _: records)
            return records

        return await self._in_transaction(work_and_append)

    async def append(self, record_after: Callable[[AuditHead], AuditRecord]) -> None:
        """Commit a record that depends on the head that it follows."""
        await self._in_transaction(
            lambda connection: self._append(connection, lambda head: [record_after(head)])
        )

    async def _in_transaction(self, work: Callable[[Connection], Awaitable[Result]]) -> Result:
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(_HeadMoved),
                stop=stop_after_attempt(ATTEMPTS),
                wait=wait_random(0, LONGEST_PAUSE),
            ):
                with attempt:
                    async with self._pool.transaction() as connection:
                        result = await work(connection)
        except RetryError:
            raise OperatorError(
                "the running node keeps adding records to its chain",
                "Stop the node, and run the command again.",
            ) from None
        return result

    async def _append(
        self,
        connection: Connection,
        records_after: Callable[[AuditHead], Sequence[AuditRecord]],
    ) -> None:
        head = await read_head(connection, self._node)
        links = link(head, records_after(head))
        try:
            await connection.rows(INSERT_LINKS, links.parameters)
        except IntegrityConstraintViolationError:
            raise _HeadMoved from None


class _HeadMoved(Exception):
    """Another transaction appended to the chain after the head was read."""
