"""Adoption of master keys: new versions, and keys that came from the HSM's backup."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from custody.database.pool import Pool
from custody.node.audited_changes import AuditedChanges
from custody.node.connections import open_database
from custody.node.restored_keys import adopt_restored as record_restored
from custody.pkcs11.administration import Administration, administration
from custody.pkcs11.messages import Stranger
from custody.pkcs11.restoring import imported_keys, require_expected, require_strong, short
from custody.runtime.errors import OperatorError
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


@dataclass(frozen=True)
class Adopted:
    """The check values of adopted keys by name. ``weak``: why some are weaker."""

    keys: dict[str, bytes]
    weak: dict[str, str]


async def adopt_new(
    settings: DriverSettings,
    names: Collection[str],
    confirm: Callable[[Mapping[str, bytes], Mapping[str, str]], None],
    *,
    accept_weaker: bool,
) -> Adopted:
    """Record new master keys of the token by name, and retired ones that were found.

    ``confirm`` gets the check values and the weaknesses, and raises if the operator says no.
    Without ``names`` adopt nothing if the token has no new key. Raise OperatorError.
    """
    async with (
        open_database(settings) as database,
        open_hsm(
            settings, database, workers=1, accept_new=True, accept_weaker=accept_weaker
        ) as hsm,
    ):
        vault = Vault(database, hsm)
        new = await vault.new_master_keys()
        _require_new(names, new, {each.name: each for each in await hsm.strangers()})
        chosen = {name: new[name] for name in sorted(names)}
        weak = {name: why for name, why in (await hsm.weak()).items() if name in chosen}
        if chosen:
            await asyncio.to_thread(confirm, chosen, weak)
            changes = AuditedChanges(database, settings.node.id)
            await vault.adopt_master_keys(changes, operator_name(), chosen)
        return Adopted(chosen, weak)


def _require_new(
    names: Collection[str], new: Mapping[str, bytes], strangers: Mapping[str, Stranger]
) -> None:
    """Raise OperatorError unless the names are those of new keys, or there is nothing to name."""
    if not names and new:
        raise OperatorError(
            "the token has new master keys: "
            + ", ".join(f"{name} (check value {short(new[name])})" for name in sorted(new)),
            "Compare the check values with those that master-key generate printed, and name the "
            f"keys: hsm-driver master-key adopt {' '.join(sorted(new))}",
        )
    for name in names:
        if name in new:
            continue
        stranger = strangers.get(name)
        if stranger is None:
            why = "the database knows it, or the token does not have it"
        else:
            why = stranger.why
        hint = "See the keys with: hsm-driver master-key list."
        if stranger is not None and stranger.is_weaker:
            hint += (
                " If you made this key, repeat the command with --accept-weaker. It accepts "
                "whatever the key allows."
            )
        raise OperatorError(f"{name} is not adopted: {why}", hint)


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
