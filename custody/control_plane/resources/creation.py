"""New wallets, keys and signatures into the database, many requests in one round trip."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Executable, delete, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from custody.control_plane.database import AnyRow, Database, once_more_if_disconnected
from custody.control_plane.jobs.notifications import Notifications
from custody.control_plane.jobs.queue import NewJob, Queue
from custody.control_plane.resources.changes import require_no_other_change
from custody.control_plane.resources.external_ids import Settled, settle
from custody.control_plane.tables import keys, wallets
from custody.runtime.batching import Batcher

_LOCK_KEY = text("SELECT FROM keys WHERE id = :key_id FOR NO KEY UPDATE")


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key's row with its GenerateKey job and, where a wallet was asked for, the wallet's row."""

    job: NewJob
    key: dict[str, Any]
    wallet: dict[str, Any] | None


class Creation:
    """Adds requests. A batch is tried again when its connection was dead: ids make that safe."""

    def __init__(self, database: Database, queue: Queue, notifications: Notifications) -> None:
        self._database = database
        self._queue = queue
        self._notifications = notifications
        self._keys = Batcher(self._add_keys)
        self._signatures = Batcher(self._add_signatures)

    async def key(self, new: NewKey) -> Settled:
        """Add a key or a wallet. Raises ProblemError external_id_conflict."""
        return await self._keys.submit(new)

    async def signature(self, new: NewJob) -> Settled:
        """Add a signature. Raises ProblemError external_id_conflict."""
        return await self._signatures.submit(new)

    async def change(self, new: NewJob) -> Settled:
        """Add a refresh or a repair, once no other stands in its way.

        Raises ProblemError external_id_conflict or change_under_way.
        """

        async def add() -> Settled:
            async with self._database.transaction() as connection:
                # one after the other for a key, so that none is overlooked
                await connection.execute(_LOCK_KEY, {"key_id": new.key_id})
                added = await self._queue.add_within(connection, [new])

                async def read(statement: Executable, values: dict[str, Any]) -> Sequence[AnyRow]:
                    return (await connection.execute(statement, values)).all()

                [settled] = await settle(read, [new], added)
                if isinstance(settled, Exception):
                    raise settled
                if settled.is_new:
                    await require_no_other_change(connection, new)
            return settled

        settled = await once_more_if_disconnected(add)
        self._wake([new])
        return settled

    async def _add_signatures(self, new: list[NewJob]) -> list[Settled | Exception]:
        """Adding is one statement, which commits by itself."""
        added = await self._queue.add(_in_one_order(new))
        return await settle(self._database.rows, new, added)

    async def _add_keys(self, new: list[NewKey]) -> list[Settled | Exception]:
        async def add() -> list[Settled | Exception]:
            jobs = [one.job for one in new]
            async with self._database.transaction() as connection:
                await _insert(connection, keys, [one.key for one in new])
                added = await self._queue.add_within(connection, _in_one_order(jobs))

                async def read(statement: Executable, values: dict[str, Any]) -> Sequence[AnyRow]:
                    return (await connection.execute(statement, values)).all()

                settled = await settle(read, jobs, added)
                await _keep_only_settled(connection, new, settled)
            self._wake(jobs)
            return settled

        return await once_more_if_disconnected(add)

    def _wake(self, new: Sequence[NewJob]) -> None:
        for group in {job.node_group for job in new}:
            self._notifications.wake_jobs(group)


def _in_one_order(new: Sequence[NewJob]) -> list[NewJob]:
    """Everybody inserts external ids in the same order, so that no two batches deadlock."""
    return sorted(new, key=lambda job: (job.application_id, job.endpoint, job.external_id or ""))


async def _keep_only_settled(
    connection: AsyncConnection, new: list[NewKey], settled: list[Settled | Exception]
) -> None:
    """Wallets for the keys that are new; no key for a request that another one stands for."""
    kept: list[NewKey] = []
    dropped: list[NewKey] = []
    for one, answer in zip(new, settled, strict=True):
        is_new = isinstance(answer, Settled) and answer.is_new
        (kept if is_new else dropped).append(one)
    if dropped:
        await connection.execute(
            delete(keys).where(keys.c.id.in_([one.key["id"] for one in dropped]))
        )
    await _insert(connection, wallets, [one.wallet for one in kept if one.wallet is not None])


async def _insert(connection: AsyncConnection, table: Any, rows: list[dict[str, Any]]) -> None:
    if rows:
        await connection.execute(insert(table).on_conflict_do_nothing(), rows)
