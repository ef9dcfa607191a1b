"""The work of `audit prune`: which records may go, and what is verified before."""

from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from custody.database.pool import Pool
from custody.node.audit_prune import Order, Pruned, Pruning
from custody.node.audit_records import MAX_FINDINGS, Kept
from custody.node.chain_verification import KeyCheck, Subject, verify_chain
from custody.node.connections import open_database
from custody.node.identity import load_identity
from custody.node.journal_retention import journal_retention
from custody.node.settings import NodeSettings
from custody.runtime.audit_file import sync_file, verify_file
from custody.runtime.errors import OperatorError
from custody.runtime.operators import operator_name
from custody.runtime.progress import progress_bar
from custody.wire.signed_bytes import PinnedKeys


@dataclass(frozen=True)
class Wanted:
    """What an operator asks for. ``exported``: the file of `audit export`.

    ``keep_days``: None for as long as the journal keeps outcomes. ``others``: as in Subject.
    """

    exported: Path
    keep_days: int | None
    reason: str
    others: tuple[str, ...] = ()


async def prune_chain(
    settings: NodeSettings, check_keys: KeyCheck, kept: Kept | None, wanted: Wanted
) -> Pruned:
    """Verify the file and the chain, then prune. Raise OperatorError.

    ``kept``: the heads at the control plane, or None to verify without them.
    """
    signer, node = load_identity(settings.identity.private_key), settings.node.id
    file = verify_file(wanted.exported, PinnedKeys([signer.public_key]), node, MAX_FINDINGS)
    sync_file(wanted.exported)
    async with open_database(settings) as database:
        retention = await journal_retention(database.rows)
        days = _days(wanted.keep_days, retention.kept_days)
        subject = Subject(node, signer, wanted.others)
        notes = await _require_whole(database, subject, kept, check_keys, settings.program)
        before = retention.read_at - timedelta(days=days)
        order = Order(file, before, operator_name(), wanted.reason)
        with progress_bar("records deleted") as show:
            pruned = await Pruning(database, subject).prune(order, show)
            return replace(pruned, notes=tuple(notes))


def _days(wanted: int | None, journal: int | None) -> int:
    """Return how many days of records stay: never fewer than the journal keeps."""
    assert journal is not None  # a journal always has a retention
    if wanted is not None and wanted < journal:
        raise OperatorError(
            f"the journal keeps outcomes for {journal} days, and the audit must keep their records",
            f"Give --keep-days {journal} or more, or make the retention shorter: retention set.",
        )
    return journal if wanted is None else wanted


async def _require_whole(
    database: Pool, subject: Subject, kept: Kept | None, check_keys: KeyCheck, program: str
) -> list[str]:
    """Return what the chains of other nodes must show. Raise OperatorError for a finding."""
    with progress_bar("records verified") as show:
        found = await verify_chain(database, subject, kept, check_keys, show)
    if found.findings:
        raise OperatorError(
            f"the chain of {subject.node} has {found.findings_in_all} findings",
            f"Nothing was deleted. See the findings: {program} audit verify (and --other).",
        )
    return found.notes
