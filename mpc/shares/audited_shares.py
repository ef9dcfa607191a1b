"""The check of a signer's shares against its audit chain."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from custody.node import restored_keys
from custody.node.adoptions import AdoptedRows
from custody.node.audit_records import Finding, Said
from custody.node.audited_archivals import ARCHIVAL_ROWS, missing_archivals
from custody.node.chain_verification import KeyCheck
from custody.node.outcome_check import Rows
from custody.wire.jobs import JobKind
from custody.wire.outcomes import OutcomeStatus
from mpc.shares.stored_share import ShareState

DISCARD_SHARE = "DiscardShare"
"""The kind of the record of `shares discard`."""
ERASE_SHARE = "EraseShare"
"""The kind of the record of `shares erase`."""
RESTORE_SHARE = "RestoreShare"
"""The kind of the record of `mpc-recover restore-signer`."""

_ERASED_ROWS = AdoptedRows(
    "erased share",
    ERASE_SHARE,
    """
    SELECT ceremony::text AS name, encode(public_key, 'hex') AS value FROM shares
    WHERE state = 'erased'
    """,
    details=("ceremony", "public_key"),
    said="public key",
)

_FIND = """
    SELECT key_id, ceremony, state, encode(public_key, 'hex') AS public_key
    FROM shares JOIN unnest(:key_ids::uuid[], :ceremonies::uuid[])
        AS wanted (key_id, ceremony) USING (key_id, ceremony)
"""

_USED = {ShareState.ACTIVE, ShareState.REPAIRED, ShareState.RETIRED, ShareState.ERASED}
_ABANDONED = {ShareState.ABANDONED, *_USED}  # Repair may give back what was abandoned
_DISCARDED = {ShareState.DISCARDED, *_USED}
_PROMISED = {ShareState.PROMISED, *_DISCARDED}


def possible_states(said: Said) -> set[ShareState] | None:
    """Return the possible states of a share after a record; None: the record changes no share."""
    if said.status is not OutcomeStatus.DONE:
        return None
    match said.kind:
        case JobKind.GENERATE_KEY | JobKind.IMPORT_KEY | JobKind.COPY_KEY | JobKind.REFRESH_KEY:
            return set(ShareState)
        case JobKind.PROMISE:
            return _PROMISED
        case JobKind.ACTIVATE_KEY:
            return _USED
        case JobKind.DISCARD if said.detail("abandoned_by") is not None:
            return _DISCARDED
        case JobKind.ABANDON if said.detail("public_key") is None:
            return _ABANDONED
        case kind if kind == RESTORE_SHARE:
            return _USED
        case kind if kind == DISCARD_SHARE:
            return _ABANDONED | _DISCARDED
        case kind if kind == ERASE_SHARE:
            return {ShareState.ERASED, ShareState.ABANDONED}
    return None


async def _recorded(rows: Rows, page: Sequence[Said]) -> list[Finding]:
    """Check that each set exists, in a state that its records lead to, and each archival."""
    gone = await missing_archivals(rows, page)
    told = [
        (said, ceremony, states)
        for said in page
        if (states := possible_states(said)) and (ceremony := _ceremony(said)) is not None
    ]
    if not told:
        return gone
    found = await rows(
        _FIND,
        {
            "key_ids": [said.key_id for said, _, _ in told],
            "ceremonies": [ceremony for _, ceremony, _ in told],
        },
    )
    stored = {(row.key_id, row.ceremony): row for row in found}
    findings = gone
    for said, ceremony, states in told:
        what = _fault(said, stored.get((said.key_id, ceremony)), states)
        if what is not None:
            whose = f"this signer's share of key {said.key_id} from ceremony {ceremony}"
            findings.append(Finding(said.sequence, f"{whose} {what}"))
    return findings


def _fault(said: Said, row: Any, states: set[ShareState]) -> str | None:
    if row is None:
        return "is gone"
    if row.state not in states:
        return f"is {row.state}, which does not follow from this record ({said.kind})"
    recorded = said.detail("public_key")
    if None not in (recorded, row.public_key) and recorded != row.public_key:
        return "has another public key than was recorded"
    return None


def _ceremony(said: Said) -> UUID | None:
    try:
        return UUID(said.detail("ceremony") or "")
    except ValueError:
        return None


CHECK = KeyCheck(_recorded, [restored_keys.ADOPTED_ROWS, _ERASED_ROWS, *ARCHIVAL_ROWS])
