"""Verification of stored shares: each one opens, and matches its row."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from custody.database.connection import Row
from custody.database.pool import Pool
from custody.node.errors import Failed
from mpc.shares import share_queries
from mpc.shares.shares import Shares, stored_share

PAGE = 32
FIRST = UUID(int=0)


@dataclass(frozen=True)
class BadShare:
    """A share that does not open, or does not match its row. ``what``: the reason."""

    key_id: str
    ceremony: str
    what: str


async def verify_shares(
    shares: Shares, database: Pool, key_ids: Sequence[UUID], done: Callable[[int], None]
) -> tuple[int, set[UUID], list[BadShare]]:
    """Decrypt shares, and compare them with their rows and public verifying shares.

    Return the number of shares, the ids of their keys, and the bad shares. ``key_ids``: empty for
    all keys. ``done`` gets the number of shares so far.
    """
    bad: list[BadShare] = []
    seen: set[UUID] = set()
    count = 0
    async for row in _kept(database, key_ids):
        what = await _fault(shares, row)
        if what is not None:
            bad.append(BadShare(str(row.key_id), str(row.ceremony), what))
        seen.add(row.key_id)
        count += 1
        done(count)
    return count, seen, bad


async def _kept(database: Pool, key_ids: Sequence[UUID]) -> AsyncIterator[Row]:
    """Yield the rows of the shares that are not erased, with the columns of FACTS."""
    place = {"last_key": FIRST, "last_ceremony": FIRST}
    while rows := await database.rows(
        share_queries.KEPT, {"key_ids": list(key_ids), "limit": PAGE, **place}
    ):
        for row in rows:
            yield row
        place = {"last_key": rows[-1].key_id, "last_ceremony": rows[-1].ceremony}


async def _fault(shares: Shares, row: Row) -> str | None:
    try:
        await shares.open(stored_share(row))
    except Failed as error:
        return error.reason
    finally:
        shares.close(row.key_id)
    return None
