"""Shared round trips: items that are ready together travel together. No item waits for a timer."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")

DEFAULT_MAX_BATCH = 256


class Batcher(Generic[Item, Answer]):
    """Calls ``run`` with the items submitted while its previous call was under way.

    ``run`` takes a non-empty list and returns the answers in the same order. An answer that is an
    exception is raised to the submitter of its item only. If ``run`` itself raises, every submitter
    of the batch gets that error. A single item is sent at once, so batching adds no latency.
    """

    def __init__(
        self,
        run: Callable[[list[Item]], Awaitable[list[Answer | Exception]]],
        max_batch: int = DEFAULT_MAX_BATCH,
    ) -> None:
        self._run = run
        self._max_batch = max_batch
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def submit(self, item: Item) -> Answer:
        """Return the answer for one item.

        Cancelling the caller removes its item if the batch has not begun. Otherwise the batch
        finishes for the other submitters.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._worker is None:
            self._worker = asyncio.create_task(self._drain())
        return await future

    async def _drain(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(0)  # lets every other task that is ready submit its item first
                wanted = [entry for entry in self._waiting if not entry[1].done()]
                batch, self._waiting = wanted[: self._max_batch], wanted[self._max_batch :]
                if batch:
                    await self._run_batch(batch)
        finally:
            # Empty unless this task is cancelled. Without this, the waiting submitters would hang.
            for _, future in self._waiting:
                future.cancel()
            self._waiting = []
            self._worker = None

    async def _run_batch(self, batch: list[tuple[Item, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._run([item for item, _ in batch])
            if len(answers) != len(batch):
                raise RuntimeError(f"{len(answers)} answers to a batch of {len(batch)}")
        except Exception as error:
            answers = [error] * len(batch)
        except asyncio.CancelledError:
            for _, future in batch:
                future.cancel()
            raise
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
