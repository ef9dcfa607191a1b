"""`audit verify`: the chain in the database against itself, the journal and the kept heads."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from daemon.statements import Statements
from node.audit import PAGE, ChainCheck, Finding, records
from wire.audit import AuditHead


@dataclass(frozen=True)
class Verification:
    """``compared``: how many kept heads were met on the way."""

    records: int
    compared: int
    findings: list[Finding]


async def verify_chain(
    statements: Statements, node: str, heads: list[AuditHead], progress: Callable[[int], None]
) -> Verification:
    """Walk the chain from its first record, calling ``progress`` with each sequence number."""
    check = ChainCheck(node, heads)
    findings: list[Finding] = []
    last_outcomes: dict[UUID, tuple[int, str]] = {}
    async for sequence, record, stored_hash in records(statements, node):
        findings += check.record(sequence, record, stored_hash)
        said = json.loads(record)
        if said["code"] != "replayed":
            last_outcomes[UUID(said["job_id"])] = (sequence, said["outcome_digest"])
        progress(sequence)
    findings += check.end()
    findings += await _compare_journal(statements, node, last_outcomes)
    return Verification(check.sequence, check.compared, findings)


_PAGE = """
    SELECT job_id, outcome FROM journal WHERE node = %(node)s AND job_id > %(last)s
    ORDER BY job_id LIMIT %(limit)s
"""


async def _compare_journal(
    statements: Statements, node: str, last_outcomes: dict[UUID, tuple[int, str]]
) -> list[Finding]:
    """Every outcome that is still in the journal must be the one that the chain recorded."""
    findings = []
    last = UUID(int=0)
    while page := await statements.rows(_PAGE, {"node": node, "last": last, "limit": PAGE}):
        for row in page:
            sequence, digest = last_outcomes.get(row.job_id, (0, ""))
            if hashlib.sha256(row.outcome).hexdigest() != digest:
                findings.append(
                    Finding(sequence, f"the journal's outcome of job {row.job_id} is another")
                )
        last = page[-1].job_id
    return findings
