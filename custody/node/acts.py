"""An operator's changes of a node's database, each with its audit record."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

from asyncpg.exceptions import IntegrityConstraintViolationError

from custody.database.pool import Pool
from custody.node.audit import INSERT_LINKS, AuditChain, AuditRecord
from custody.wire.outcomes import OutcomeStatus
from custody.wire.signed_bytes import SigningKey

ATTEMPTS = 10
"""The running node adds to the same chain, so a command may have to read its head again."""


class Acts:
    """Runs a statement and records it in the chain of ``node``, in one transaction."""

    def __init__(self, pool: Pool, node: str, signer: SigningKey) -> None:
        self._pool = pool
        self._chain = AuditChain(pool, node, signer)

    async def do(
        self,
        kind: str,
        key_id: UUID,
        sql: str,
        values: dict[str, Any],
        details: Mapping[str, str | None],
    ) -> list[Any]:
        """Return the statement's rows. Without a row, nothing was done or recorded.

        ``details`` for the audit: the operator, the reason and further facts. No secrets.
        """
        for attempt in range(ATTEMPTS):
            try:
                return await self._once(kind, key_id, sql, values, details)
            except IntegrityConstraintViolationError:
                self._chain.forget_head()
                if attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    async def _once(
        self,
        kind: str,
        key_id: UUID,
        sql: str,
        values: dict[str, Any],
        details: Mapping[str, str | None],
    ) -> list[Any]:
        said = json.dumps(dict(details), sort_keys=True).encode()
        record = AuditRecord(
            job_id=uuid4(),  # the record belongs to no job
            kind=kind,
            key_id=key_id,
            job_digest=hashlib.sha256(b"").digest(),
            status=OutcomeStatus.DONE.value,
            code=None,
            outcome_digest=hashlib.sha256(said).digest(),
            details=dict(details),
        )
        head = await self._chain.head()
        async with self._pool.transaction() as connection:
            rows: list[Any] = await connection.rows(sql, values)
            if not rows:
                return []
            links = self._chain.link(head, [record])
            await connection.rows(INSERT_LINKS, links.parameters)
        self._chain.advance(links)
        return rows
