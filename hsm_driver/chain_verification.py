"""`audit verify`: the chain in the database against itself, the journal and the kept heads."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from hsm_driver.audit import ChainCheck, Finding, records
from hsm_driver.tables import journal
from wire.audit import AuditHead


@dataclass(frozen=True)
class Verification:
    """``compared``: how many kept heads were met on the way."""

    records: int
    compared: int
    findings: list[Finding]


async def verify_chain(
    engine: AsyncEngine, node: str, heads: list[AuditHead], progress: Callable[[int], None]
) -> Verification:
    """Walk the chain from its first record, calling ``progress`` with each sequence number."""
    check = ChainCheck(node, heads)
    findings: list[Finding] = []
    last_outcomes: dict[UUID, tuple[int, str]] = {}
    async for sequence, record, stored_hash in records(engine, node):
        findings += check.record(sequence, record, stored_hash)
        said = json.loads(record)
        if said["code"] != "replayed":
            last_outcomes[UUID(said["job_id"])] = (sequence, said["outcome_digest"])
        progress(sequence)
    findings += check.end()
    findings += await _compare_journal(engine, node, last_outcomes)
    return Verification(check.sequence, check.compared, findings)


async def _compare_journal(
    engine: AsyncEngine, node: str, last_outcomes: dict[UUID, tuple[int, str]]
) -> list[Finding]:
    """Every outcome that is still in the journal must be the one that the chain recorded."""
    findings = []
    async with engine.connect() as connection:
        rows = await connection.stream(
            select(journal.c.job_id, journal.c.outcome).where(journal.c.node == node)
        )
        async for row in rows:
            sequence, digest = last_outcomes.get(row.job_id, (0, ""))
            if hashlib.sha256(row.outcome).hexdigest() != digest:
                findings.append(
                    Finding(sequence, f"the journal's outcome of job {row.job_id} is another")
                )
    return findings
