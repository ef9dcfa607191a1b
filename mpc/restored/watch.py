"""Notices that this signer's database was restored; then it takes no work until the peers answer.

A restored database is an earlier state of the database. So it lacks everything after some moment:
bans, used tickets, erased shares. ``RestoreWatch`` replaces the mark (marks.py) after each ban and
every few seconds. So a database that has the mark also has everything that was committed before the
mark.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import structlog

from custody.database.causes import is_transient
from custody.database.connection import Connection
from custody.database.pool import Pool
from custody.node import key_backups, restored_keys
from custody.node.audit import AuditRecord
from custody.node.audited_changes import AuditedChanges, record_without_job
from custody.node.errors import Failed
from custody.wire.ban_questions import NONCE_BYTES
from mpc.metrics import RESTORED
from mpc.restored.marks import Marks
from mpc.shares.share_queries import OF_KEPT_KEYS

INTERVAL = 5.0
"""Seconds between two marks."""
LARGEST_OFFSET = timedelta(seconds=30)
"""Largest difference between the clock that dates a ticket and this host's clock."""
NOTICED = "NoticedRestore"
"""The kind of the audit record: this signer noticed that its database was restored."""
ASKED_AGAIN = "AskedAgain"
"""The kind of the audit record: the operator has the peers asked a second time."""
ASKED = "AskedPeers"
"""The kind of the audit record: all peers have answered."""
DONE_WITHOUT = "DoneWithoutPeer"
"""The kind of the audit record: the operator decided to do without a peer's answer."""
HOW_TO_PIN = "mpc-signer peers add SIGNER --identity KEY"

log = structlog.get_logger()

_ROW = """
    SELECT mark, noticed_at, tickets_from, why, nonce, answered_at, lost_head FROM restore_watch
"""

_HAS_WORKED = """
    SELECT EXISTS (SELECT FROM journal) OR EXISTS (SELECT FROM shares) OR EXISTS (SELECT FROM bans)
        OR EXISTS (SELECT FROM used_tickets) OR EXISTS (SELECT FROM in_flight)
        OR EXISTS (
            SELECT FROM audit WHERE NOT EXISTS (
                SELECT FROM unnest(:before_start::varchar[]) AS before_start (kind)
                WHERE position(convert_to('"kind":"' || kind || '"', 'UTF8') IN record) > 0
            )
        ) AS has_worked
"""
"""Not the pins, and not records of the kinds ``before_start``: the operator of a new signer makes
both before its first start."""
_BEFORE_START = [key_backups.KIND, restored_keys.KIND]
"""The kinds of the audit records that do not show that a signer has worked."""

_HAS_SEEN = """
    SELECT EXISTS (
        SELECT FROM audit WHERE node = :node AND position(convert_to(:key_id, 'UTF8') IN record) > 0
    ) AS has_seen
"""

_FIRST = (
    "INSERT INTO restore_watch (id, mark) VALUES (1, :mark) ON CONFLICT DO NOTHING RETURNING id"
)

_REPLACE = "UPDATE restore_watch SET mark = :next WHERE mark = :mark RETURNING id"

_NOTICE = """
    WITH earlier AS (DELETE FROM restore_answers),
    restored AS (UPDATE shares SET uncertain = true WHERE state IN ('active', 'repaired'))
    INSERT INTO restore_watch (id, mark, noticed_at, tickets_from, why, nonce, lost_head)
    VALUES (1, :mark, now(), :tickets_from, :why, :nonce, :lost_head)
    ON CONFLICT (id) DO UPDATE SET mark = excluded.mark, noticed_at = excluded.noticed_at,
        tickets_from = excluded.tickets_from, why = excluded.why, nonce = excluded.nonce,
        lost_head = coalesce(excluded.lost_head, restore_watch.lost_head), answered_at = NULL
    RETURNING id
"""

_ASK_AGAIN = """
    WITH earlier AS (DELETE FROM restore_answers)
    UPDATE restore_watch SET nonce = :nonce, answered_at = NULL,
        noticed_at = coalesce(noticed_at, now()), tickets_from = coalesce(tickets_from, :now),
        why = coalesce(why, 'its shares are uncertain')
    WHERE nonce IS NULL AND (noticed_at IS NOT NULL OR EXISTS (
        SELECT FROM shares WHERE uncertain AND state IN ('active', 'repaired')
    )) RETURNING id
"""
"""An uncertain share was restored, also if no restore of this database was noticed."""

_ANSWERED = """
    INSERT INTO restore_answers (signer, nonce, bans, named)
    SELECT :signer, nonce, :bans, :named::varchar[] FROM restore_watch WHERE nonce = :nonce
    ON CONFLICT (signer) DO UPDATE SET bans = excluded.bans, named = excluded.named
        WHERE restore_answers.operator IS NULL
"""

_DO_WITHOUT = """
    INSERT INTO restore_answers (signer, nonce, bans, operator, reason)
    SELECT :signer, nonce, 0, :operator, :reason FROM restore_watch WHERE nonce IS NOT NULL
    ON CONFLICT (signer) DO UPDATE SET operator = excluded.operator, reason = excluded.reason,
        named = '{}' WHERE restore_answers.operator IS NULL
    RETURNING signer
"""

_COMPLETE = """
    UPDATE restore_watch SET nonce = NULL, answered_at = now() WHERE nonce = :nonce RETURNING id
"""

_ANSWERS = f"""
    WITH named AS (
        SELECT signer AS by, unnest(named) AS signer FROM restore_answers
    ), asked AS (
        SELECT signer FROM peers
        UNION SELECT unnest(signers) FROM shares WHERE {OF_KEPT_KEYS}
        UNION SELECT signer FROM named
        EXCEPT SELECT :me::varchar
    )
    SELECT signer, answered_at, bans, operator, reason,
        EXISTS (SELECT FROM peers WHERE peers.signer = asked.signer) AS is_pinned,
        ARRAY(SELECT by FROM named WHERE named.signer = asked.signer ORDER BY by) AS named_by
    FROM asked LEFT JOIN restore_answers USING (signer) ORDER BY signer
"""  # noqa: S608 - of constants
"""An old backup may lack pins. So the other signers of each key are asked, pinned or not.

Signers of a key whose shares an operator has erased are not: they may be gone, and the key has
moved to others."""


@dataclass(frozen=True)
class RestoreState:
    """The row of ``restore_watch``. ``nonce``: of the open question; None without one."""

    mark: UUID
    noticed_at: datetime | None
    tickets_from: datetime | None
    why: str | None
    nonce: bytes | None
    answered_at: datetime | None
    lost_head: bytes | None


@dataclass(frozen=True)
class PeersAnswer:
    """A signer that is asked, and what has become of its answer.

    ``answered_at``: of the answer, or of the decision of ``operator`` to do without the answer.
    ``is_pinned``: without a pin, this signer can read no answer of it.
    ``named_by``: the signers whose answers name it as a signer of a common key.
    """

    signer: str
    answered_at: datetime | None
    bans: int | None
    operator: str | None
    reason: str | None
    is_pinned: bool
    named_by: list[str]


class RestoreWatch:
    """Call ``renew`` before the first job. Until then this signer takes no work."""

    def __init__(self, pool: Pool, node: str, marks: Marks) -> None:
        self._pool = pool
        self._node = node
        self._changes = AuditedChanges(pool, node)
        self._file = marks
        self._known: frozenset[UUID] | None = None
        """The marks that the database may have; None before the file was read."""
        self._row: RestoreState | None = None
        self._waits_for: tuple[str, ...] = ()
        self._unpinned: tuple[str, ...] = ()
        self._has_no_pins = False
        self._asking: tuple[str, ...] = ()
        """The peers that were restored themselves: their answers do not count yet."""
        self._fault: str | None = None
        self._one_at_a_time = asyncio.Lock()

    @property
    def question(self) -> RestoreState | None:
        """Return the row while the peers are asked; else None."""
        return self._row if self._row is not None and self._row.nonce is not None else None

    @property
    def tickets_from(self) -> datetime | None:
        """Return the time before which no ticket counts, by this host's clock; None for any."""
        return None if self._row is None else self._row.tickets_from

    @property
    def noticed_at(self) -> datetime | None:
        """Return when the last restore was noticed, by the database's clock."""
        return None if self._row is None else self._row.noticed_at

    @property
    def lost_head(self) -> bytes | None:
        """Return the hash of the kept audit head whose loss was noticed already."""
        return None if self._row is None else self._row.lost_head

    @property
    def has_asked(self) -> bool:
        """Return whether all peers have answered since this database was made."""
        return self._row is not None and self._row.answered_at is not None

    def problem(self) -> str | None:
        """Return why this signer takes no work; None if its database forgot nothing."""
        RESTORED.set(int(self.question is not None))
        if self._row is None:
            return "the database is not compared with the state directory yet"
        if self._row.nonce is None:
            return None
        return (
            f"the database was restored ({self._row.why}), so it may lack bans and used tickets: "
            f"this signer waits {self._what_it_waits_for()}. See: mpc-signer bans answers"
        )

    def _what_it_waits_for(self) -> str:
        if not self._waits_for:
            if self._has_no_pins:
                return f"until a peer is pinned ({HOW_TO_PIN})"
            return "until earlier tickets do not count"
        what = f"for the answers of {', '.join(self._waits_for)}"
        if asking := [name for name in self._asking if name in self._waits_for]:
            names = ", ".join(asking)
            what += f"; {names} was restored too, and waits itself (mpc-signer bans do-without)"
        if self._unpinned:
            what += f". {pin_or_do_without(self._unpinned)}"
        return what

    def fault(self) -> str | None:
        """Return why the mark cannot be replaced: a restored database may not be noticed then."""
        return self._fault

    def require_whole(self) -> None:
        """Raise a transient Failed until every peer has answered."""
        problem = self.problem()
        if problem is not None:
            raise Failed("asking_peers", problem, transient=True)

    async def renew(self) -> None:
        """Compare the database's mark, and replace it. Raise what the database raises."""
        async with self._one_at_a_time:
            await self._renew()

    async def renew_repeatedly(self) -> None:
        """Renew every few seconds, until cancelled."""
        while True:
            try:
                await self.renew()
            except Exception as error:
                if not is_transient(error):
                    raise
            await asyncio.sleep(INTERVAL)

    async def notice(self, why: str, lost_head: bytes | None = None) -> None:
        """Ask the peers from now on. Durable when this returns."""
        async with self._one_at_a_time:
            await self._notice(why, lost_head)

    async def has_seen(self, key_id: UUID) -> bool:
        """Return whether a record of the audit chain is about a key: this database knew the key."""
        [row] = await self._pool.rows(_HAS_SEEN, {"node": self._node, "key_id": str(key_id)})
        return bool(row.has_seen)

    async def waits_for(self) -> tuple[str, ...]:
        """Return the signers whose answers are missing, sorted, pinned or not."""
        if self.question is not None:
            asked = await peers_answers(self._pool, self._node)
            missing = [each for each in asked if each.answered_at is None]
            self._waits_for = tuple(each.signer for each in missing)
            self._unpinned = tuple(each.signer for each in missing if not each.is_pinned)
            self._has_no_pins = not any(each.is_pinned for each in asked)
        return self._waits_for

    async def answered(
        self, signer: str, nonce: bytes, bans: int, named: Sequence[str] = ()
    ) -> None:
        """Note that a peer has answered the question with this nonce.

        ``named``: the signers of the keys in the answer. They are asked as well.
        """
        values = {"signer": signer, "nonce": nonce, "bans": bans, "named": list(named)}
        await self._pool.rows(_ANSWERED, values)

    def heard_of_asking(self, signers: Sequence[str]) -> None:
        """Remember, for the health, which peers wait for answers themselves."""
        self._asking = tuple(sorted(signers))

    def has_outlived_tickets(self) -> bool:
        """Return whether a ticket that is issued now counts (mpc/ceremonies/tickets.py)."""
        since = self.tickets_from
        return since is None or datetime.now(UTC) >= since + LARGEST_OFFSET

    async def complete(
        self, nonce: bytes, compare: Callable[[Connection], Awaitable[dict[str, str | None]]]
    ) -> dict[str, str | None] | None:
        """End the question with what the answers change, in one transaction.

        ``compare`` makes the changes, and returns the details of their audit record. Return these,
        or None if the question is not open any more: then nothing was changed.
        """

        async def change(connection: Connection) -> list[AuditRecord]:
            if not await connection.rows(_COMPLETE, {"nonce": nonce}):
                return []
            return [record_without_job(ASKED, await compare(connection))]

        async with self._one_at_a_time:
            records = await self._changes.change(change)
            self._row = await self._read()
        return dict(records[0].details or {}) if records else None

    async def _renew(self) -> None:
        row = await self._read()
        if self._known is None:
            self._known = await asyncio.to_thread(self._file.read)
        if self._known is None and not await self._has_worked():
            row = await self._first()
        elif row is None:
            await self._notice("it has no mark, but this signer has worked before", None)
            return
        elif self._known is None:
            await self._notice("the state directory has no mark", None)
            return
        elif row.mark not in self._known:
            await self._notice("its mark is not the one of the state directory", None)
            return
        following = uuid4()
        if await self._write(row.mark, following):
            values = {"mark": row.mark, "next": following}
            if await self._pool.rows(_REPLACE, values):
                await self._write(following)
        self._row = await self._read()

    async def _first(self) -> RestoreState:
        """Adopt an empty database: it has nothing to forget. An earlier start may have begun."""
        await self._pool.rows(_FIRST, {"mark": uuid4()})
        row = await self._read()
        assert row is not None
        return row

    async def _notice(self, why: str, lost_head: bytes | None) -> None:
        mark = uuid4()
        values = {
            "mark": mark,
            "tickets_from": datetime.now(UTC),
            "why": why,
            "nonce": os.urandom(NONCE_BYTES),
            "lost_head": lost_head,
        }
        log.error("the database was restored: asking all peers for their bans", reason=why)
        self._row = None  # no work until the row is there
        await self._changes.commit(_NOTICE, values, record_without_job(NOTICED, {"reason": why}))
        self._known = frozenset((mark,))
        await self._write(mark)
        self._row = await self._read()

    async def _write(self, *marks: UUID) -> bool:
        """Replace the file. Return False, and keep the database's mark, if the disk refuses."""
        try:
            await asyncio.to_thread(self._file.write, *marks)
        except OSError as error:
            self._fault = (
                f"the mark in the state directory cannot be replaced ({error.strerror}): a "
                "restored database may not be noticed. Make room, or correct the permissions."
            )
            log.error("mark not replaced", error=str(error))
            return False
        self._known = frozenset(marks)
        self._fault = None
        return True

    async def _read(self) -> RestoreState | None:
        row = await self._pool.row(_ROW)
        return None if row is None else RestoreState(**dict(row))

    async def _has_worked(self) -> bool:
        [row] = await self._pool.rows(_HAS_WORKED, {"before_start": _BEFORE_START})
        return bool(row.has_worked)


def pin_or_do_without(signers: Sequence[str]) -> str:
    """Return what the operator does about signers without a pin: a stolen one may have lost it."""
    return (
        f"Pin {', '.join(signers)} ({HOW_TO_PIN}). If a pin was removed on purpose, do not add it "
        "again: do without that signer (mpc-signer bans do-without)"
    )


async def restore_state(pool: Pool) -> RestoreState | None:
    """Return the row of a database, for commands."""
    row = await pool.row(_ROW)
    return None if row is None else RestoreState(**dict(row))


async def peers_answers(pool: Pool, me: str) -> list[PeersAnswer]:
    """Return every signer that is asked, sorted, with its answer to the last question.

    These are the pinned peers, the other signers of this signer's shares, and the signers that
    answers name.
    """
    return [PeersAnswer(*row) for row in await pool.rows(_ANSWERS, {"me": me})]


async def ask_again(changes: AuditedChanges, operator: str, reason: str) -> bool:
    """Have the running signer ask all peers again. Return False if there is nothing to ask.

    That is so for a signer that was never restored and has no uncertain share, for one that is
    asking, and for one that has not started since the restore. Earlier decisions to do without
    answers do not count for the new question.
    """
    record = record_without_job(ASKED_AGAIN, {"operator": operator, "reason": reason})
    values = {"nonce": os.urandom(NONCE_BYTES), "now": datetime.now(UTC)}
    return bool(await changes.commit(_ASK_AGAIN, values, record))


async def do_without(
    changes: AuditedChanges, signers: Sequence[str], operator: str, reason: str
) -> tuple[str, ...]:
    """Do without the answers of signers. Return those that the operator had not done without yet.

    Signers that only the answers of these signers name are not asked any more.
    """
    missing = []
    for signer in signers:
        values: dict[str, Any] = {"signer": signer, "operator": operator, "reason": reason}
        record = record_without_job(DONE_WITHOUT, values)
        if await changes.commit(_DO_WITHOUT, values, record):
            missing.append(signer)
    return tuple(missing)
