"""Makes and puts the copies of shares that have none, page by page, and continues where it was."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from custody.database.pool import Pool
from custody.node.errors import Failed
from mpc.layer4 import copy_queries
from mpc.layer4.copies import ShareCopies
from mpc.layer4.putting import Putter
from mpc.shares.shares import Shares

PAGE = 16
"""Copies that wait in the database at once: one of a DKLs23 share has up to 0.5 MB."""
FIRST = UUID(int=0)


@dataclass(frozen=True)
class Stuck:
    """A share whose copy could not be made."""

    key_id: UUID
    ceremony: UUID
    what: str


@dataclass
class Filled:
    made: int = 0
    stuck: list[Stuck] = field(default_factory=list)
    waiting: int = 0
    """Copies that are made, and that the bucket does not have."""
    fault: str | None = None


async def backfill(
    pool: Pool,
    shares: Shares,
    copies: ShareCopies,
    putter: Putter,
    progress: Callable[[int], None] = lambda _: None,
) -> Filled:
    """Make and put what is missing. Stop after a page of which the bucket takes nothing.

    After a kill, the next call continues: each copy is committed before it is put.
    """
    filled = Filled()
    await pool.rows(copy_queries.RETRY_ALL_NOW, putter.here)
    if await _put_all(putter, await _waiting(pool, putter)):
        async for page in _pages(pool, putter):
            for row in page:
                await _make(shares, copies, row, filled)
            if not await _put_all(putter, len(page)):
                break
            progress(filled.made)
    counts = await _counts(pool, putter)
    filled.waiting, filled.fault = counts.waiting, counts.fault
    return filled


async def count_missing(pool: Pool, putter: Putter) -> int:
    """Return how many shares have no copy."""
    return int((await _counts(pool, putter)).missing)


async def _make(shares: Shares, copies: ShareCopies, row: Any, filled: Filled) -> None:
    stored = await shares.find(row.key_id, row.ceremony)
    if stored is None or not stored.is_kept:  # erased in between
        return
    try:
        await copies.make(stored)
        filled.made += 1
    except Failed as error:
        if error.code != "share_unusable":
            raise
        filled.stuck.append(Stuck(row.key_id, row.ceremony, error.reason))
    finally:
        shares.close(row.key_id)


async def _put_all(putter: Putter, waiting: int) -> bool:
    """Put what is due. Return False if nothing of it could be stored."""
    ended = stored = 0
    while ended < waiting and (some := await putter.put_due()):
        ended += len(some)
        stored += sum(some)
    return stored > 0 or ended == 0


async def _pages(pool: Pool, putter: Putter) -> AsyncIterator[list[Any]]:
    place = {"last_key": FIRST, "last_ceremony": FIRST}
    while rows := await pool.rows(
        copy_queries.WITHOUT_COPY, {**putter.here, **place, "limit": PAGE}
    ):
        yield rows
        place = {"last_key": rows[-1].key_id, "last_ceremony": rows[-1].ceremony}
        await asyncio.sleep(0)


async def _waiting(pool: Pool, putter: Putter) -> int:
    return int((await _counts(pool, putter)).waiting)


async def _counts(pool: Pool, putter: Putter) -> Any:
    [counts] = await pool.rows(copy_queries.COUNTS, putter.here)
    return counts
