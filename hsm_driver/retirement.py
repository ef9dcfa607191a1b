"""Retirement of master keys that are lost for good, or that wrap no stored key any more."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from custody.database.connection import Connection
from custody.node.adoptions import adoptions
from custody.node.audit import AuditRecord
from custody.node.audited_changes import AuditedChanges
from custody.node.connections import open_database
from custody.pkcs11.administration import administration
from custody.pkcs11.restoring import short
from custody.runtime.errors import OperatorError
from custody.runtime.operators import operator_name
from hsm_driver.known_keys import known_keys
from hsm_driver.settings import DriverSettings, hsm_settings
from hsm_driver.vault import RETIRED, generate_above, known_master_keys

_UNDER = """
    SELECT master_key, count(*) AS number FROM wrapped_keys
    WHERE master_key = ANY(:names::varchar[]) GROUP BY master_key ORDER BY master_key
"""

_RETIRE = """
    UPDATE master_keys SET retired_at = now()
    WHERE id = ANY(:names::varchar[]) AND retired_at IS NULL AND (:lost::boolean OR NOT EXISTS (
        SELECT FROM wrapped_keys WHERE master_key = ANY(:names::varchar[])))
    RETURNING id
"""


_LOCK = """
    SELECT id, check_value FROM master_keys
    WHERE retired_at IS NULL AND id = ANY(:names::varchar[]) ORDER BY id FOR UPDATE
"""
"""A statement of its own: the next one then sees the keys of transactions that it waited for."""

_RETIRE_UNUSED = """
    UPDATE master_keys SET retired_at = now()
    WHERE id = ANY(:names::varchar[])
        AND NOT EXISTS (SELECT FROM wrapped_keys WHERE master_key = master_keys.id)
    RETURNING id, check_value
"""


@dataclass(frozen=True)
class Retired:
    """``unusable``: how many stored keys each retired master key wraps, by its name.

    ``generate``: the command that makes a master key with a number that no master key had.
    """

    names: list[str]
    unusable: Mapping[str, int]
    generate: str


async def retire(
    settings: DriverSettings, names: Sequence[str], reason: str, *, lost: bool
) -> Retired:
    """Have the database expect these master keys no more. Raise OperatorError.

    ``lost``: also if they wrap stored keys, which nobody can use then. All rows stay: no other
    master key may get the name of a retired one, and a key that is found is compared with its row.
    """
    async with (
        open_database(settings) as database,
        administration(hsm_settings(settings, workers=1), await known_keys(database)) as token,
    ):
        known = await known_master_keys(database)
        present = {key.name: key.check_value for key in await token.master_keys()}
        generate = await generate_above(database)
        _require_retirable(names, known, present, generate)
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
            # a driver has made a key, or another command has retired these master keys
            raise OperatorError(
                "the database changed meanwhile: nothing was retired",
                "Stop all drivers of the group, and run the command again.",
            )
        return Retired(list(names), under, generate)


async def retire_unused(
    changes: AuditedChanges, names: Collection[str], operator: str, reason: str
) -> list[str]:
    """Retire each of these master keys that wraps no stored key.

    The token may still have them, and drivers may run. Return the names of the retired ones. Raise
    OperatorError.
    """
    retired: list[str] = []

    async def work(connection: Connection) -> Sequence[AuditRecord]:
        locked = await connection.rows(_LOCK, {"names": list(names)})
        rows = await connection.rows(_RETIRE_UNUSED, {"names": [row.id for row in locked]})
        keys = {row.id: row.check_value for row in rows}
        retired[:] = sorted(keys)
        return adoptions(RETIRED, keys, operator=operator, reason=reason)

    await changes.change(work)
    return retired


def _require_retirable(
    names: Sequence[str],
    known: Mapping[str, bytes],
    present: Mapping[str, bytes | None],
    generate: str,
) -> None:
    for name in names:
        if name not in known:
            raise OperatorError(
                f"the database knows no master key {name!r}", f"It knows {', '.join(known)}."
            )
        if present.get(name, known[name]) != known[name]:
            raise OperatorError(
                f"the token has another key under the name {name!r}: its check value is "
                f"{short(present[name])}, not {short(known[name])}",
                "If you made it after the loss, delete it with the vendor's tool, and repeat this "
                f"command. Then: {generate}",
            )
        if name in present:
            raise OperatorError(
                f"the token has {name!r}, so it is not lost",
                "To retire an older version that the token has: hsm-driver master-key rewrap "
                "--retire. It retires only versions that wrap no key.",
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
