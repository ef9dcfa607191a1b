"""What `audit verify` and `audit restored` print: findings and gaps, for people and as JSON."""

from datetime import datetime
from typing import Any

from custody.node.audit_records import Gap
from custody.node.chain_verification import Verification
from custody.runtime.console import out, print_table, printable


def show(found: Verification, offline: bool) -> None:
    """Print the findings, or what the chain was compared with."""
    for gap in found.gaps:
        out.print(f"gap at record {gap.sequence}: {gap_words(gap)}", markup=False)
    for note in found.notes:
        out.print(f"note: {printable(note)}", markup=False)
    if found.findings:
        print_table(
            ["record", "finding"],
            [(finding.sequence, finding.what) for finding in found.findings],
        )
        if found.findings_in_all > len(found.findings):
            out.print(f"and {found.findings_in_all - len(found.findings)} more")
        return
    if found.pruned:
        out.print(f"pruned up to record {found.pruned}, where a signed checkpoint continues")
    against = "its database alone" if offline else f"{found.compared} kept heads"
    out.print(f"{found.records} records, compared with {against}: nothing found")


def gap_words(gap: Gap) -> str:
    """Return a gap as a line for people."""
    what = printable(
        f"records {gap.agreed.sequence + 1} to {gap.kept.sequence} are lost, because the database "
        f"was restored; head {gap.kept.sequence} was {gap.kept.hash.hex()}, and the chain "
        f"continued from {gap.own.sequence}, {gap.own.hash.hex()}; stated by {gap.operator} at "
        f"{_time(gap.at)}: {gap.reason}"
    )
    if gap.acknowledged_at is None:
        return what
    return what + printable(
        f"; acknowledged by {gap.acknowledged_by} at {_time(gap.acknowledged_at)}: "
        f"{gap.acknowledged_reason}"
    )


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


def document(found: Verification) -> dict[str, Any]:
    """Return the findings as JSON."""
    return {
        "records": found.records,
        "compared": found.compared,
        "findings": [vars(finding) for finding in found.findings],
        "findings_in_all": found.findings_in_all,
        "gaps": [gap_document(gap) for gap in found.gaps],
        "notes": found.notes,
        "pruned": found.pruned,
    }


def gap_document(gap: Gap) -> dict[str, Any]:
    """Return a gap as JSON."""
    return {
        "sequence": gap.sequence,
        "agreed_sequence": gap.agreed.sequence,
        "lost_sequence": gap.kept.sequence,
        "lost_hash": gap.kept.hash.hex(),
        "own_sequence": gap.own.sequence,
        "own_hash": gap.own.hash.hex(),
        "operator": gap.operator,
        "reason": gap.reason,
        "stated_at": gap.at.isoformat(),
        "acknowledged_at": gap.acknowledged_at and gap.acknowledged_at.isoformat(),
        "acknowledged_by": gap.acknowledged_by,
        "acknowledged_reason": gap.acknowledged_reason,
    }
