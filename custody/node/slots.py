"""Slots: the number of running jobs, and its limit."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Slots:
    """A counter of running jobs. A job that waits for another party is ``outside``, without a slot.

    A job that returns does not wait for a free slot. So there may be more jobs than slots for a
    moment, and no new job is claimed until then.
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
        """Release a job's slot for the duration of this context."""
        self.give_back()
        try:
            yield
        finally:
            self.take()

    async def wait_until_busy_at_most(self, jobs: int) -> None:
        while self.busy > jobs:
            self._freed.clear()
            await self._freed.wait()
