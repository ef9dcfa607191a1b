"""Puts every wrapped key under the newest master key, while the drivers of the group work.

It may be killed at any moment, and continues where it stopped: each row names its master key, which
changes with the wrapped key in one statement. Nothing else remembers what is done.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any
from uuid import UUID

from custody.database.connection import Connection
from custody.database.pool import Pool
from custody.node.audit import AuditRecord
from custody.node.audited_changes import AuditedChanges, record_without_job
from custody.node.errors import Failed
from custody.pkcs11.errors import (
    HsmUnavailable,
    KeyNotWrappable,
    MasterKeyMissing,
    SchemeUnsupported,
)
from custody.pkcs11.hsm import Hsm
from custody.pkcs11.wrapped_key import WrappedKey
from custody.runtime.errors import OperatorError
from custody.runtime.progress import Show
from custody.wire.algorithms import Protection
from hsm_driver.key_copies import KeyCopies
from hsm_driver.key_verification import BadKey
from hsm_driver.possession import prove_possession
from hsm_driver.rewrap_kinds import Kind, older_kinds
from hsm_driver.vault import (
    KEYS_OF_KIND,
    Vault,
    network_of,
    wrapped_key,
)

REWRAPPED = "RewrapKeys"
"""The kind of the audit record of a batch."""
BATCH = 100
SAMPLES = 3
"""Keys of a kind that a survey tries, until one can be rewrapped: some may be damaged."""
PASSES = 3
"""How often the rows are read: a driver that was not restarted makes keys under the old one."""

_UPDATE = """
    UPDATE wrapped_keys
    SET wrapped = new.wrapped, master_key = :to, mechanism = new.mechanism
    FROM unnest(:key_ids::uuid[], :before::bytea[], :wrapped::bytea[], :mechanisms::varchar[])
        AS new (key_id, before, wrapped, mechanism)
    WHERE wrapped_keys.key_id = new.key_id AND wrapped_keys.wrapped = new.before
        AND wrapped_keys.master_key = :from
        AND EXISTS (SELECT FROM master_keys WHERE id = :to AND retired_at IS NULL)
    RETURNING wrapped_keys.key_id
"""
"""A row that has changed since it was read stays unchanged."""

OF_THE_KIND = (KeyNotWrappable, MasterKeyMissing, SchemeUnsupported)
"""Failures that every key of the same algorithm and master key has."""


class Stage(StrEnum):
    """The stages of a key and of a batch. The command names each completed one to ``on_stage``."""

    WRAPPED = "wrapped"
    PROVED = "proved"
    COPIED = "copied"
    COMMITTED = "committed"


@dataclass
class Rewrapped:
    """``keys``: how many were put under the newest master key. ``failed``: those that were not.

    ``left``: how many keys are under an older master key now, without those under retired ones.
    """

    keys: int = 0
    failed: list[BadKey] = field(default_factory=list)
    left: int = 0


@dataclass(frozen=True)
class _Moved:
    """A row as it was read, and its key under the newest master key."""

    row: Any
    key: WrappedKey


class Rewrapping:
    """Moves keys to the master keys ``newest``, by protection. All methods raise OperatorError.

    ``copies``: where the copy of a moved key must be before its row changes; None for nowhere.
    """

    def __init__(
        self,
        pool: Pool,
        hsm: Hsm,
        newest: dict[Protection, str],
        copies: KeyCopies | None = None,
        on_stage: Callable[[Stage], None] = lambda _: None,
    ) -> None:
        self._pool = pool
        self._hsm = hsm
        self._vault = Vault(pool, hsm)
        self._newest = newest
        self._copies = copies
        self._on_stage = on_stage

    async def survey(self) -> tuple[list[Kind], list[BadKey]]:
        """Return what is under older master keys, and keys of the trial that cannot be used.

        Really rewrap one key of each kind, and have it sign. Store nothing.
        """
        kinds, bad = [], list[BadKey]()
        for kind in await older_kinds(self._pool, self._newest):
            kinds.append(kind if kind.why_not else await self._tried(kind, bad))
        return kinds, bad

    async def rewrap(
        self,
        kinds: Sequence[Kind],
        changes: AuditedChanges,
        operator: str,
        rate: float | None,
        show: Show,
    ) -> Rewrapped:
        """Put every key of a survey under the newest master key, unless its kind cannot be.

        ``rate``: keys a second at most. ``show`` gets the number so far.
        """
        locked = {kind.facts for kind in kinds if kind.why_not}
        done = Rewrapped()
        for _ in range(PASSES):
            before, done.failed = done.keys, []
            for kind in await older_kinds(self._pool, self._newest):
                if not kind.why_not and kind.facts not in locked:
                    await self._rewrap_kind(kind, changes, operator, rate, done, show)
            if done.keys == before:
                break
        done.left = sum(
            kind.keys
            for kind in await older_kinds(self._pool, self._newest)
            if kind.why_not is None
        )
        return done

    async def _tried(self, kind: Kind, bad: list[BadKey]) -> Kind:
        """Return the kind, with the reason if its keys are locked in. Add damaged keys to ``bad``.

        A damaged key says nothing about the others, so another one is tried.
        """
        for row in await self._page(kind, UUID(int=0), SAMPLES):
            try:
                await self._under_newest(row, kind.to)
            except OF_THE_KIND as error:
                return replace(kind, why_not=error.reason)
            except Failed as error:
                raise_if_it_ends_all(error)
                bad.append(BadKey(str(row.key_id), error.reason))
            else:
                break
        return kind

    async def _rewrap_kind(
        self,
        kind: Kind,
        changes: AuditedChanges,
        operator: str,
        rate: float | None,
        done: Rewrapped,
        show: Show,
    ) -> None:
        last, limit = UUID(int=0), batch_size(rate)
        loop = asyncio.get_running_loop()
        began = loop.time()
        while page := await self._page(kind, last, limit):
            answers = await asyncio.gather(
                *(self._moved(row, kind.to) for row in page), return_exceptions=True
            )
            moved = [answer for answer in answers if isinstance(answer, _Moved)]
            if moved:
                done.keys += await self._commit(kind, moved, changes, operator)
            for row, answer in zip(page, answers, strict=True):
                if isinstance(answer, Failed):
                    raise_if_it_ends_all(answer)
                    done.failed.append(BadKey(str(row.key_id), answer.reason))
                elif isinstance(answer, BaseException):
                    raise answer
            show(done.keys)
            last = page[-1].key_id
            await asyncio.sleep(pause_seconds(len(page), rate, loop.time() - began))
            began = loop.time()

    async def _page(self, kind: Kind, last: UUID, limit: int) -> list[Any]:
        of_kind = ("master_key", "scheme", "curve", "protection")
        values = {name: getattr(kind, name) for name in of_kind}
        return await self._pool.rows(KEYS_OF_KIND, {**values, "last": last, "limit": limit})

    async def _moved(self, row: Any, to: str) -> _Moved:
        """Return the key under the newest master key, once its copy is in S3. Raise Failed."""
        key = await self._under_newest(row, to)
        if self._copies is not None:
            stored = await self._copies.put_rewrapped(row.key_id, network_of(row), key)
            self._on_stage(Stage.COPIED)
            if stored != key:  # an earlier command has put it, and was killed before its commit
                key = stored
                await prove_possession(self._vault, row.key_id, key)
        return _Moved(row, key)

    async def _under_newest(self, row: Any, to: str) -> WrappedKey:
        """Rewrap a key, unwrap it again and have it sign for its public key. Raise Failed."""
        key = await self._hsm.rewrap(wrapped_key(row), to)
        self._on_stage(Stage.WRAPPED)
        await prove_possession(self._vault, row.key_id, key)
        self._on_stage(Stage.PROVED)
        return key

    async def _commit(
        self, kind: Kind, moved: Sequence[_Moved], changes: AuditedChanges, operator: str
    ) -> int:
        """Change the rows, with one audit record. Return the number of changed rows."""
        values = {
            "from": kind.master_key,
            "to": kind.to,
            "key_ids": [each.row.key_id for each in moved],
            "before": [each.row.wrapped for each in moved],
            "wrapped": [each.key.wrapped for each in moved],
            "mechanisms": [each.key.mechanism for each in moved],
        }
        changed: list[UUID] = []

        async def work(connection: Connection) -> Sequence[AuditRecord]:
            changed[:] = sorted(row.key_id for row in await connection.rows(_UPDATE, values))
            if not changed:
                return []
            details = {
                "operator": operator,
                "from": kind.master_key,
                "to": kind.to,
                "keys": str(len(changed)),
                "first_key": str(changed[0]),
                "last_key": str(changed[-1]),
            }
            return [record_without_job(REWRAPPED, details)]

        await changes.change(work)
        self._on_stage(Stage.COMMITTED)
        return len(changed)


def batch_size(rate: float | None) -> int:
    """Return how many keys are rewrapped at once: at most those of one second."""
    return BATCH if rate is None else max(1, min(BATCH, int(rate)))


def pause_seconds(keys: int, rate: float | None, took: float) -> float:
    """Return how long to wait after a batch, so that there are at most ``rate`` keys a second.

    ``took``: the seconds of the batch itself. A slow batch is not made up for later.
    """
    return 0.0 if rate is None else max(0.0, keys / rate - took)


def raise_if_it_ends_all(error: Failed) -> None:
    """Raise OperatorError if no other key can be rewrapped now either."""
    if isinstance(error, HsmUnavailable) or error.code == "key_copy_missing":
        raise OperatorError(
            error.reason, "Correct that fault, and run the command again: it continues."
        ) from None
