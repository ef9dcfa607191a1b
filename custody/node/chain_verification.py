"""`audit verify`: check the chain, the kept heads, the journal and the stored keys."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from custody.database.pool import Pool
from custody.node.adoptions import AdoptedRows, AdoptionCheck
from custody.node.audit_checkpoint import KeptDigest, is_kept, last_checkpoint
from custody.node.audit_records import (
    MAX_RECORD,
    BadRecord,
    Finding,
    Findings,
    Gap,
    Kept,
    Said,
    parse_record,
)
from custody.node.chain_check import ChainCheck
from custody.node.journal_retention import SETTINGS, journal_retention, shortest
from custody.node.outcome_check import Rows, outcome_check
from custody.wire.audit import Checkpoint
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
    pruned: int = 0
    """Number of the last record that was pruned."""


@dataclass(frozen=True)
class Subject:
    """The node whose chain is checked. ``others``: the other nodes of the database.

    None: adoptions count in the chain of any node. A backup is checked so: whether it is complete.
    """

    node: str
    signer: SigningKey
    others: tuple[str, ...] | None = ()


_PAGE = """
    SELECT sequence, hash, CASE WHEN octet_length(record) <= :size THEN record END AS record
    FROM audit WHERE node = :node AND sequence > :last ORDER BY sequence LIMIT :limit
"""

_BELOW_CHECKPOINT = """
    SELECT sequence, hash, CASE WHEN octet_length(record) <= :size THEN record END AS record
    FROM audit WHERE node = :node AND sequence > :last AND sequence <= :until
    ORDER BY sequence LIMIT :limit
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
    findings = Findings()
    adoptions = AdoptionCheck([*check_keys.adopted, SETTINGS])
    async with pool.transaction() as connection:
        await connection.rows("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        rows: Rows = connection.rows
        last = (await rows(_LAST, node))[0].last
        stated, invalid = await last_checkpoint(rows, subject.node, subject.signer)
        findings.add(invalid)
        checkpoint = None if stated is None else stated.checkpoint
        chain = ChainCheck(subject.node, subject.signer, kept, checkpoint)
        retention = shortest(await journal_retention(rows))
        with outcome_check(retention) as outcomes:
            place = {**node, "size": MAX_RECORD, "limit": PAGE}
            if checkpoint is not None:
                async for stayed, faults in _kept_records(rows, chain, checkpoint):
                    findings.add(faults)
                    for each in stayed:
                        findings.add(outcomes.note(each))
                        adoptions.note(each)
                    findings.add(await check_keys.recorded(rows, stayed))
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
            pruned = None if checkpoint is None else checkpoint.at
            findings.add(chain.end())
            findings.add(
                [
                    Finding(row.sequence, "a chain never contains a record of this number")
                    for row in await rows(_BELOW, node)
                ]
            )
            async for finding in outcomes.compare(rows, subject.node, pruned):
                findings.add([finding])
        unrecorded, notes = await adoptions.compare(rows, subject.node, subject.others)
        findings.add(unrecorded)
    return Verification(
        chain.sequence,
        chain.compared,
        findings.kept,
        findings.count,
        chain.gaps,
        notes,
        0 if checkpoint is None else checkpoint.sequence,
    )


async def _kept_records(
    rows: Rows, chain: ChainCheck, checkpoint: Checkpoint
) -> AsyncIterator[tuple[list[Said], list[Finding]]]:
    """Yield, page by page, the records that stay below a checkpoint, and what is wrong.

    A record that a prune has not deleted yet is skipped.
    """
    digest, last = KeptDigest(), 0
    place = {"node": checkpoint.node, "size": MAX_RECORD, "limit": PAGE}
    while page := await rows(
        _BELOW_CHECKPOINT, {**place, "last": last, "until": checkpoint.sequence}
    ):
        kept, findings = [], []
        for row in page:
            try:
                said = parse_record(row.record or b"")
            except BadRecord as bad:
                findings.append(Finding(row.sequence, f"the record does not parse: {bad}"))
                continue
            if is_kept(said):
                digest.add(row.sequence, row.record, row.hash)
                findings += chain.kept_record(row.sequence, said)
                kept.append(said)
        yield kept, findings
        last = page[-1].sequence
    if (digest.count, digest.value) != (checkpoint.kept, checkpoint.kept_digest):
        what = (
            f"the records that were kept up to {checkpoint.sequence} were changed: there are "
            f"{digest.count}, and the signed checkpoint says {checkpoint.kept}"
        )
        yield [], [Finding(checkpoint.sequence, what)]
