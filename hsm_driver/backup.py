"""Backups of a driver: each wrapped key of a restored database must sign inside the HSM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from custody.backup.daemon import Advance, Daemon, DatabaseCheck, Newer
from custody.node.backup import check_of_keys, node_daemon
from hsm_driver.audited_keys import CHECK
from hsm_driver.driver import open_hsm
from hsm_driver.key_verification import stored_keys, verify_keys
from hsm_driver.vault import Vault

if TYPE_CHECKING:
    from custody.database.pool import Pool
    from custody.wire.node_api import ChangedKey
    from hsm_driver.settings import DriverSettings

KNOWN_KEYS = """
    SELECT id, check_value FROM master_keys
    WHERE to_jsonb(master_keys) ->> 'retired_at' IS NULL ORDER BY id
"""
"""Also for a backup of an older version, whose table has no ``retired_at``."""
_KNOWN = "SELECT key_id FROM wrapped_keys WHERE key_id = ANY(:key_ids::uuid[])"
_SAMPLE = """
    SELECT key_id FROM wrapped_keys WHERE master_key <> ALL(:retired::varchar[])
    ORDER BY random() LIMIT :sample
"""


def daemon_of(settings: DriverSettings, config: Path) -> Daemon:
    """Return what the backup commands need of a driver. Raise OperatorError."""
    copies, hsm = settings.key_copies, settings.hsm
    return node_daemon(
        settings,
        config,
        files=() if copies is None else (copies.ca, copies.crl, copies.credentials_file),
        secrets=(hsm.pin_file, *(token.pin_file for token in hsm.other_tokens)),
        known_keys=KNOWN_KEYS,
        check_keys=CHECK,
        verify_keys=partial(_verify_keys, settings),
        lacking=_lacking,
        group="keys",
        removable=("apps",),
    )


async def _lacking(database: Pool, changed: Sequence[ChangedKey]) -> list[Newer]:
    rows = await database.rows(_KNOWN, {"key_ids": [key.key_id for key in changed]})
    known = {row.key_id for row in rows}
    return [
        Newer(
            f"key {key.key_id}, made or changed at "
            f"{key.changed_at.isoformat(timespec='seconds')}: its wrapped key is not in this "
            "database",
            "hsm-driver backup rebuild-from-s3, if [key_copies] has a copy; else look for a newer "
            "backup of any driver of the group. If there is none, nobody can sign with this key: "
            "tell its application not to use its address.",
        )
        for key in changed
        if key.key_id not in known
    ]


async def _verify_keys(
    settings: DriverSettings, database: Pool, sample: int | None, advance: Advance
) -> DatabaseCheck:
    """Unwrap keys and sign with each in the HSM. Raise OperatorError if the HSM cannot be used.

    Keys under retired master keys are counted, and not tried.
    """
    stored = await stored_keys(database)
    wanted = min(stored.usable, sample or stored.usable)
    key_ids = []
    if wanted < stored.usable:
        values = {"sample": wanted, "retired": stored.retired}
        key_ids = [row.key_id for row in await database.rows(_SAMPLE, values)]
    async with open_hsm(settings, database) as hsm:
        vault = Vault(database, hsm)
        await vault.compare_master_keys()
        count, bad = await verify_keys(
            vault, database, key_ids, stored.retired, lambda done: advance("keys", done, wanted)
        )
    findings = [f"key {each.key_id}: {each.what}" for each in bad]
    checked = check_of_keys("keys", count, stored.usable, findings)
    return replace(checked, said=[*checked.said, *stored.said()])
