"""Pairs that a stop left in a guarded phase of signing: barred until an operator resolves them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from custody.database.pool import Pool
from custody.node.audited_changes import AuditedChanges, record_without_job
from custody.runtime.errors import OperatorError
from custody.wire.left_in_flight import LeftInFlight, how_to_resolve
from mpc.bans.process_lock import IS_ALIVE

_ALL = f"""
    SELECT key_id, signer, min(begun_at) AS begun_at, array_agg(ceremony) AS ceremonies,
        is_under_way,
        (SELECT count(DISTINCT cleared_at) FROM cleared
            WHERE cleared.key_id = each.key_id AND cleared.signer = each.signer)
            AS cleared_before
    FROM (SELECT *, {IS_ALIVE} AS is_under_way FROM in_flight) AS each
    GROUP BY key_id, signer, is_under_way
    ORDER BY begun_at, key_id, signer
"""

_CLEAR = f"""
    WITH gone AS (
        DELETE FROM in_flight
        WHERE key_id = :key_id AND signer = :signer
            AND ceremony = ANY(:ceremonies::uuid[]) AND NOT {IS_ALIVE}
        RETURNING key_id, signer, ceremony, begun_at
    )
    INSERT INTO cleared (key_id, signer, ceremony, begun_at, operator, reason)
    SELECT key_id, signer, ceremony, begun_at, :operator, :reason FROM gone
    RETURNING ceremony
"""


@dataclass(frozen=True)
class InFlight:
    """A pair's ceremonies. ``cleared_before``: how often an operator has cleared the pair."""

    key_id: UUID
    signer: str
    begun_at: datetime
    ceremonies: list[UUID]
    is_under_way: bool
    cleared_before: int


class LeftInFlightHere:
    """The pairs left at this signer, ``me``: read with each heartbeat, and shown in its health."""

    def __init__(self, pool: Pool, me: str) -> None:
        self._pool = pool
        self._me = me
        self._last_read: list[LeftInFlight] = []

    async def read(self) -> list[LeftInFlight]:
        """Return each pair, oldest first."""
        self._last_read = [
            LeftInFlight(key_id=each.key_id, signer=each.signer, since=each.begun_at)
            for each in await left(self._pool)
        ]
        return self._last_read

    async def among(self, key_id: UUID, signers: Sequence[str]) -> tuple[str, ...]:
        """Return the ``signers`` that form a left pair with this signer under a key, sorted."""
        read = await self.read()
        return tuple(sorted(x.signer for x in read if x.key_id == key_id and x.signer in signers))

    def problem(self) -> str | None:
        """Return what the operator must do, as of the last ``read``; None if no pair was left."""
        if not self._last_read:
            return None
        first = self._last_read[0]
        more = len(self._last_read) - 1
        told = how_to_resolve(self._me, first.signer, first.key_id)
        return f"{told} ({more} more: mpc-signer bans list)" if more else told


async def in_flight(pool: Pool) -> list[InFlight]:
    """Return all pairs in flight; those that a stop left have ``is_under_way`` false."""
    return [InFlight(*row) for row in await pool.rows(_ALL)]


async def left(pool: Pool) -> list[InFlight]:
    """Return the pairs that a stop left in flight."""
    found = [each for each in await in_flight(pool) if not each.is_under_way]
    if not found:
        return []
    # what has ended while we looked is gone when we look again; the rest of a pair may not be
    again = {
        (each.key_id, each.signer): each.ceremonies
        for each in await in_flight(pool)
        if not each.is_under_way
    }
    return [
        each
        for each in found
        if set(each.ceremonies).intersection(again.get((each.key_id, each.signer), ()))
    ]


async def find_left(pool: Pool, key_id: UUID, signer: str) -> InFlight:
    """Return the entry of a left pair. Raises OperatorError if there is none, or none yet."""
    of_pair = [
        each for each in await in_flight(pool) if (each.key_id, each.signer) == (key_id, signer)
    ]
    for each in of_pair:
        if not each.is_under_way:
            return each
    if of_pair:
        raise OperatorError(
            f"a ceremony with {signer} under {key_id} is under way: nothing was left",
            "Check again in a minute: mpc-signer bans list",
        )
    raise OperatorError(
        f"nothing was left in flight with {signer} under {key_id}",
        "What is left in flight, and what is banned for good: mpc-signer bans list",
    )


async def clear(changes: AuditedChanges, found: InFlight, operator: str, reason: str) -> bool:
    """Let the pair sign again, and record the clearing. False if the pair signs now, or is gone.

    If the counterparty caused the stop, each stop may have revealed one bit of a secret.
    """
    details = {"signer": found.signer, "operator": operator, "reason": reason}
    values = {"key_id": found.key_id, "ceremonies": found.ceremonies, **details}
    record = record_without_job("ClearInFlight", details, found.key_id)
    return bool(await changes.commit(_CLEAR, values, record))
