"""The audit records of `reconcile --apply`: what a run is about to repair."""

from collections import Counter
from collections.abc import Sequence

from custody.control_plane.audit.own_chain import Auditor
from custody.control_plane.database import Database
from custody.control_plane.reconcile.holdings import SignerGroup
from custody.control_plane.reconcile.plan import Difference

KIND = "Reconcile"
PAGE = 500
"""Ids in one record. A run with more repairs has several records."""


async def record_repairs(
    database: Database,
    auditor: Auditor,
    application: str | None,
    groups: Sequence[SignerGroup],
    repairs: Sequence[Difference],
) -> None:
    """Record the repairs before the first of them: a run that is stopped has its record as well.

    ``groups``: those that the operator named. Each id is of a key or request, after its kind.
    """
    counts = Counter(each.kind.value for each in repairs)
    said = {
        "application": application,
        "signer_groups": "; ".join(str(group) for group in groups) or None,
        "repairs": ", ".join(f"{count} {kind}" for kind, count in counts.items()),
    }
    async with database.transaction() as connection:
        for start in range(0, len(repairs), PAGE):
            page = repairs[start : start + PAGE]
            ids = " ".join(f"{each.kind.value}:{each.id}" for each in page)
            await auditor.record(connection, KIND, {**said, "ids": ids})
