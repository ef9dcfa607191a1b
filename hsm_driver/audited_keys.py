"""The keys that a driver's audit chain says were made, against the wrapped keys."""

from collections.abc import Sequence

from node.audit_records import Finding, Said
from node.outcome_check import Rows
from wire.jobs import JobKind
from wire.outcomes import OutcomeStatus

_FIND = """
    SELECT key_id, encode(public_key, 'hex') AS public_key FROM wrapped_keys
    WHERE key_id = ANY(%(key_ids)s::uuid[])
"""


async def check_keys(rows: Rows, page: Sequence[Said]) -> list[Finding]:
    """Each key that was made must be there, with the public key that was recorded."""
    made = [
        said
        for said in page
        if said.kind == JobKind.GENERATE_KEY and said.status is OutcomeStatus.DONE
    ]
    if not made:
        return []
    found = await rows(_FIND, {"key_ids": [said.key_id for said in made]})
    public_keys = {row.key_id: row.public_key for row in found}
    findings = []
    for said in made:
        if said.key_id not in public_keys:
            what = f"key {said.key_id} was made here, and its wrapped key is gone"
            findings.append(Finding(said.sequence, what))
        elif public_keys[said.key_id] != said.detail("public_key"):
            what = f"key {said.key_id} was made here with another public key than is stored"
            findings.append(Finding(said.sequence, what))
    return findings
