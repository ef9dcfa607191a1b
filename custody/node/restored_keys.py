"""The record of keys of a token that came from a backup of the HSM, as an operator adopted them.

Nothing reads the rows to accept a key: the configuration file names the check values
(custody/pkcs11/token_section.py). A writer of the database must not be able to pin a key.
"""

from collections.abc import Mapping

from custody.database.pool import Pool
from custody.node.audit import AuditChain, AuditRecord
from custody.node.audit_append import append, operator_record
from custody.node.handlers import RowChange
from custody.wire.signed_bytes import SigningKey

KIND = "AdoptRestoredKey"
"""The kind of the audit record."""

_ADOPT = """
    INSERT INTO restored_keys (check_value, is_extractable, operator, reason)
    SELECT check_value, :is_extractable, :operator, :reason
    FROM unnest(:check_values::bytea[]) AS adopted (check_value)
    ON CONFLICT (check_value) DO UPDATE SET is_extractable = excluded.is_extractable,
        operator = excluded.operator, reason = excluded.reason, adopted_at = now()
"""


async def adopt_restored(
    pool: Pool,
    node: str,
    signer: SigningKey,
    keys: Mapping[str, bytes],
    *,
    extractable: bool,
    operator: str,
    reason: str,
) -> None:
    """Record the keys, check values by name, in the database and in the node's audit chain.

    The caller has compared the check values. Raise OperatorError.
    """

    async def make(_: AuditChain) -> list[AuditRecord]:
        return [
            operator_record(
                KIND,
                check_value,
                {
                    "key": name,
                    "check_value": check_value.hex(),
                    "operator": operator,
                    "reason": reason,
                },
            )
            for name, check_value in keys.items()
        ]

    values = {
        "check_values": list(keys.values()),
        "is_extractable": extractable,
        "operator": operator,
        "reason": reason,
    }
    await append(pool, node, signer, make, [RowChange(_ADOPT, values)])
