"""Signers that never sign together again under a key: by own bans, and by those of peers.

A ban is of a root key, and holds for its children. It cannot be lifted: the way out is a new key.
It outlives a restored database: the signer asks every peer for it (mpc/restored/).
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from custody.database.pool import Pool
from custody.wire.signed_bytes import (
    BAN_TYPE,
    BadSignedBytes,
    PinnedKeys,
    SignedBytes,
    SigningKey,
    signing_key_id,
)
from custody.wire.statements import Ban
from mpc.bans.earned_bans import EarnedBans

MAX_REASON = 500

_INSERT = """
    INSERT INTO bans (key_id, signer, banned, reason, payload, signature, signing_key_id)
    VALUES (:key_id, :signer, :banned, :reason, :payload, :signature,
        :signing_key_id)
    ON CONFLICT DO NOTHING
"""

_REPLACE_IN_FLIGHT = f"""
    WITH replaced AS (
        DELETE FROM in_flight WHERE key_id = :key_id AND ceremony = :ceremony
    )
    {_INSERT}
"""

_OF_KEY = """
    SELECT payload, signature, signing_key_id FROM bans
    WHERE key_id = :key_id ORDER BY learned_at, signer, banned
"""

_OWN = """
    SELECT payload, signature, signing_key_id FROM bans
    WHERE signer = :me ORDER BY learned_at DESC LIMIT :limit
"""

_PAIRS = """
    SELECT signer, banned FROM bans
    WHERE key_id = :key_id AND signer = ANY(:names::varchar[])
        AND banned = ANY(:names::varchar[])
"""

_ALL = """
    SELECT key_id, signer, banned, reason, learned_at FROM bans
    ORDER BY learned_at DESC, key_id, signer, banned
"""


@dataclass(frozen=True)
class KnownBan:
    key_id: UUID
    signer: str
    banned: str
    reason: str
    learned_at: datetime


class Bans:
    """``me``: this signer's id; ``signer``: its identity, under which it states its own bans.

    ``earned``: where earned bans stay until the database has them. Those that are there already
    count at once. ``after_ban``: called once the database has such a ban, before its file goes.
    Raises OperatorError when one of them cannot be read.
    """

    def __init__(
        self,
        pool: Pool,
        me: str,
        signer: SigningKey,
        earned: EarnedBans | None = None,
        after_ban: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._pool = pool
        self._me = me
        self._signer = signer
        self._files = earned
        self._after_ban = after_ban
        self._earned: dict[UUID, dict[str, Any]] = {}
        if earned is not None:
            self._read_in(earned)

    async def ban(self, key_id: UUID, banned: str, reason: str, ceremony: UUID | None) -> None:
        """Durable when this returns. ``key_id`` is the root's."""
        await self._pool.rows(_INSERT, self._stated(key_id, banned, reason, ceremony))

    def earn(self, key_id: UUID, banned: str, reason: str, ceremony: UUID) -> None:
        """Ban at once, in this process and on this host. ``keep_earned`` writes the database.

        ``ceremony``: whose rows in flight bar the pair until the ban does.
        """
        stated = self._stated(key_id, banned, reason, ceremony)
        self._earned[ceremony] = stated | {"ceremony": ceremony}
        if self._files is not None:
            self._files.write(ceremony, _signed(stated))

    def _read_in(self, files: EarnedBans) -> None:
        for each in files.all():
            ban = _opened(each.signed, {self._me: self._signer.public_key})
            if ban is None:
                raise files.invalid(each.ceremony)
            self._earned[each.ceremony] = _row(ban, each.signed) | {"ceremony": each.ceremony}

    def earned(self) -> list[KnownBan]:
        """Return the bans that are not in the database yet."""
        return [
            KnownBan(
                each["key_id"],
                each["signer"],
                each["banned"],
                each["reason"],
                Ban.model_validate_json(each["payload"]).at,
            )
            for each in self._earned.values()
        ]

    def earned_among(self, key_id: UUID, signers: Sequence[str]) -> tuple[str, ...]:
        """Return those of ``signers`` whose ban is not durable yet, in order."""
        earned = {each["banned"] for each in self._earned.values() if each["key_id"] == key_id}
        return tuple(sorted(earned.intersection(signers)))

    async def keep_earned(self) -> AsyncIterator[UUID]:
        """Make what was earned durable, in place of its rows in flight: each ceremony once it is.

        Raises what the database raises; what is not durable then is still earned.
        """
        for ceremony, stated in list(self._earned.items()):
            await self._pool.rows(_REPLACE_IN_FLIGHT, stated)
            self._earned.pop(ceremony, None)
            if self._after_ban is not None:
                await self._after_ban()
            if self._files is not None:
                self._files.remove(ceremony)
            yield ceremony

    async def statements(self, key_id: UUID) -> list[SignedBytes]:
        """Return every known ban of a root key, as signed, for the peers."""
        rows = await self._pool.rows(_OF_KEY, {"key_id": key_id})
        return [SignedBytes(**dict(row)) for row in rows]

    async def own(self, limit: int) -> list[SignedBytes]:
        """Return this signer's own bans, newest first. The control plane avoids them in quorums."""
        rows = await self._pool.rows(_OWN, {"me": self._me, "limit": limit})
        return [SignedBytes(**dict(row)) for row in rows]

    async def learn(
        self, key_id: UUID, statements: Sequence[SignedBytes], identities: Mapping[str, bytes]
    ) -> None:
        """Take in bans of a root key that peers pass on; durable when this returns.

        ``identities`` are the pinned ones of the key's group, by signer, with this signer's own: a
        database that was restored learns its own bans again. What does not hold under them, or is
        of another key or of somebody else, is left out: a peer cannot speak for others, nor fill
        what every hello has room for.
        """
        for signed in statements:
            ban = _opened(signed, identities)
            if ban is not None and ban.key_id == key_id and ban.banned in identities:
                await self._pool.rows(_INSERT, _row(ban, signed))

    async def among(self, key_id: UUID, signers: Sequence[str]) -> tuple[str, ...]:
        """Return the signers that bar a quorum of ``signers`` with this one, in order.

        The banned one of each pair; the one that bans where that is this signer.
        """
        names = [self._me, *signers]
        rows = await self._pool.rows(_PAIRS, {"key_id": key_id, "names": names})
        found = {row.signer if row.banned == self._me else row.banned for row in rows}
        return tuple(sorted(found.union(self.earned_among(key_id, signers))))

    async def all(self) -> list[KnownBan]:
        """Newest first."""
        return [KnownBan(*row) for row in await self._pool.rows(_ALL)]

    def _stated(
        self, key_id: UUID, banned: str, reason: str, ceremony: UUID | None
    ) -> dict[str, Any]:
        """Return the signed row of a new ban of this signer."""
        ban = Ban(
            key_id=key_id,
            signer=self._me,
            banned=banned,
            reason=reason[:MAX_REASON],
            ceremony=ceremony,
            at=datetime.now(UTC),
        )
        return _row(ban, self._signer.sign(BAN_TYPE, ban.model_dump_json().encode()))


def _opened(signed: SignedBytes, identities: Mapping[str, bytes]) -> Ban | None:
    """Return the ban if the signer that it names has signed it; else None."""
    for name, key in identities.items():
        if signing_key_id(key) == signed.signing_key_id:
            try:
                ban = Ban.model_validate_json(PinnedKeys([key]).open(BAN_TYPE, signed))
            except (BadSignedBytes, ValidationError):
                return None
            return ban if ban.signer == name != ban.banned else None
    return None


def _signed(row: Mapping[str, Any]) -> SignedBytes:
    return SignedBytes(
        payload=row["payload"], signature=row["signature"], signing_key_id=row["signing_key_id"]
    )


def _row(ban: Ban, signed: SignedBytes) -> dict[str, Any]:
    return {
        "key_id": ban.key_id,
        "signer": ban.signer,
        "banned": ban.banned,
        "reason": ban.reason,
        "payload": signed.payload,
        "signature": signed.signature,
        "signing_key_id": signed.signing_key_id,
    }
