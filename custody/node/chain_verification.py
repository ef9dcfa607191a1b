"""`audit verify`: check the chain, the kept heads, the journal and the stored keys."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from custody.database.pool import Pool
from custody.node.adoptions import AdoptedRows, AdoptionCheck
from custody.node.audit_records import MAX_RECORD, Finding, Findings, Gap, Kept, Said
from custody.node.chain_check import ChainCheck
from custody.node.journal_retention import SETTINGS, journal_retention, shortest
from custody.node.outcome_check import Rows, outcome_check
from custody.wire.signed_bytes import SigningKey

PAGE = 500


@dataclass(frozen=True)
class KeyCheck:
    """A mode's comparisons of records and rows.

    ``recorded`` compares the keys that a page of records names with the keys in the database.
    ``adopted``: the tables whose rows must have a record.
    """

    recorded: Callable[[Rows, Sequence[Said]], Awaitable[list[Finding]]]
    adopted: Sequence[AdoptedRows]


@dataclass(frozen=True)
class Verification:
    """A finished check. ``compared``: number of compared heads; ``findings``: the first ones.

    ``notes``: what the chains of other nodes must show.
    """

    records: int
    compared: int
    findings: list[Finding]
    findings_in_all: int
    gaps: list[Gap]
    notes: list[str]


@dataclass(frozen=True)
class Subject:
    """The node whose chain is checked."""

    node: str
    signer: SigningKey


_PAGE = """
    SELECT sequence, hash, CASE WHEN octet_length(record) <= :size THEN record END AS record
    FROM audit WHERE node = :node AND sequence > :last ORDER BY sequence LIMIT :limit
"""

_BELOW = "SELECT sequence FROM audit WHERE node = :node AND sequence < 1 LIMIT 10"

_LAST = "SELECT coalesce(max(sequence), 0) AS last FROM audit WHERE node = :node"


async def verify_chain(
    pool: Pool,
    subject: Subject,
    kept: Kept | None,
    check_keys: KeyCheck,
    progress: Callable[[int, int], None],
) -> Verification:
    """Check the chain from its first record; ``progress`` gets the sequence number and the last.

    One snapshot is read, so a running node does not disturb the check. If ``kept`` is None, the
    chain is checked without kept heads.
    """
    node = {"node": subject.node}
    chain, findings = ChainCheck(subject.node, subject.signer, kept), Findings()
    adoptions = AdoptionCheck([*check_keys.adopted, SETTINGS])
    async with pool.transaction() as connection:
        await connection.rows("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        rows: Rows = connection.rows
        last = (await rows(_LAST, node))[0].last
        retention = shortest(await journal_retention(rows))
        with outcome_check(retention) as outcomes:
            place = {**node, "size": MAX_RECORD, "limit": PAGE}
            while page := await rows(_PAGE, {**place, "last": chain.sequence}):
                said = []
                for row in page:
                    one, found = chain.record(row.sequence, row.record, row.hash)
                    findings.add(found)
                    if one is not None:
                        said.append(one)
                        findings.add(outcomes.note(one))
                        adoptions.note(one)
                findings.add(await check_keys.recorded(rows, said))
                progress(chain.sequence, last)
            findings.add(chain.end())
            findings.add(
                [
                    Finding(row.sequence, "a chain never contains a record of this number")
                    for row in await rows(_BELOW, node)
                ]
            )
            async for finding in outcomes.compare(rows, subject.node):
                findings.add([finding])
        unrecorded, notes = await adoptions.compare(rows, subject.node)
        findings.add(unrecorded)
    return Verification(
        chain.sequence, chain.compared, findings.kept, findings.count, chain.gaps, notes
    )
