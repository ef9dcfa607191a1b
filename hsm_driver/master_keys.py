"""Adoption of master keys: new versions, and keys that came from the HSM's backup."""

from collections.abc import Sequence

from custody.database.pool import Pool
from custody.node.audited_changes import AuditedChanges
from custody.node.connections import open_database
from custody.node.restored_keys import adopt_restored as record_restored
from custody.pkcs11.administration import Administration, administration
from custody.pkcs11.restoring import imported_keys, require_expected, require_strong
from custody.runtime.operators import operator_name
from hsm_driver.driver import open_hsm
from hsm_driver.known_keys import known_keys
from hsm_driver.settings import DriverSettings, hsm_settings
from hsm_driver.vault import (
    Vault,
    compare_check_values,
    known_master_keys,
    record_proofs,
    retired_master_keys,
)


async def adopt_new(settings: DriverSettings) -> list[str]:
    """Record the token's new master keys, and retired ones that were found.

    Return their names. Raise OperatorError.
    """
    async with (
        open_database(settings) as database,
        open_hsm(settings, database, workers=1, accept_new=True) as hsm,
    ):
        changes = AuditedChanges(database, settings.node.id)
        return await Vault(database, hsm).adopt_master_keys(changes, operator_name())


async def adopt_restored(
    settings: DriverSettings,
    reason: str,
    noted: Sequence[bytes],
    *,
    rewrappable: bool,
    extractable: bool,
) -> dict[str, bytes]:
    """Record that the token's imported keys are this database's keys, restored from a backup.

    ``noted``: the keys' check values as the operator noted them, for a database that knows none.

    Return their check values by name; none if the token shows all keys as made inside it. The
    driver accepts the keys once the configuration names these check values. Raise OperatorError if
    a check value or an attribute differs.
    """
    async with open_database(settings) as database:
        keys = await known_keys(database)
        async with administration(hsm_settings(settings, workers=1), keys) as token:
            return await _adopt_restored(
                settings,
                database,
                token,
                reason,
                noted,
                rewrappable=rewrappable,
                extractable=extractable,
            )


async def _adopt_restored(
    settings: DriverSettings,
    database: Pool,
    token: Administration,
    reason: str,
    noted: Sequence[bytes],
    *,
    rewrappable: bool,
    extractable: bool,
) -> dict[str, bytes]:
    known = await known_master_keys(database)
    present = {key.name: key.check_value for key in await token.master_keys()}
    for name, check_value in known.items():
        compare_check_values(name, check_value, present.get(name))
    keys = await imported_keys(token, only_encrypting=False)
    # A retired key that is found: `adopt` without --restored then has the drivers use it again.
    retired = await retired_master_keys(database)
    require_expected(keys, [*known.values(), *retired.values()], noted)
    await require_strong(
        token, keys, stored_keys=True, rewrappable=rewrappable, extractable=extractable
    )
    adopted = {key.name: key.pins[0] for key in keys if key.pins}
    if adopted:
        changes = AuditedChanges(database, settings.node.id)
        await record_restored(
            changes, adopted, extractable=extractable, operator=operator_name(), reason=reason
        )
        # The configuration may name a new proof: the database then has to have it.
        proofs = {key.name: key.new_proof for key in keys if key.new_proof is not None}
        await record_proofs(changes, proofs, {**known, **retired}, operator_name())
    return adopted
