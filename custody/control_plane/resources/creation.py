"""New wallets, keys and signatures into the database, many requests in one round trip."""

from collections.abc import Sequence
from uuid import UUID

from custody.control_plane.columns import columns
from custody.control_plane.database import Database
from custody.control_plane.jobs.notifications import Notifications
from custody.control_plane.jobs.queue import NewJob, Queue
from custody.control_plane.resources.archivals import MARK_ARCHIVING
from custody.control_plane.resources.changes import require_no_other_change
from custody.control_plane.resources.external_ids import Settled, settle
from custody.control_plane.resources.imports import use_import
from custody.control_plane.resources.key_rows import KeyRow, NewKey, WalletRow
from custody.control_plane.resources.metadata import KEY_METADATA, WALLET_METADATA
from custody.database.connection import Connection
from custody.runtime.batching import Batcher
from custody.wire.jobs import JobKind

_LOCK_KEY = "SELECT FROM keys WHERE id = :key_id FOR NO KEY UPDATE"

_ADD_KEYS = """
    INSERT INTO keys (id, application_id, node_group, store, scheme, curve, network, created_at,
        signer_group, root_id, path, public_key, protection, chain_code, attestations, imported,
        copied_from, name)
    SELECT id, application_id, node_group, store, scheme, curve, network, created_at, signer_group,
        root_id, CAST(string_to_array(path, ' ') AS bigint[]), public_key, protection, chain_code,
        attestations, imported, copied_from, name
    FROM unnest(
        CAST(:id AS uuid[]), CAST(:application_id AS uuid[]), CAST(:node_group AS varchar[]),
        CAST(:store AS varchar[]), CAST(:scheme AS varchar[]), CAST(:curve AS varchar[]),
        CAST(:network AS varchar[]), CAST(:created_at AS timestamptz[]),
        CAST(:signer_group AS varchar[]), CAST(:root_id AS uuid[]), CAST(:path AS varchar[]),
        CAST(:public_key AS bytea[]), CAST(:protection AS varchar[]), CAST(:chain_code AS bytea[]),
        CAST(:attestations AS jsonb[]), CAST(:imported AS boolean[]),
        CAST(:copied_from AS uuid[]), CAST(:name AS varchar[])
    ) AS new(id, application_id, node_group, store, scheme, curve, network, created_at,
        signer_group, root_id, path, public_key, protection, chain_code, attestations, imported,
        copied_from, name)
    ON CONFLICT DO NOTHING
"""

_ADD_WALLETS = """
    INSERT INTO wallets (id, application_id, network, key_id, address, created_at, node_group,
        signer_group, store, name)
    SELECT * FROM unnest(
        CAST(:id AS uuid[]), CAST(:application_id AS uuid[]), CAST(:network AS varchar[]),
        CAST(:key_id AS uuid[]), CAST(:address AS varchar[]), CAST(:created_at AS timestamptz[]),
        CAST(:node_group AS varchar[]), CAST(:signer_group AS varchar[]), CAST(:store AS varchar[]),
        CAST(:name AS varchar[])
    )
    ON CONFLICT DO NOTHING
"""

_DROP_KEYS = "DELETE FROM keys WHERE id = ANY(CAST(:ids AS uuid[]))"


class Creation:
    """Adds requests. A batch is tried again when its connection was dead: ids make that safe."""

    def __init__(self, database: Database, queue: Queue, notifications: Notifications) -> None:
        self._database = database
        self._queue = queue
        self._notifications = notifications
        self._keys = Batcher(self._add_keys)
        self._signatures = Batcher(self._add_jobs)

    async def key(self, new: NewKey) -> Settled:
        """Add a key or a wallet. Raises ProblemError external_id_conflict."""
        return await self._keys.submit(new)

    async def imported_key(self, new: NewKey, import_id: UUID) -> Settled:
        """Add a key or a wallet that uses an import. Each import is used once.

        Raises ProblemError external_id_conflict, not_found or import_not_usable.
        """

        async def add(connection: Connection) -> Settled:
            [settled] = await self._add_keys_within(connection, [new])
            if isinstance(settled, Exception):
                raise settled
            if settled.is_new:
                await use_import(connection, import_id, new)
            return settled

        settled = await self._database.in_transaction(add)
        self._wake([new.job])
        return settled

    async def prepared_import(self, new: NewJob) -> Settled:
        """Add a request for import keys. Raises ProblemError external_id_conflict."""
        [settled] = await self._add_jobs([new])
        if isinstance(settled, Exception):
            raise settled
        return settled

    async def signature(self, new: NewJob) -> Settled:
        """Add a signature. Raises ProblemError external_id_conflict."""
        return await self._signatures.submit(new)

    async def change(self, new: NewJob) -> Settled:
        """Add a change of a key, once no other stands in its way.

        Raises ProblemError external_id_conflict or change_under_way.
        """

        async def add(connection: Connection) -> Settled:
            # one after the other for a key, so that none is overlooked
            await connection.rows(_LOCK_KEY, {"key_id": new.key_id})
            added = await self._queue.add_within(connection, [new])
            [settled] = await settle(connection.rows, [new], added)
            if isinstance(settled, Exception):
                raise settled
            if settled.is_new:
                await require_no_other_change(connection, new)
            if settled.is_new and new.kind == JobKind.ARCHIVE_KEY:
                await connection.rows(MARK_ARCHIVING, {"id": new.id, "key_id": new.key_id})
            return settled

        settled = await self._database.in_transaction(add)
        self._wake([new])
        return settled

    async def _add_jobs(self, new: list[NewJob]) -> list[Settled | Exception]:
        """Add requests that have no row but their job: one statement, which commits by itself."""
        added = await self._queue.add(_in_one_order(new))
        return await settle(self._database.rows, new, added)

    async def _add_keys(self, new: list[NewKey]) -> list[Settled | Exception]:
        settled = await self._database.in_transaction(
            lambda connection: self._add_keys_within(connection, new)
        )
        self._wake([one.job for one in new])
        return settled

    async def _add_keys_within(
        self, connection: Connection, new: list[NewKey]
    ) -> list[Settled | Exception]:
        jobs = [one.job for one in new]
        await connection.rows(_ADD_KEYS, columns(KeyRow, [one.key for one in new]))
        added = await self._queue.add_within(connection, _in_one_order(jobs))
        settled = await settle(connection.rows, jobs, added)
        await _keep_only_settled(connection, new, settled)
        return settled

    def _wake(self, new: Sequence[NewJob]) -> None:
        for group in {job.node_group for job in new}:
            self._notifications.wake_jobs(group)


def _in_one_order(new: Sequence[NewJob]) -> list[NewJob]:
    """Everybody inserts external ids in the same order, so that no two batches deadlock."""
    return sorted(new, key=lambda job: (job.application_id, job.endpoint, job.external_id or ""))


async def _keep_only_settled(
    connection: Connection, new: list[NewKey], settled: list[Settled | Exception]
) -> None:
    """Wallets for the keys that are new; no key for a request that another one stands for."""
    kept: list[NewKey] = []
    dropped: list[NewKey] = []
    for one, answer in zip(new, settled, strict=True):
        is_new = isinstance(answer, Settled) and answer.is_new
        (kept if is_new else dropped).append(one)
    if dropped:
        await connection.rows(_DROP_KEYS, {"ids": [one.key.id for one in dropped]})
    wallets = [one.wallet for one in kept if one.wallet is not None]
    if wallets:
        await connection.rows(_ADD_WALLETS, columns(WalletRow, wallets))
    await WALLET_METADATA.add_tags(
        connection, [(one.wallet, one.tags) for one in kept if one.wallet]
    )
    await KEY_METADATA.add_tags(connection, [(one.key, one.tags) for one in kept if not one.wallet])
