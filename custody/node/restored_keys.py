"""The record of keys of a token that came from a backup of the HSM, as an operator adopted them.

Nothing reads the rows to accept a key: the configuration file names the check values
(custody/pkcs11/token_section.py). A writer of the database must not be able to pin a key.
"""

from collections.abc import Mapping

from custody.node.adoptions import AdoptedRows, adoptions
from custody.node.audited_changes import AuditedChanges

KIND = "AdoptRestoredKey"
"""The kind of the audit record."""

_ADOPT = """
    INSERT INTO restored_keys (check_value, is_extractable, operator, reason)
    SELECT check_value, :is_extractable, :operator, :reason
    FROM unnest(:check_values::bytea[]) AS adopted (check_value)
    ON CONFLICT (check_value) DO UPDATE SET is_extractable = excluded.is_extractable,
        operator = excluded.operator, reason = excluded.reason, adopted_at = now()
    RETURNING check_value
"""


ADOPTED_ROWS = AdoptedRows(
    "restored key",
    KIND,
    "SELECT NULL AS name, encode(check_value, 'hex') AS value FROM restored_keys",
)


async def adopt_restored(
    changes: AuditedChanges,
    keys: Mapping[str, bytes],
    *,
    extractable: bool,
    operator: str,
    reason: str,
) -> None:
    """Record the keys, check values by name, in the database and in the node's audit chain.

    The caller has compared the check values. Raise OperatorError.
    """
    said = {"operator": operator, "reason": reason}
    records = adoptions(KIND, keys, **said)
    values = {
        "check_values": list(keys.values()),
        "is_extractable": extractable,
        **said,
    }
    await changes.commit(_ADOPT, values, *records)
