"""Retirement of master keys that are lost for good, while other versions are intact."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from custody.database.connection import Row
from custody.database.pool import Pool
from custody.node.adoptions import adoptions
from custody.node.audit_records import MAX_RECORD, BadRecord, parse_record
from custody.node.audited_changes import AuditedChanges
from custody.node.connections import open_database
from custody.pkcs11.administration import administration
from custody.runtime.errors import OperatorError
from custody.runtime.operators import operator_name
from hsm_driver.settings import DriverSettings, hsm_settings
from hsm_driver.vault import known_master_keys

RETIRED = "RetireMasterKey"
"""The kind of the audit record."""

_UNDER = """
    SELECT master_key, count(*) AS number FROM wrapped_keys
    WHERE master_key = ANY(:names::varchar[]) GROUP BY master_key ORDER BY master_key
"""

_RETIRE = """
    DELETE FROM master_keys
    WHERE id = ANY(:names::varchar[]) AND (:lost::boolean OR NOT EXISTS (
        SELECT FROM wrapped_keys WHERE master_key = ANY(:names::varchar[])))
    RETURNING id
"""

_UNKNOWN = """
    SELECT DISTINCT master_key FROM wrapped_keys
    WHERE NOT EXISTS (SELECT FROM master_keys WHERE id = master_key)
"""

_RECORDS = """
    SELECT record FROM audit
    WHERE octet_length(record) <= :size AND position(:kind::bytea IN record) > 0
"""
"""``kind``: the bytes of the kind's name. Other records may contain them as well."""


@dataclass(frozen=True)
class Retired:
    """``unusable``: how many stored keys each retired master key wraps, by its name."""

    names: list[str]
    unusable: Mapping[str, int]


async def retire(
    settings: DriverSettings, names: Sequence[str], reason: str, *, lost: bool
) -> Retired:
    """Have the database expect these master keys no more. Raise OperatorError.

    ``lost``: also if they wrap stored keys, which nobody can use then. Their rows stay.
    """
    async with (
        open_database(settings) as database,
        administration(hsm_settings(settings, workers=1)) as token,
    ):
        known = await known_master_keys(database)
        present = [key.name for key in await token.master_keys()]
        _require_retirable(names, known, present)
        under = {
            row.master_key: row.number for row in await database.rows(_UNDER, {"names": names})
        }
        if under and not lost:
            raise _still_needed(under)
        retired = {name: known[name] for name in names}
        records = adoptions(RETIRED, retired, operator=operator_name(), reason=reason)
        values = {"names": list(names), "lost": lost}
        changes = AuditedChanges(database, settings.node.id)
        if not await changes.commit(_RETIRE, values, *records):
            raise _still_needed({", ".join(names): 1})  # a driver has made a key meanwhile
        return Retired(list(names), under)


async def retired_master_keys(database: Pool) -> list[str]:
    """Return the retired master keys that still wrap stored keys: no token has them.

    The audit chain of a driver must name each. A row whose master key is unknown for another
    reason is damaged, and a check must find it.
    """
    unknown = {row.master_key for row in await database.rows(_UNKNOWN)}
    if not unknown:
        return []
    values = {"size": MAX_RECORD, "kind": RETIRED.encode()}
    return sorted(unknown & {_retired_by(row) for row in await database.rows(_RECORDS, values)})


def _retired_by(row: Row) -> str | None:
    try:
        said = parse_record(row.record)
    except BadRecord:  # audit verify finds it
        return None
    return said.detail("key") if said.kind == RETIRED else None


def _require_retirable(
    names: Sequence[str], known: Mapping[str, bytes], present: Sequence[str]
) -> None:
    for name in names:
        if name not in known:
            raise OperatorError(
                f"the database knows no master key {name!r}", f"It knows {', '.join(known)}."
            )
        if name in present:
            raise OperatorError(
                f"the token has {name!r}, so it is not lost",
                "Nothing needs to be retired. A driver refuses a token that has a master key "
                "which its database does not know.",
            )
        label = name.rpartition("/")[0]
        left = [other for other in known if other.rpartition("/")[0] == label]
        if not any(other in present for other in left if other not in names):
            raise OperatorError(
                f"no other version of {name!r} is left on the token",
                "See docs/how-to/recover/master-key-lost.md: a new group with an empty database.",
            )


def _still_needed(under: Mapping[str, int]) -> OperatorError:
    said = ", ".join(f"{number} under {name}" for name, number in under.items())
    return OperatorError(
        f"stored keys need these master keys: {said}",
        "Restore them from the HSM's backup. If they are lost for good, so are these keys: "
        "hsm-driver keys list --master-key NAME. Then repeat the command with --lost.",
    )
