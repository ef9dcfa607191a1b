"""Adoption of keys that protect other keys: each row that names one has an audit record.

`audit verify` finds the rows without a record: somebody may have added them who writes to the
database.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from custody.node.audit import AuditRecord
from custody.node.audit_records import MAX_RECORD, BadRecord, Finding, Said, parse_record
from custody.node.audited_changes import record_without_job
from custody.node.outcome_check import Rows
from custody.wire.outcomes import OutcomeStatus


def adoptions(kind: str, keys: Mapping[str, bytes], **details: str | None) -> list[AuditRecord]:
    """Return one record for each adopted key. ``keys``: check values by name."""
    return [
        record_without_job(kind, {"key": name, "check_value": check_value.hex(), **details})
        for name, check_value in keys.items()
    ]


@dataclass(frozen=True)
class AdoptedRows:
    """A table whose rows have audit records of ``kind``. ``what`` names a row for people.

    ``query`` returns the rows' ``name``, which may be null, and ``check_value`` in hex.
    """

    what: str
    kind: str
    query: str


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
        self._kinds = {table.kind for table in tables}
        self._adopted: set[tuple[str, str | None, str | None]] = set()

    def note(self, said: Said) -> None:
        """Note a record of the node's chain."""
        if said.kind in self._kinds and said.status is OutcomeStatus.DONE:
            for name in (said.detail("key"), None):
                self._adopted.add((said.kind, name, said.detail("check_value")))

    async def compare(self, rows: Rows, node: str) -> tuple[list[Finding], list[str]]:
        """Return a finding for each row without a record.

        And a note for each row that another node of the database has adopted: `audit verify` of
        that node checks the record.
        """
        findings, notes = [], []
        for table in self._tables:
            unknown = [
                (table.kind, row.name, row.check_value)
                for row in await rows(table.query, {})
                if (table.kind, row.name, row.check_value) not in self._adopted
            ]
            others = await _adopted_by_others(rows, node, table.kind) if unknown else {}
            for adoption in unknown:
                _, name, check_value = adoption
                what = f"{table.what} {name or ''}".rstrip() + f" (check value {check_value[:16]}…)"
                if adoption in others:
                    notes.append(
                        f"{what} was adopted by {others[adoption]}: run audit verify there as well"
                    )
                else:
                    findings.append(
                        Finding(
                            None,
                            f"the database has the {what}, but no audit record says who adopted "
                            "it: somebody else may have added the row",
                        )
                    )
        return findings, notes


async def _adopted_by_others(
    rows: Rows, node: str, kind: str
) -> dict[tuple[str, str | None, str | None], str]:
    """Return the node of each adoption in the chains of other nodes."""
    adopted: dict[tuple[str, str | None, str | None], str] = {}
    for row in await rows(_OF_OTHERS, {"node": node, "size": MAX_RECORD, "kind": kind.encode()}):
        try:
            said = parse_record(row.record)
        except BadRecord:
            continue
        if (said.kind, said.status, said.node) == (kind, OutcomeStatus.DONE, row.node):
            for name in (said.detail("key"), None):
                adopted.setdefault((kind, name, said.detail("check_value")), said.node)
    return adopted
