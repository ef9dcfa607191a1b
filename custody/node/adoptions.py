"""Adoption of keys that protect other keys: each row that names one has an audit record.

`audit verify` finds the rows without a record. A person who writes to the database may have added
such a row.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from custody.node.audit import AuditRecord
from custody.node.audit_records import MAX_RECORD, BadRecord, Finding, Said, parse_record
from custody.node.audited_changes import record_without_job
from custody.node.outcome_check import Rows
from custody.wire.outcomes import OutcomeStatus

SHOWN = 16
"""Characters of a value that a finding shows."""


def adoptions(kind: str, keys: Mapping[str, bytes], **details: str | None) -> list[AuditRecord]:
    """Return one record for each adopted key. ``keys``: check values by name."""
    return [
        record_without_job(kind, {"key": name, "check_value": check_value.hex(), **details})
        for name, check_value in keys.items()
    ]


@dataclass(frozen=True)
class AdoptedRows:
    """A table whose rows have audit records of ``kind``. ``what`` names a row for people.

    ``query`` returns the rows' ``name``, which may be null, and their ``value``: a check value in
    hex. ``details``: the fields of the record with these two. ``said``: the value's name for
    people.
    """

    what: str
    kind: str
    query: str
    details: tuple[str, str] = ("key", "check_value")
    said: str = "check value"

    def adoptions(self, said: Said) -> list[tuple[str, str | None, str | None]]:
        """Return what a record of this kind states, with and without the name."""
        name, value = self.details
        return [(self.kind, each, said.detail(value)) for each in (said.detail(name), None)]

    def describe(self, name: str | None, value: str) -> str:
        """Return a row for people."""
        short = value if len(value) <= SHOWN else f"{value[:SHOWN]}…"
        return f"{self.what} {name or ''}".rstrip() + f" ({self.said} {short})"


_OF_OTHERS = """
    SELECT node, record FROM audit
    WHERE node <> :node AND octet_length(record) <= :size AND position(:kind::bytea IN record) > 0
    ORDER BY node, sequence
"""
"""``kind``: the bytes of the kind's name. Other records may contain them as well."""


class AdoptionCheck:
    """Remembers the adoptions of a chain, and compares them with the rows."""

    def __init__(self, tables: Sequence[AdoptedRows]) -> None:
        self._tables = tables
        self._by_kind = {table.kind: table for table in tables}
        self._adopted: set[tuple[str, str | None, str | None]] = set()

    def note(self, said: Said) -> None:
        """Note a record of the node's chain."""
        table = self._by_kind.get(said.kind)
        if table is not None and said.status is OutcomeStatus.DONE:
            self._adopted.update(table.adoptions(said))

    async def compare(
        self, rows: Rows, node: str, others: Collection[str] | None = ()
    ) -> tuple[list[Finding], list[str]]:
        """Return a finding for each row without a record in the chain of ``node``, and notes.

        A note names a row that one of ``others`` has adopted. `audit verify` of that node checks
        the record. A node that ``others`` does not name may not exist. None: every node counts.
        """
        findings, notes = [], []
        for table in self._tables:
            unknown = [
                (table.kind, row.name, row.value)
                for row in await rows(table.query, {})
                if (table.kind, row.name, row.value) not in self._adopted
            ]
            elsewhere = await _adopted_by_others(rows, node, table) if unknown else {}
            for adoption in unknown:
                what = table.describe(adoption[1], adoption[2])
                adopters = elsewhere.get(adoption, [])
                named = next((each for each in adopters if others is None or each in others), None)
                if named is not None:
                    notes.append(f"{what} was adopted by {named}: run audit verify there as well")
                    continue
                why = (
                    f"only a record under the name {adopters[0]} says who adopted it: if this is "
                    f"a node of this database, give --other {adopters[0]}, and run audit verify "
                    "there as well"
                    if adopters
                    else "no audit record says who adopted it: somebody else may have added the row"
                )
                findings.append(Finding(None, f"the database has the {what}, but {why}"))
        return findings, notes


async def _adopted_by_others(
    rows: Rows, node: str, table: AdoptedRows
) -> dict[tuple[str, str | None, str | None], list[str]]:
    """Return the nodes of each adoption in the chains of other nodes. Nobody has checked these."""
    adopted: dict[tuple[str, str | None, str | None], list[str]] = {}
    values = {"node": node, "size": MAX_RECORD, "kind": table.kind.encode()}
    for row in await rows(_OF_OTHERS, values):
        try:
            said = parse_record(row.record)
        except BadRecord:
            continue
        if (said.kind, said.status, said.node) == (table.kind, OutcomeStatus.DONE, row.node):
            for adoption in table.adoptions(said):
                adopted.setdefault(adoption, []).append(said.node)
    return adopted
