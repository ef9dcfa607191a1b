"""Guards phases 2 and 3 of DKLs23 signing with one database row for each counterparty.

With a bad message of phase 2, a sender tests one bit of a long-lived secret. This signer bans the
sender before the next message. Ceremonies with one counterparty go through phase 2 one after the
other, in all processes of this signer, and each looks at the bans first. Phase 3 bans as well.

A row in ``in_flight`` is committed before phase 2. Only this process removes the row: after phase 3
has succeeded, after a recoverable abort, or in the statement that stores a ban. So no failure of
the database loses a ban: until it is stored, this process's memory and the row bar the pair. A
process that is killed leaves its rows. They bar the pair until an operator has resolved them
(``mpc-signer bans``). No connection is held during a phase.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from types import TracebackType
from typing import Any
from uuid import UUID
from weakref import WeakValueDictionary

import structlog

from custody.database.causes import is_transient
from custody.database.connection import Connection
from custody.database.pool import Pool
from custody.node.database_away import database_away
from custody.node.errors import Failed
from custody.runtime.batching import Batcher
from custody.wire.left_in_flight import how_to_resolve
from mpc.bans.bans import Bans
from mpc.bans.in_flight import LeftInFlightHere
from mpc.bans.process_lock import IS_ALIVE, ProcessLock

WAIT_SECONDS = 10.0
"""Seconds that ``hold`` waits while another process of this signer has a row of the pair."""
RECONNECT_SECONDS = 2.0
"""Seconds to wait for the process lock while the database is away."""
POLL_SECONDS = 0.02
"""Seconds between two attempts of ``hold`` to enter."""
SETTLE_SECONDS = 10.0
"""Seconds between two runs of ``settle`` that nothing has asked for."""
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
LAST_SECONDS = 2.0
"""Seconds for the last run of ``settle``, when the process stops."""

log = structlog.get_logger()

_LOCK = """
    SELECT pg_advisory_xact_lock(hashtextextended(CAST(:key_id AS uuid)::text || '/' || signer, 0))
    FROM unnest(:signers::varchar[]) AS wanted (signer)
"""
"""Locks each pair, in the given order: without the locks, two processes could both insert a row
for one pair."""
_ENTER = f"""
    WITH wanted AS (SELECT * FROM unnest(:signers::varchar[]) AS wanted (signer)),
    barred AS (
        SELECT signer, 'banned' AS why FROM wanted
        WHERE EXISTS (
            SELECT FROM bans WHERE key_id = :key_id AND (
                (bans.signer, banned) = (:me, wanted.signer)
                OR (bans.signer, banned) = (wanted.signer, :me)))
        UNION ALL
        SELECT signer, CASE WHEN {IS_ALIVE} THEN 'under way' ELSE 'left' END
        FROM in_flight JOIN wanted USING (signer)
        WHERE key_id = :key_id AND process IS DISTINCT FROM :process
    ), entered AS (
        INSERT INTO in_flight (key_id, signer, ceremony, process)
        SELECT :key_id, signer, :ceremony, :process FROM wanted
        WHERE NOT EXISTS (SELECT FROM barred)
        ON CONFLICT DO NOTHING
    )
    SELECT signer, why FROM barred
"""
_RELEASE = """
    WITH hasty AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true) AS is_set)
    DELETE FROM in_flight
    USING unnest(:key_ids::uuid[], :ceremonies::uuid[]) AS over (key_id, ceremony), hasty
    WHERE in_flight.key_id = over.key_id AND in_flight.ceremony = over.ceremony
        AND process = :process AND hasty.is_set = 'off'
"""
"""Does not wait for the disk: the commit of the outcome waits for all commits before it."""
_LEAVE = """
    UPDATE in_flight SET process = NULL
    WHERE process = :process AND ceremony = ANY(:ceremonies::uuid[])
"""
_OURS = "SELECT DISTINCT key_id, ceremony FROM in_flight WHERE process = :process"


class _State(Enum):
    UNDER_WAY = auto()
    LEFT = auto()
    """The end of the phase is unknown: an operator must resolve the row."""
    BANNED = auto()
    """The statement that stores the ban deletes the row."""


@dataclass
class _Ceremony:
    key_id: UUID
    signers: tuple[str, ...]
    state: _State = _State.UNDER_WAY


class BanLocks:
    """Use it as a context. ``left`` is what other processes of this signer have left in flight.

    ``_ceremonies`` has the ceremonies of this process. ``settle`` deletes each row of this process
    that has no ceremony in ``_ceremonies``. A task retries ``settle``.
    """

    def __init__(self, pool: Pool, me: str, bans: Bans) -> None:
        self.left = LeftInFlightHere(pool, me)
        self._pool = pool
        self._me = me
        self._bans = bans
        self._process = ProcessLock(pool)
        self._here = WeakValueDictionary[tuple[UUID, str], asyncio.Lock]()
        self._ceremonies: dict[UUID, _Ceremony] = {}
        self._forgotten = 0
        """Counts the bans and left ceremonies that moved from memory to the database."""
        self._releases = Batcher[tuple[UUID, UUID], None](self._release)
        self._is_unsettled = asyncio.Event()
        self._settler: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "BanLocks":
        await self._process.__aenter__()
        self._is_unsettled.set()  # bans that a killed process has earned are written now
        self._settler = asyncio.create_task(
            self._settle_repeatedly(), name="settle what is in flight"
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._settler is not None:
            self._settler.cancel()
            await asyncio.wait([self._settler])
        try:
            async with asyncio.timeout(LAST_SECONDS):
                await self.settle()
        except Exception as failure:
            log.warning("stopped while its database is away", error=str(failure).split("\n")[0])
        await self._process.__aexit__(kind, error, at)

    @contextlib.asynccontextmanager
    async def hold(
        self, key_id: UUID, counterparties: Sequence[str], ceremony: UUID
    ) -> AsyncIterator[None]:
        """Run phase 2 inside. ``key_id`` is the root's, whose secrets its children share.

        Raises Failed before the phase: banned_counterparty, left_in_flight, in_flight_elsewhere or
        database_away. After the phase began, an exception keeps the rows: only
        ``release``, a stored ban or, after ``leave``, an operator deletes them.
        """
        signers = tuple(sorted(counterparties))
        seen, until = tuple[str, ...](), None
        while True:
            async with self._alone_here(key_id, signers):
                self._ceremonies[ceremony] = _Ceremony(key_id, signers)
                try:
                    barred = await self._enter_and_look(key_id, signers, ceremony)
                except BaseException:
                    # there is no phase; if there is a row, ``settle`` finds it
                    del self._ceremonies[ceremony]
                    raise
                if not barred:
                    yield
                    return
                del self._ceremonies[ceremony]
            # another process has a row: meanwhile other ceremonies of this one may try
            seen = self._require_hope(key_id, barred, seen)
            now = asyncio.get_running_loop().time()
            until = until or now + WAIT_SECONDS
            if now > until:
                raise _elsewhere(signers)
            await asyncio.sleep(POLL_SECONDS)

    async def release(self, ceremony: UUID) -> None:
        """Remove a ceremony's rows after its guarded phases, if nobody earned a ban.

        If the database is unavailable, ``settle`` deletes the rows later. The rows of a banned or
        left ceremony stay.
        """
        found = self._ceremonies.get(ceremony)
        if found is None or found.state is not _State.UNDER_WAY:
            return
        del self._ceremonies[ceremony]
        try:
            await self._releases.submit((found.key_id, ceremony))
        except Exception as error:
            self._is_unsettled.set()
            if not is_transient(error):
                raise
        except asyncio.CancelledError:
            self._is_unsettled.set()
            raise

    async def ban(self, key_id: UUID, banned: str, reason: str, ceremony: UUID) -> None:
        """Ban a counterparty of a ceremony that is in its guarded phases, permanently.

        This process blocks the counterparty at once. In an outage the ceremony's rows block the
        pair until ``settle`` stores the ban.
        """
        self._bans.earn(key_id, banned, reason, ceremony)
        if ceremony in self._ceremonies:
            self._ceremonies[ceremony].state = _State.BANNED
        try:
            await self._keep_bans()
        except Exception as error:
            self._is_unsettled.set()
            if not is_transient(error):
                raise
            log.error("ban not on disk yet", signer=banned, key=str(key_id))

    def leave(self, ceremony: UUID) -> None:
        """Keep the rows of a phase with an unknown end, until the operator clears the pair."""
        found = self._ceremonies.get(ceremony)
        if found is not None and found.state is _State.UNDER_WAY:
            found.state = _State.LEFT
            self._is_unsettled.set()

    async def require_none_left(self, key_id: UUID, signers: Sequence[str]) -> None:
        """Raise Failed if a left phase or an unstored ban blocks a pair with ``signers``."""
        left = await self.left.among(key_id, signers)
        if left:
            raise self._left(key_id, left)
        self._require_unbarred_here(key_id, signers)

    async def settle(self) -> None:
        """Store bans, mark left rows, delete finished rows. Raise the database's errors."""
        await self._keep_bans()  # first: a pair must not be free before it is banned
        mine = {"process": self._process.id}
        left = [each for each, it in self._ceremonies.items() if it.state is _State.LEFT]
        if left:
            await self._pool.rows(_LEAVE, mine | {"ceremonies": left})
            for ceremony in left:
                self._forget(ceremony)
        rows = await self._pool.rows(_OURS, mine)
        # ``hold`` notes a ceremony before it inserts the row: a row without a ceremony is over
        over = [(row.key_id, row.ceremony) for row in rows if row.ceremony not in self._ceremonies]
        if over:
            await self._release(over)
            log.info("deleted rows of finished ceremonies", ceremonies=len(over))
        await self.left.read()

    async def _settle_repeatedly(self) -> None:
        pause = FIRST_PAUSE
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SETTLE_SECONDS):
                    await self._is_unsettled.wait()
            self._is_unsettled.clear()
            try:
                await self.settle()
                pause = FIRST_PAUSE
            except Exception as error:
                if not is_transient(error):
                    log.exception("could not update the rows in flight")
                self._is_unsettled.set()
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    @contextlib.asynccontextmanager
    async def _alone_here(self, key_id: UUID, signers: tuple[str, ...]) -> AsyncIterator[None]:
        """Hold this process's locks for ``signers``. They are sorted, against deadlocks."""
        async with contextlib.AsyncExitStack() as stack:
            for signer in signers:
                here = self._here.setdefault((key_id, signer), asyncio.Lock())
                await stack.enter_async_context(here)
            yield

    async def _enter_and_look(
        self, key_id: UUID, signers: tuple[str, ...], ceremony: UUID
    ) -> Sequence[Any]:
        """Do as ``_enter``, and raise Failed for what bars the pair in memory alone.

        ``settle`` may move a ban or a left pair from memory to the disk while the statement runs,
        which may have read the rows before. If so, run the statement again.
        """
        while True:
            forgotten = self._forgotten
            if barred := await self._enter(key_id, signers, ceremony):
                return barred
            self._require_unbarred_here(key_id, signers)
            if self._forgotten == forgotten:
                return ()

    async def _enter(self, key_id: UUID, signers: tuple[str, ...], ceremony: UUID) -> Sequence[Any]:
        """Commit the rows, or return what bars them. Raises Failed database_away."""
        parameters: dict[str, Any] = {
            "me": self._me,
            "key_id": key_id,
            "signers": list(signers),
            "ceremony": ceremony,
            "process": self._process.id,
        }
        try:
            async with asyncio.timeout(RECONNECT_SECONDS):
                await self._process.held()
            return await self._pool.in_transaction(partial(_lock_and_enter, parameters))
        except Exception as error:
            if not is_transient(error):
                raise
            self._is_unsettled.set()
            raise database_away() from None

    def _require_hope(
        self, key_id: UUID, barred: Sequence[Any], seen: tuple[str, ...]
    ) -> tuple[str, ...]:
        """Raise Failed for a ban or a pair left twice. Otherwise return the signers that seem left.

        ``seen``: the previous return value. A finishing process can seem left once, but not twice.
        """
        if found := _named(barred, "banned"):
            raise banned(found)
        left = _named(barred, "left")
        if left and left == seen:
            self._is_unsettled.set()  # so that health reports it now
            raise self._left(key_id, left)
        return left

    def _require_unbarred_here(self, key_id: UUID, signers: Sequence[str]) -> None:
        """Raise Failed for a ban or left pair that is not on disk yet."""
        earned = self._bans.earned_among(key_id, signers)
        if earned:
            raise banned(earned)
        left = {
            signer
            for each in self._ceremonies.values()
            if each.key_id == key_id and each.state is _State.LEFT
            for signer in each.signers
        }
        if left.intersection(signers):
            raise self._left(key_id, tuple(sorted(left.intersection(signers))))

    async def _keep_bans(self) -> None:
        async for ceremony in self._bans.keep_earned():
            self._forget(ceremony)

    def _forget(self, ceremony: UUID) -> None:
        self._ceremonies.pop(ceremony, None)  # settled twice at once, it is gone already
        self._forgotten += 1

    async def _release(self, over: list[tuple[UUID, UUID]]) -> list[Exception | None]:
        key_ids, ceremonies = zip(*over, strict=True)
        values = {
            "key_ids": list(key_ids),
            "ceremonies": list(ceremonies),
            "process": self._process.id,
        }
        await self._pool.rows(_RELEASE, values)
        return [None] * len(over)

    def _left(self, key_id: UUID, signers: tuple[str, ...]) -> Failed:
        """Return the error of a left pair. It is not a ban: the operator can clear the pair."""
        told = "; ".join(how_to_resolve(self._me, signer, key_id) for signer in signers)
        return Failed("left_in_flight", told, transient=True)


async def _lock_and_enter(parameters: dict[str, Any], connection: Connection) -> Sequence[Any]:
    """Lock, then enter in a second statement, which sees rows committed before the lock."""
    await connection.rows(_LOCK, parameters)
    return await connection.rows(_ENTER, parameters)


def banned(signers: tuple[str, ...]) -> Failed:
    """Return the error of a ceremony with a banned counterparty."""
    return Failed(
        "banned_counterparty",
        f"a ban forbids this signer to sign with {', '.join(signers)} under this key: "
        "run mpc-signer bans list to see the ban",
        transient=True,  # for the request: another quorum can sign
        culprits=signers,
    )


def _elsewhere(signers: Sequence[str]) -> Failed:
    return Failed(
        "in_flight_elsewhere",
        f"another process of this signer is signing with {', '.join(signers)} under this key",
        transient=True,
    )


def _named(barred: Sequence[Any], why: str) -> tuple[str, ...]:
    return tuple(sorted({row.signer for row in barred if row.why == why}))
