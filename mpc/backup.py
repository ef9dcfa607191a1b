"""Backups of a signer: each share of a restored database must open under the encryption key."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from custody.backup.daemon import Advance, Daemon, DatabaseCheck, Newer
from custody.node.backup import check_of_keys, node_daemon
from mpc.shares import share_queries
from mpc.shares.audited_shares import CHECK
from mpc.shares.encryption_keys import open_encryption_keys
from mpc.shares.shares import Shares
from mpc.shares.verification import verify_shares

if TYPE_CHECKING:
    from custody.database.pool import Pool
    from custody.wire.node_api import ChangedKey
    from mpc.settings import SignerSettings

_KNOWN_KEYS = "SELECT id, check_value FROM encryption_keys ORDER BY id"
_GENERATIONS = """
    SELECT key_id, max(generation) AS generation FROM shares
    WHERE key_id = ANY(:key_ids::uuid[]) AND ciphertext IS NOT NULL
    GROUP BY key_id
"""
_SAMPLE = """
    SELECT key_id FROM shares WHERE ciphertext IS NOT NULL
    GROUP BY key_id ORDER BY random() LIMIT :sample
"""


def daemon_of(settings: SignerSettings, config: Path) -> Daemon:
    """Return what the backup commands need of a signer. Raise OperatorError.

    The encryption key is never in the backup: a person who opens the backup must not get shares.
    """
    encryption = settings.encryption
    pin_file = None if encryption.hsm is None else encryption.hsm.pin_file
    return node_daemon(
        settings,
        config,
        files=(
            *(path for server in settings.delivery for path in (server.ca, server.crl)),
            *_layer4_files(settings),
        ),
        secrets=(encryption.key_file, *encryption.other_key_files, pin_file),
        known_keys=_KNOWN_KEYS,
        check_keys=CHECK,
        verify_keys=partial(_verify_shares, settings),
        lacking=_lacking,
        group="shares",
        removable=("peers", "apps", "repair", "shares"),
    )


def _layer4_files(settings: SignerSettings) -> tuple[Path, ...]:
    """Return the files that [layer4] names: without the customer key it is not valid.

    The credentials can only put objects.
    """
    section = settings.layer4
    if section is None:
        return ()
    files = (section.customer_key_file, section.ca, section.crl, section.credentials_file)
    return tuple(path for path in files if path is not None)


async def _lacking(database: Pool, changed: Sequence[ChangedKey]) -> list[Newer]:
    rows = await database.rows(_GENERATIONS, {"key_ids": [key.key_id for key in changed]})
    held = {row.key_id: row.generation for row in rows}
    found = []
    for key in changed:
        what = _fault(key.generation, held.get(key.key_id))
        if what is not None:
            at = key.changed_at.isoformat(timespec="seconds")
            todo = "Repair it with t other signers: docs/how-to/replace-a-signer.md."
            found.append(Newer(f"key {key.key_id}, changed at {at}: {what}", todo))
    return found


def _fault(generation: int | None, held: int | None) -> str | None:
    if held is None:
        return "this signer has no share of it in use"
    if generation is not None and held < generation:
        return f"this signer has a share of generation {held}, the others of {generation}"
    return None


async def _verify_shares(
    settings: SignerSettings, database: Pool, sample: int | None, advance: Advance
) -> DatabaseCheck:
    """Open shares, and compare each with its public verifying share.

    Raise OperatorError if the encryption key is not available.
    """
    in_all = await _kept(database, [])
    key_ids = []
    if sample is not None and sample < in_all:
        key_ids = [row.key_id for row in await database.rows(_SAMPLE, {"sample": sample})]
    wanted = await _kept(database, key_ids) if key_ids else in_all
    async with open_encryption_keys(settings, database) as keys:
        await keys.compare(database)
        count, _, bad = await verify_shares(
            Shares(database, keys), database, key_ids, lambda done: advance("shares", done, wanted)
        )
    findings = [f"share of key {each.key_id} from {each.ceremony}: {each.what}" for each in bad]
    return check_of_keys("shares", count, in_all, findings)


async def _kept(database: Pool, key_ids: Sequence[UUID]) -> int:
    """Return how many shares of these keys have a ciphertext. ``key_ids``: empty for all keys."""
    [row] = await database.rows(share_queries.COUNT_KEPT, {"key_ids": list(key_ids)})
    return int(row.number)
