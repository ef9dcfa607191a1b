"""Records that an operator's command appends to the chain, beside a node that may be running."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from uuid import UUID, uuid4

from asyncpg.exceptions import NotNullViolationError, UniqueViolationError

from custody.database.pool import Pool
from custody.node.audit import INSERT_LINKS, AuditChain, AuditRecord
from custody.node.handlers import RowChange
from custody.runtime.errors import OperatorError
from custody.wire.outcomes import OutcomeStatus
from custody.wire.signed_bytes import SigningKey

ATTEMPTS = 10
"""Tries, since the running node appends to the same chain and the read head may be outdated."""


def operator_record(kind: str, content: bytes, details: Mapping[str, str | None]) -> AuditRecord:
    """Return a record that belongs to no job and to no key. ``content`` gives its digest."""
    return AuditRecord(
        job_id=uuid4(),
        kind=kind,
        key_id=UUID(int=0),
        job_digest=hashlib.sha256(b"").digest(),
        status=OutcomeStatus.DONE.value,
        code=None,
        outcome_digest=hashlib.sha256(content).digest(),
        details=dict(details),
    )


async def append(
    pool: Pool,
    node: str,
    signer: SigningKey,
    make: Callable[[AuditChain], Awaitable[Sequence[AuditRecord]]],
    changes: Sequence[RowChange] = (),
) -> None:
    """Commit records and row changes in one transaction. Raise OperatorError.

    ``make`` returns the records that follow the chain's present head. It is called at each try.
    """
    for _ in range(ATTEMPTS):
        chain = AuditChain(pool, node, signer)
        records = list(await make(chain))
        links = chain.link(await chain.head(), records)
        try:
            async with pool.transaction() as connection:
                await connection.rows(INSERT_LINKS, links.parameters)
                for change in changes:
                    await connection.rows(change.sql, change.values)
        except (NotNullViolationError, UniqueViolationError):
            continue
        return
    raise OperatorError(
        "the running node keeps adding records to its chain",
        "Stop the node, and run the command again.",
    )
