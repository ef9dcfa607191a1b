"""Slots: how many jobs are under way, and how many may be."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Slots:
    """Jobs that wait for somebody else stand ``outside``, and hold nobody up.

    One that comes back in does not wait for a free slot: for a moment there may be more jobs than
    slots, and no new one is taken until that is over.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.busy = 0
        self._freed = asyncio.Event()

    def take(self) -> None:
        self.busy += 1

    def give_back(self) -> None:
        self.busy -= 1
        self._freed.set()

    @contextmanager
    def outside(self) -> Iterator[None]:
        """For a job that holds a slot: give it back for as long as this lasts."""
        self.give_back()
        try:
            yield
        finally:
            self.take()

    async def wait_until_busy_at_most(self, jobs: int) -> None:
        while self.busy > jobs:
            self._freed.clear()
            await self._freed.wait()
