"""The locks around phase 2 of DKLs23 signing, one for each root key and counterparty.

Each bad message of that phase tests a bit of a secret that outlives the session, so whoever sends
one is banned before it may send another: sessions with one counterparty go through the phase one
after the other, in all processes of this signer, and each looks at the bans first. A row in
``in_flight`` is there, on disk, all the while. One that a crash has left counts as a ban until an
operator has looked at it (``mpc-signer bans``).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID
from weakref import WeakValueDictionary

import psycopg

from daemon.statements import Connection, Statements
from node.decisions import Failed

_LOCK = "SELECT pg_advisory_lock(hashtextextended(%(name)s, 0))"
_UNLOCK = "SELECT pg_advisory_unlock_all()"
_ENTER = """
    WITH wanted AS (SELECT * FROM unnest(%(signers)s::varchar[]) AS wanted (signer)),
    barred AS (
        SELECT signer FROM wanted
        WHERE EXISTS (
                SELECT FROM bans WHERE key_id = %(key_id)s AND (
                    (bans.signer, banned) = (%(me)s, wanted.signer)
                    OR (bans.signer, banned) = (wanted.signer, %(me)s)))
            OR EXISTS (
                SELECT FROM in_flight
                WHERE key_id = %(key_id)s AND in_flight.signer = wanted.signer)
    ), entered AS (
        INSERT INTO in_flight (key_id, signer, ceremony)
        SELECT %(key_id)s, signer, %(ceremony)s FROM wanted
        WHERE NOT EXISTS (SELECT FROM barred)
        RETURNING signer
    )
    SELECT signer FROM barred
"""
_LEAVE = """
    DELETE FROM in_flight
    WHERE key_id = %(key_id)s AND signer = ANY(%(signers)s::varchar[])
        AND ceremony = %(ceremony)s
"""


class BanLocks:
    """Lets one ceremony at a time through phase 2 with each counterparty."""

    def __init__(self, statements: Statements, me: str) -> None:
        self._statements = statements
        self._me = me
        self._here = WeakValueDictionary[tuple[UUID, str], asyncio.Lock]()

    @contextlib.asynccontextmanager
    async def hold(
        self, key_id: UUID, counterparties: Sequence[str], ceremony: UUID
    ) -> AsyncIterator[None]:
        """Run phase 2 inside. ``key_id`` is the root's, whose secrets its children share.

        Raises Failed banned_counterparty. What is raised inside leaves the rows in flight, unless
        it is Failed, which says that the phase has come to an end.
        """
        signers = sorted(counterparties)
        parameters = {
            "me": self._me,
            "key_id": key_id,
            "signers": signers,
            "ceremony": ceremony,
        }
        async with contextlib.AsyncExitStack() as stack:
            for signer in signers:
                here = self._here.setdefault((key_id, signer), asyncio.Lock())
                await stack.enter_async_context(here)
            connection = await stack.enter_async_context(self._statements.connection())
            async with _unlocked_at_the_end(connection):
                await self._enter(connection, parameters)
                try:
                    yield
                except Failed:
                    await _leave(connection, parameters)
                    raise
                await _leave(connection, parameters)

    async def _enter(self, connection: Connection, parameters: dict[str, Any]) -> None:
        """The locks, then the row, in one round trip: it looks when it has all of them."""
        async with connection.pipeline():
            for signer in parameters["signers"]:
                name = f"{parameters['key_id']}/{signer}"
                await connection.execute(_LOCK, {"name": name}, prepare=True)
            cursor = await connection.execute(_ENTER, parameters, prepare=True)
        barred = tuple(sorted(row.signer for row in await cursor.fetchall()))
        if barred:
            raise banned(barred)


def banned(signers: tuple[str, ...]) -> Failed:
    """What a ceremony with a banned counterparty ends with."""
    return Failed(
        "banned_counterparty",
        f"this signer never signs with {', '.join(signers)} under this key again",
        transient=True,
        culprits=signers,
    )


async def _leave(connection: Connection, parameters: dict[str, Any]) -> None:
    """In one round trip, too: the row's end is on disk before the locks go."""
    async with connection.pipeline() as pipeline:
        await connection.execute(_LEAVE, parameters, prepare=True)
        await pipeline.sync()
        await connection.execute(_UNLOCK, prepare=True)


@contextlib.asynccontextmanager
async def _unlocked_at_the_end(connection: Connection) -> AsyncIterator[None]:
    """Give back the session's locks on every way out; with the connection, if need be."""
    try:
        yield
    except BaseException:
        try:
            await connection.execute(_UNLOCK, prepare=True)
        except (psycopg.Error, asyncio.CancelledError):
            await connection.close()
        raise
