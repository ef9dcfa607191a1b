"""Checks of a doctor that are made at the same time."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from custody.runtime.checks import Check, Status, side_by_side

MET = Check("met", Status.OK, "both were under way")


async def meeting(barrier: asyncio.Barrier, name: str) -> AsyncIterator[Check]:
    await barrier.wait()
    yield Check(name, Status.OK, "")
    yield MET


async def test_groups_are_made_at_once_and_shown_in_order():
    barrier = asyncio.Barrier(3)
    groups = (meeting(barrier, name) for name in ("a", "b", "c"))
    async with asyncio.timeout(10):
        found = [check.name async for check in side_by_side(*groups)]
    assert found == ["a", "met", "b", "met", "c", "met"]


async def test_what_one_group_raises_ends_the_others():
    ended = asyncio.Event()

    async def failing() -> AsyncIterator[Check]:
        raise KeyError("a mistake")
        yield MET

    async def endless() -> AsyncIterator[Check]:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        yield MET

    with pytest.raises(KeyError):
        async for _ in side_by_side(failing(), endless()):
            pass
    assert ended.is_set()
