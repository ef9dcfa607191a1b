"""The rows of import keys: the token of each, who asked for it, and the key that uses it.

A row is committed before the key is made, and outlives the key: a key on a token without such a row
is left over, and is destroyed (hsm_driver/import_sweep.py).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from custody.database.pool import Pool
from custody.node.database_away import database_needed
from custody.node.errors import Denied, Failed
from custody.node.handlers import RowChange
from custody.runtime.errors import OperatorError
from custody.wire.algorithms import Algorithm, Curve, Protection, Scheme
from custody.wire.imports import IMPORT_KEY_LIFETIME, Wrapping

MAX_LIVE = 64
"""Import keys of a group at a time: each takes up space on a token until it ends."""
MAX_OF_APPLICATION = 16
"""Import keys of an application that signs its requests, so that others can import too."""
MAX_UNSIGNED = MAX_LIVE - MAX_OF_APPLICATION
"""Import keys of all applications that sign nothing: the driver cannot tell them apart. An
application that leaves its signature out takes nothing from those that sign."""
OWNER_DIGITS = 16
KEPT_HOURS = 24
"""Hours that a row outlives its import key, to say why the import cannot be used."""

_RESERVE = """
    WITH live AS (
        SELECT count(*) FILTER (WHERE finished_at IS NULL) AS number,
            count(*) FILTER (WHERE application IS NOT DISTINCT FROM :application
                AND (finished_at IS NULL
                    OR NOT EXISTS (SELECT FROM wrapped_keys WHERE key_id = used_by))) AS own
        FROM import_keys WHERE expires_at > now() AND import_id <> :import_id)
    INSERT INTO import_keys AS known (import_id, application, scheme, curve, expires_at)
    SELECT :import_id, :application, :scheme, :curve, :expires_at FROM live
    WHERE number < :max_live AND own < :max_own
    ON CONFLICT (import_id) DO UPDATE SET import_id = known.import_id
    RETURNING application, scheme, curve, expires_at
"""
"""An import without a key counts for its application until it expires: each costs an RSA key."""

_RENEW = """
    UPDATE import_keys SET expires_at = :expires_at
    WHERE import_id = :import_id AND import_key IS NULL AND finished_at IS NULL
        AND expires_at > now()
    RETURNING expires_at
"""
"""A key that an earlier attempt may have left on the token gets the time of this attempt, too."""

_MADE = """
    UPDATE import_keys SET token = made.token, import_key = made.import_key,
        wrapping = made.wrapping, protection = made.protection, expires_at = made.expires_at
    FROM unnest(:import_id::uuid[], :token::varchar[], :import_key::bytea[], :wrapping::varchar[],
        :protection::varchar[], :expires_at::timestamptz[])
        AS made (import_id, token, import_key, wrapping, protection, expires_at)
    WHERE import_keys.import_id = made.import_id
"""
"""With the time that this attempt has stated: another one may have renewed it meanwhile."""

_FIND = """
    SELECT import_id, application, scheme, curve, protection, wrapping, token, import_key,
        expires_at, used_by, finished_at, outcome
    FROM import_keys LEFT JOIN journal ON job_id = import_id AND status = 'DONE'
    WHERE import_id = :import_id
"""

_USE = """
    UPDATE import_keys SET used_by = :key_id, request = :request
    WHERE import_id = :import_id AND finished_at IS NULL
        AND (used_by IS NULL OR (used_by = :key_id AND request = :request))
    RETURNING import_id
"""
"""Before the first try to open anything: an import key is tried on one request only."""

_FINISH = """
    UPDATE import_keys SET finished_at = now()
    FROM unnest(:import_id::uuid[]) AS done (import_id)
    WHERE import_keys.import_id = done.import_id
"""

_ALIVE = """
    SELECT import_id FROM import_keys WHERE finished_at IS NULL AND expires_at > now()
        AND import_id = ANY(:import_ids::uuid[])
"""

_DEAD = """
    SELECT import_id FROM import_keys WHERE finished_at IS NOT NULL OR expires_at <= now()
"""

_OWNER = "SELECT id FROM database_id"

_PURGE = """
    DELETE FROM import_keys WHERE expires_at < now() - make_interval(hours => :hours)
"""


@dataclass(frozen=True)
class StoredImportKey:
    """An import key that was made. ``application``: who asked; None if nobody has signed.

    ``outcome``: of the job that made it, from the journal. Only its statement is signed.
    """

    import_id: UUID
    application: bytes | None
    algorithm: Algorithm
    protection: Protection
    wrapping: Wrapping
    token: str
    import_key: bytes
    expires_at: datetime
    is_finished: bool
    outcome: bytes | None


class ImportRows:
    """Reads and changes the rows. Raises Failed while the database is away."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def reserve(
        self, import_id: UUID, application: bytes | None, algorithm: Algorithm
    ) -> datetime:
        """Commit the row of an import key that is about to be made. Return when the key ends.

        Raise Denied for another import of this id, and for one that has its key or is over: the
        sweep has passed it, and would not destroy a further key. Raise Failed while there are too
        many.
        """
        values = {
            "import_id": import_id,
            "application": application,
            "scheme": algorithm.scheme.value,
            "curve": algorithm.curve.value,
            "expires_at": datetime.now(UTC).replace(microsecond=0) + IMPORT_KEY_LIFETIME,
            "max_live": MAX_LIVE,
            "max_own": MAX_UNSIGNED if application is None else MAX_OF_APPLICATION,
        }
        with database_needed():
            row = await self._pool.row(_RESERVE, values)
        if row is None:
            raise Failed(
                "too_many_imports",
                f"{MAX_LIVE} import keys of this group wait for their keys, or "
                f"{MAX_OF_APPLICATION} imports of this application have no key ({MAX_UNSIGNED} "
                "without signatures). Use them, or wait until they expire",
                transient=True,
            )
        if (row.application, row.scheme, row.curve) != (application, *algorithm):
            raise Denied("import_exists", "this node has an import key of another such import")
        return await self._renewed(import_id)

    async def _renewed(self, import_id: UUID) -> datetime:
        """Return when the import key ends that is about to be made. Raise Denied."""
        expires_at = datetime.now(UTC).replace(microsecond=0) + IMPORT_KEY_LIFETIME
        with database_needed():
            row = await self._pool.row(_RENEW, {"import_id": import_id, "expires_at": expires_at})
        if row is None:
            raise Denied(
                "import_over",
                f"import {import_id} has had its import key, or is over: ask for another import",
            )
        return expires_at

    def made(
        self,
        import_id: UUID,
        token: str,
        import_key: bytes,
        wrapping: Wrapping,
        place: Protection,
        expires_at: datetime,
    ) -> RowChange:
        """Return the change for an import key that was made; its place is a protection."""
        values = {
            "import_id": import_id,
            "token": token,
            "import_key": import_key,
            "wrapping": wrapping.value,
            "protection": place.value,
            "expires_at": expires_at,
        }
        return RowChange(_MADE, values)

    async def find(self, import_id: UUID) -> StoredImportKey | None:
        """Return an import key; None if it was never made, or its row is deleted."""
        with database_needed():
            row = await self._pool.row(_FIND, {"import_id": import_id})
        if row is None or row.import_key is None:
            return None
        return StoredImportKey(
            import_id=row.import_id,
            application=row.application,
            algorithm=Algorithm(Scheme(row.scheme), Curve(row.curve)),
            protection=Protection(row.protection),
            wrapping=Wrapping(row.wrapping),
            token=row.token,
            import_key=row.import_key,
            expires_at=row.expires_at,
            is_finished=row.finished_at is not None,
            outcome=row.outcome,
        )

    async def use(self, import_id: UUID, key_id: UUID, request: bytes) -> None:
        """Bind an import key to one key and the digest of one request. Raise Denied."""
        values = {"import_id": import_id, "key_id": key_id, "request": request}
        with database_needed():
            row = await self._pool.row(_USE, values)
        if row is None:
            raise Denied("import_used", f"import {import_id} was used for another request")

    def finished(self, import_id: UUID, after: Callable[[], None]) -> RowChange:
        """Return the change after which the import key is destroyed."""
        return RowChange(_FINISH, {"import_id": import_id}, after)

    async def finish(self, *import_ids: UUID) -> None:
        """End imports whose key was refused, or whose import key an operator has destroyed."""
        with database_needed():
            await self._pool.rows(_FINISH, {"import_id": list(import_ids)})

    async def alive(self, import_ids: list[UUID]) -> set[UUID]:
        """Return those of the imports whose keys may still be used."""
        rows = await self._pool.rows(_ALIVE, {"import_ids": import_ids})
        return {row.import_id for row in rows}

    async def dead(self) -> set[UUID]:
        """Return the imports whose keys are used or have expired, and whose rows are kept yet."""
        return {row.import_id for row in await self._pool.rows(_DEAD)}

    async def owner(self) -> str:
        """Return the end of the labels of this driver group's import keys on tokens.

        It is from the id of the group's database, which its backups keep: two groups can have one
        name, at two control planes. 16 digits keep the label below 32 bytes, which tokens may
        limit. Raise OperatorError if the row is lost.
        """
        row = await self._pool.row(_OWNER)
        if row is None:
            raise OperatorError(
                "the table database_id of the driver's database has no row",
                "Somebody has deleted it. Restore the database from its backup.",
            )
        owner: UUID = row.id
        return owner.hex[:OWNER_DIGITS]

    async def purge(self) -> None:
        """Delete the rows of imports that ended long ago."""
        await self._pool.rows(_PURGE, {"hours": KEPT_HOURS})


def is_over(stored: StoredImportKey) -> bool:
    """Return whether the import key has expired."""
    return stored.expires_at <= datetime.now(UTC)
