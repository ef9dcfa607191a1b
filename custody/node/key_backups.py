"""Backups of the keys that protect all other keys: master keys, and encryption keys of signers.

These keys are in no backup of a database. An operator backs them up apart, and confirms it. Until
then the node warns, and works.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from custody.database.causes import is_transient
from custody.database.pool import Pool
from custody.node.audited_changes import AuditedChanges, record_without_job
from custody.node.metrics import UNCONFIRMED_BACKUPS

KIND = "ConfirmKeyBackup"
"""The kind of the audit record."""
INTERVAL = 10.0
"""Seconds between two readings of the confirmations."""

_BACKUPS = "SELECT check_value, made_at, code_digest, confirmed_at FROM key_backups"

_CONFIRM = """
    INSERT INTO key_backups (check_value, confirmed_at, operator, place)
    SELECT check_value, now(), :operator, :place
    FROM unnest(:check_values::bytea[]) AS confirmed (check_value)
    ON CONFLICT (check_value) DO UPDATE SET confirmed_at = excluded.confirmed_at,
        operator = excluded.operator, place = excluded.place
    RETURNING check_value
"""


_MADE = """
    INSERT INTO key_backups (check_value, made_at, code_digest)
    SELECT check_value, :made_at, :code_digest
    FROM unnest(:check_values::bytea[]) AS made (check_value)
    ON CONFLICT (check_value) DO UPDATE SET made_at = excluded.made_at,
        code_digest = excluded.code_digest
"""


@dataclass(frozen=True)
class KeyBackupStatus:
    """The known facts about a key's backup. ``code_digest``: SHA-256 of the confirmation code."""

    made_at: datetime | None = None
    code_digest: bytes | None = None
    confirmed_at: datetime | None = None


@dataclass(frozen=True)
class Confirmation:
    """An operator's statement. ``place``: where the backup is, and how it was made.

    ``proof``: what showed that the backup contains the key; None if the operator only states it.
    """

    operator: str
    place: str
    proof: str | None = None


async def key_backups(pool: Pool) -> dict[bytes, KeyBackupStatus]:
    """Return the known backups by the check value of the key."""
    return {
        row.check_value: KeyBackupStatus(row.made_at, row.code_digest, row.confirmed_at)
        for row in await pool.rows(_BACKUPS)
    }


async def unconfirmed(pool: Pool, keys: Mapping[str, bytes]) -> dict[str, KeyBackupStatus]:
    """Return the keys without a confirmed backup. ``keys``: check values by name."""
    known = await key_backups(pool)
    found = {name: known.get(value, KeyBackupStatus()) for name, value in keys.items()}
    return {name: backup for name, backup in found.items() if backup.confirmed_at is None}


async def note_made(
    pool: Pool, check_values: Sequence[bytes], made_at: datetime, code_digest: bytes
) -> None:
    """Record that a backup of these keys was made. An earlier confirmation stays."""
    values = {"check_values": list(check_values), "made_at": made_at, "code_digest": code_digest}
    await pool.rows(_MADE, values)


async def confirm(changes: AuditedChanges, keys: Mapping[str, bytes], said: Confirmation) -> None:
    """Record the confirmation in the database and in the node's audit chain. Raise OperatorError.

    ``keys``: check values by name.
    """
    details = {"operator": said.operator, "place": said.place, "proof": said.proof}
    records = [
        record_without_job(KIND, {"key": name, "check_value": check_value.hex(), **details})
        for name, check_value in keys.items()
    ]
    values = {
        "check_values": list(keys.values()),
        "operator": said.operator,
        "place": said.place,
    }
    await changes.commit(_CONFIRM, values, *records)


class BackupWarnings:
    """The warnings of a running node, read from its database every few seconds."""

    def __init__(self, read: Callable[[], Awaitable[Sequence[str]]]) -> None:
        """``read`` returns one warning for each key without a confirmed backup."""
        self._read = read
        self._warnings: tuple[str, ...] = ()

    def warnings(self) -> tuple[str, ...]:
        """Return the warnings of the last reading."""
        return self._warnings

    async def refresh(self) -> None:
        """Read the warnings. An unavailable database leaves them unchanged."""
        try:
            self._warnings = tuple(await self._read())
        except Exception as error:
            if not is_transient(error):
                raise
        UNCONFIRMED_BACKUPS.set(len(self._warnings))

    async def refresh_repeatedly(self) -> None:
        """Read the warnings every few seconds, until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(INTERVAL)
