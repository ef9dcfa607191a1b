"""The applications that this node's owner has pinned: the node accepts their signed requests."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from custody.database.pool import Pool
from custody.runtime.batching import Batcher
from custody.runtime.errors import OperatorError
from custody.wire.signed_bytes import signing_key_id

_ALL = "SELECT name, public_key, added_at FROM applications ORDER BY name"
_ADD = """
    INSERT INTO applications (name, public_key) VALUES (:name, :public_key)
    ON CONFLICT DO NOTHING
"""
_REMOVE = "DELETE FROM applications WHERE name = :name RETURNING name"


@dataclass(frozen=True)
class Application:
    """``public_key``: Ed25519, 32 bytes."""

    name: str
    public_key: bytes
    added_at: datetime

    @property
    def key_id(self) -> str:
        return signing_key_id(self.public_key)


class Applications:
    """The pinned applications, read at each request: a removal counts at once."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._lookups = Batcher[str, Application | None](self._look_up)

    async def find(self, key_id: str) -> Application | None:
        """Return the application with the key of this id, or None."""
        return await self._lookups.submit(key_id)

    async def all(self) -> list[Application]:
        return [_application(row) for row in await self._pool.rows(_ALL)]

    async def add(self, name: str, public_key: bytes) -> Application:
        """Pin an application; pinning it again changes nothing.

        Raise OperatorError if another application has the name or the key.
        """
        await self._pool.rows(_ADD, {"name": name, "public_key": public_key})
        known = await self.all()
        for one in known:
            if (one.name, one.public_key) == (name, public_key):
                return one
        other = next(one for one in known if name == one.name or public_key == one.public_key)
        raise OperatorError(
            f"application {other.name!r} is pinned already, with key {other.key_id}",
            "Choose another name, or remove the pinned application first: apps remove",
        )

    async def remove(self, name: str) -> bool:
        """Remove an application: its requests are denied at once. Return False if unknown."""
        return bool(await self._pool.rows(_REMOVE, {"name": name}))

    async def _look_up(self, key_ids: list[str]) -> list[Application | Exception | None]:
        known = {one.key_id: one for one in await self.all()}
        return [known.get(key_id) for key_id in key_ids]


def _application(row: Any) -> Application:
    return Application(row.name, row.public_key, row.added_at)
