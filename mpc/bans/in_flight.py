"""What a crash left in flight in phase 2 of signing: a ban until an operator has looked."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from daemon.errors import OperatorError
from daemon.statements import Statements
from mpc.acts import Acts

# The advisory lock is the one that mpc/bans/ban_locks.py holds while the ceremony is under way.
_ALL = """
    SELECT key_id, signer, ceremony, begun_at,
        NOT pg_try_advisory_xact_lock(hashtextextended(key_id::text || '/' || signer, 0))
            AS is_under_way,
        (SELECT count(*) FROM cleared
            WHERE cleared.key_id = in_flight.key_id AND cleared.signer = in_flight.signer)
            AS cleared_before
    FROM in_flight ORDER BY begun_at, key_id, signer
"""

_CLEAR = """
    WITH gone AS (
        DELETE FROM in_flight
        WHERE key_id = %(key_id)s AND signer = %(signer)s AND ceremony = %(ceremony)s
            AND pg_try_advisory_xact_lock(hashtextextended(key_id::text || '/' || signer, 0))
        RETURNING key_id, signer, ceremony, begun_at
    )
    INSERT INTO cleared (key_id, signer, ceremony, begun_at, operator, reason)
    SELECT key_id, signer, ceremony, begun_at, %(operator)s, %(reason)s FROM gone
    RETURNING ceremony
"""


@dataclass(frozen=True)
class InFlight:
    """``cleared_before``: how often an operator has cleared the same before."""

    key_id: UUID
    signer: str
    ceremony: UUID
    begun_at: datetime
    is_under_way: bool
    cleared_before: int


async def in_flight(statements: Statements) -> list[InFlight]:
    """What is in flight, and what a crash has left so: that alone is not under way."""
    return [InFlight(*row) for row in await statements.rows(_ALL)]


async def left_among(statements: Statements, key_id: UUID, signers: Sequence[str]) -> list[str]:
    """Those of ``signers`` with whom a crash left something under a key."""

    async def left() -> set[tuple[str, UUID]]:
        return {
            (each.signer, each.ceremony)
            for each in await in_flight(statements)
            if each.key_id == key_id and each.signer in signers and not each.is_under_way
        }

    # what has come to its end while we looked is gone when we look again
    found = await left()
    return sorted({signer for signer, _ in found & await left()}) if found else []


async def find_left(statements: Statements, key_id: UUID, signer: str) -> InFlight:
    """What was left for a pair. Raises OperatorError when there is nothing, or nothing yet."""
    for each in await in_flight(statements):
        if (each.key_id, each.signer) == (key_id, signer):
            if each.is_under_way:
                raise OperatorError(
                    f"a ceremony with {signer} under {key_id} is under way: nothing was left",
                    "Look again in a minute: mpc-signer bans list",
                )
            return each
    raise OperatorError(
        f"nothing was left in flight with {signer} under {key_id}",
        "See: mpc-signer bans list. A ban cannot be lifted: the way out is a new key.",
    )


async def clear(acts: Acts, left: InFlight, operator: str, reason: str) -> bool:
    """Let the pair sign again, and keep that it was cleared. False when it was under way, or gone.

    Each time may have given away one bit of a secret, if the counterparty was the crash's cause.
    """
    details = {"signer": left.signer, "operator": operator, "reason": reason}
    values = {"key_id": left.key_id, "ceremony": left.ceremony, **details}
    return bool(await acts.do("ClearInFlight", left.key_id, _CLEAR, values, details))
