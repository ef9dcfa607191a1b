"""Bearer tokens: who asks, and what they may do. Only a token's hash is kept."""

import hashlib
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID, uuid4

from sqlalchemy import ARRAY, LargeBinary, bindparam, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from control_plane.database import AnyRow, Database
from control_plane.tables import applications, tokens
from daemon.batching import Batcher

TOKEN_PREFIX = "custody_"  # noqa: S105 - what people and secret scanners know one by
TOKEN_BYTES = 32


class Scope(StrEnum):
    READ = "read"
    """GET everything of the application, and the nodes."""
    WALLETS = "wallets"
    """Create wallets and keys."""
    SIGN = "sign"
    """Create signatures."""
    ADMIN = "admin"
    """All of the above."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The application behind a token, and what that token may do."""

    application_id: UUID
    scopes: frozenset[str]

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes


@dataclass(frozen=True, slots=True)
class NewToken:
    """``text`` is shown once and kept nowhere."""

    id: UUID
    application: str
    application_id: UUID
    scopes: list[Scope]
    expires_at: datetime | None
    text: str


_BY_HASH = (
    select(tokens.c.hash, tokens.c.application_id, tokens.c.scopes)
    .where(tokens.c.hash == func.any(bindparam("hashes", type_=ARRAY(LargeBinary))))
    .where(tokens.c.revoked_at.is_(None))
    .where(or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > func.now()))
)


class Tokens:
    """Looks tokens up in the database, every time: a revoked one is refused from then on."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lookups = Batcher(self._look_up)

    async def caller(self, token: str) -> Caller | None:
        """Who a token belongs to; None when it is unknown, revoked or expired."""
        if not token.startswith(TOKEN_PREFIX):
            return None
        return await self._lookups.submit(token_hash(token))

    async def _look_up(self, hashes: list[bytes]) -> list[Caller | Exception | None]:
        rows = await self._database.rows(_BY_HASH, {"hashes": list(set(hashes))})
        callers = {row.hash: Caller(row.application_id, frozenset(row.scopes)) for row in rows}
        return [callers.get(hash_) for hash_ in hashes]


def token_hash(token: str) -> bytes:
    """SHA-256: a token has 256 random bits, so nothing slower is needed."""
    return hashlib.sha256(token.encode()).digest()


async def create_token(
    connection: AsyncConnection,
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
    await connection.execute(
        tokens.insert().values(
            id=token.id,
            application_id=application_id,
            hash=token_hash(token.text),
            scopes=[scope.value for scope in ordered],
            expires_at=expires_at,
        )
    )
    return token


async def _application(connection: AsyncConnection, name: str) -> UUID:
    await connection.execute(
        insert(applications).values(id=uuid4(), name=name).on_conflict_do_nothing()
    )
    found: UUID = (
        await connection.execute(select(applications.c.id).where(applications.c.name == name))
    ).scalar_one()
    return found


async def revoke_token(connection: AsyncConnection, token_id: UUID) -> bool:
    """Revoke a token for good; False when there is none of that id. Twice is as good as once."""
    revoked_at = func.coalesce(tokens.c.revoked_at, func.now())
    result = await connection.execute(
        update(tokens).where(tokens.c.id == token_id).values(revoked_at=revoked_at)
    )
    return result.rowcount == 1


async def list_tokens(connection: AsyncConnection) -> Sequence[AnyRow]:
    """Every token, oldest first: id, application, scopes, created_at, expires_at, revoked_at."""
    result = await connection.execute(
        select(
            tokens.c.id,
            applications.c.name.label("application"),
            tokens.c.scopes,
            tokens.c.created_at,
            tokens.c.expires_at,
            tokens.c.revoked_at,
        )
        .join(applications)
        .order_by(tokens.c.created_at, tokens.c.id)
    )
    return result.all()
