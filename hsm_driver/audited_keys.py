"""Comparison of the keys that a driver's audit chain records with the stored wrapped keys."""

from collections.abc import Sequence

from custody.node import restored_keys
from custody.node.adoptions import AdoptedRows
from custody.node.audit_records import Finding, Said
from custody.node.audited_archivals import ARCHIVAL_ROWS, missing_archivals
from custody.node.chain_verification import KeyCheck
from custody.node.key_proofs import PROOF_ROWS
from custody.node.outcome_check import Rows
from custody.wire.jobs import JobKind
from custody.wire.outcomes import OutcomeStatus
from hsm_driver.vault import ADOPTED, RETIRED

REBUILT = "RebuildKey"
"""The kind of the record of a key whose row came from its copy."""

_MADE = {
    JobKind.GENERATE_KEY: "was made here",
    JobKind.IMPORT_KEY: "was imported here",
    REBUILT: "was rebuilt here from its copy",
}

FACTS = {
    "public_key": "public key",
    "scheme": "signature scheme",
    "curve": "curve",
    "network": "network",
}
"""A key's constant facts, which its audit record and its row both contain: column and name."""

_FIND = """
    SELECT key_id, encode(public_key, 'hex') AS public_key, scheme, curve, network, imported
    FROM wrapped_keys
    WHERE key_id = ANY(:key_ids::uuid[])
"""


async def _recorded(rows: Rows, page: Sequence[Said]) -> list[Finding]:
    """Return a fault for each recorded key that is missing or differs, or lost its archival."""
    gone = await missing_archivals(rows, page)
    made = [said for said in page if said.kind in _MADE and said.status is OutcomeStatus.DONE]
    if not made:
        return gone
    found = await rows(_FIND, {"key_ids": [said.key_id for said in made]})
    stored = {row.key_id: row for row in found}
    findings = gone
    for said in made:
        row, made_here = stored.get(said.key_id), f"key {said.key_id} {_MADE[said.kind]}"
        if row is None:
            what = f"{made_here}, and its wrapped key is missing"
            findings.append(Finding(said.sequence, what))
            continue
        for column, name in FACTS.items():
            if getattr(row, column) != said.detail(column):
                what = f"{made_here} with another {name} than is stored"
                findings.append(Finding(said.sequence, what))
        if _was_imported(said) not in (None, row.imported):
            what = f"{made_here}, and is stored as {_ORIGIN[row.imported]}"
            findings.append(Finding(said.sequence, what))
    return findings


_ORIGIN = {True: "an imported key", False: "a generated key"}


def _was_imported(said: Said) -> bool | None:
    """Return whether the key was imported; None if a record of an earlier version does not say."""
    if said.kind != REBUILT:
        return said.kind == JobKind.IMPORT_KEY
    imported = said.detail("imported")
    return None if imported is None else imported == "true"


CHECK = KeyCheck(
    _recorded,
    [
        AdoptedRows(
            "master key",
            ADOPTED,
            "SELECT id AS name, encode(check_value, 'hex') AS value FROM master_keys",
        ),
        AdoptedRows(
            "retired master key",
            RETIRED,
            "SELECT id AS name, encode(check_value, 'hex') AS value FROM master_keys "
            "WHERE retired_at IS NOT NULL",
        ),
        restored_keys.ADOPTED_ROWS,
        PROOF_ROWS,
        *ARCHIVAL_ROWS,
    ],
)
