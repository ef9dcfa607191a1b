"""Bearer tokens: who asks, and what they may do. Only a token's hash is kept."""

import hashlib
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from custody.control_plane.access.scopes import Scope
from custody.control_plane.database import AnyRow, Database
from custody.control_plane.jobs.notifications import REVOKED_CHANNEL, Notifications
from custody.database.connection import Connection
from custody.runtime.batching import Batcher
from custody.runtime.cache import Cache

BELIEVED_SECONDS = 1.0
MAX_BELIEVED = 10_000
TOKEN_PREFIX = "custody_"  # noqa: S105 - what people and secret scanners know one by
TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class Caller:
    """The application behind a token, and what that token may do."""

    application_id: UUID
    scopes: frozenset[str]

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes

    @property
    def sees_details(self) -> bool:
        """Return whether it sees nodes' faults, their operators and what these must do."""
        return Scope.ADMIN in self.scopes


@dataclass(frozen=True, slots=True)
class NewToken:
    """``text`` is shown once and kept nowhere."""

    id: UUID
    application: str
    application_id: UUID
    scopes: list[Scope]
    expires_at: datetime | None
    text: str

    @property
    def hash(self) -> bytes:
        """Return the hash of the text, as the database has it."""
        return token_hash(self.text)


_BY_HASH = """
    SELECT hash, application_id, scopes FROM tokens
    WHERE hash = ANY(CAST(:hashes AS bytea[])) AND revoked_at IS NULL
        AND (expires_at IS NULL OR expires_at > now())
"""

_ADD_APPLICATION = """
    INSERT INTO applications (id, name) VALUES (:id, :name) ON CONFLICT DO NOTHING
"""

_APPLICATION = "SELECT id FROM applications WHERE name = :name"

_ADD = """
    INSERT INTO tokens (id, application_id, hash, scopes, expires_at)
    VALUES (:id, :application_id, :hash, :scopes, :expires_at)
"""

_REVOKE = """
    UPDATE tokens SET revoked_at = coalesce(revoked_at, now()) WHERE id = :id
    RETURNING id, pg_notify('{revoked}', CAST(id AS text))
""".replace("{revoked}", REVOKED_CHANNEL)

_ALL = """
    SELECT tokens.id, applications.name AS application, scopes, tokens.created_at, expires_at,
        revoked_at
    FROM tokens JOIN applications ON applications.id = application_id
    ORDER BY tokens.created_at, tokens.id
"""


@dataclass(frozen=True, slots=True)
class _Believed:
    """``revocations``: how many had been heard of when the token was looked up."""

    caller: Caller
    revocations: int


class Tokens:
    """Looks tokens up, and believes one that it found for BELIEVED_SECONDS.

    A revoked one is refused as soon as the notification of it is heard, which is at once; without
    a listening connection nothing is believed.
    """

    def __init__(self, database: Database, notifications: Notifications) -> None:
        self._database = database
        self._notifications = notifications
        self._lookups = Batcher(self._look_up)
        self._believed = Cache[bytes, _Believed](MAX_BELIEVED, BELIEVED_SECONDS)

    async def caller(self, token: str) -> Caller | None:
        """Return the owner of a token; None if it is unknown, revoked or expired."""
        if not token.startswith(TOKEN_PREFIX):
            return None
        hash_ = token_hash(token)
        believed = self._believed.get(hash_)
        if believed is not None and self._is_current(believed):
            return believed.caller
        return await self._lookups.submit(hash_)

    def _is_current(self, believed: "_Believed") -> bool:
        return (
            self._notifications.listening
            and believed.revocations == self._notifications.revocations
        )

    async def _look_up(self, hashes: list[bytes]) -> list[Caller | Exception | None]:
        before = self._notifications.revocations
        rows = await self._database.rows(_BY_HASH, {"hashes": list(set(hashes))})
        callers = {row.hash: Caller(row.application_id, frozenset(row.scopes)) for row in rows}
        for hash_, caller in callers.items():
            self._believed.put(hash_, _Believed(caller, before))
        return [callers.get(hash_) for hash_ in hashes]


def token_hash(token: str) -> bytes:
    """SHA-256: a token has 256 random bits, so nothing slower is needed."""
    return hashlib.sha256(token.encode()).digest()


async def create_token(
    connection: Connection,
    application: str,
    scopes: Collection[Scope],
    expires_at: datetime | None = None,
) -> NewToken:
    """Make a token, and its application when there is none of that name yet."""
    application_id = await _application(connection, application)
    ordered = [scope for scope in Scope if scope in scopes]
    token = NewToken(
        id=uuid4(),
        application=application,
        application_id=application_id,
        scopes=ordered,
        expires_at=expires_at,
        text=TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES),
    )
    await connection.rows(
        _ADD,
        {
            "id": token.id,
            "application_id": application_id,
            "hash": token.hash,
            "scopes": [scope.value for scope in ordered],
            "expires_at": expires_at,
        },
    )
    return token


async def _application(connection: Connection, name: str) -> UUID:
    await connection.rows(_ADD_APPLICATION, {"id": uuid4(), "name": name})
    [row] = await connection.rows(_APPLICATION, {"name": name})
    found: UUID = row.id
    return found


async def revoke_token(connection: Connection, token_id: UUID) -> bool:
    """Revoke a token for good; False when there is none of that id. Twice is as good as once."""
    return await connection.row(_REVOKE, {"id": token_id}) is not None


async def list_tokens(connection: Connection) -> Sequence[AnyRow]:
    """Return every token with its application, oldest first, never its text."""
    return await connection.rows(_ALL)
