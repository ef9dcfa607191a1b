"""Operations that wait for a worker, and what becomes of them when a worker ends."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import ceil

from custody.pkcs11.errors import HsmCrashed, HsmFailure, HsmTimeout, HsmUnavailable
from custody.pkcs11.messages import Answer, Operation

MAX_BATCH = 8
"""The most operations that a worker does before it answers.

Enough to make the cost of the messages small, few enough to keep no finished answer waiting long.
"""
MAX_CRASHES = 2
"""How many times an operation may crash its worker before the operation is failed."""


@dataclass(eq=False)
class PendingOperation:
    """An operation, and the future of the caller that waits for its answer.

    ``require_wanted`` raises once nobody wants the result. ``alone``: the operation is in no batch
    with others, because it may have ended its worker. ``crashes``: the workers that ended while
    they did this operation alone. ``lost_at``: the token at which the last of them worked.
    ``stays``: the operation is about one token, so it fails with its worker and is not repeated.
    ``foreign``: it also works on bytes that a stranger chose, which may have ended the worker. So
    its caller must not repeat it either.
    """

    operation: Operation
    answer: asyncio.Future[Answer]
    require_wanted: Callable[[], None] | None = None
    alone: bool = False
    crashes: int = 0
    lost_at: str | None = None
    stays: bool = False
    foreign: bool = False

    def is_wanted(self) -> bool:
        """Return whether a caller still waits for the operation and its time is not over."""
        if self.answer.done():
            return False
        try:
            if self.require_wanted is not None:
                self.require_wanted()
        except Exception as error:
            self.answer.set_exception(error)
            return False
        return True

    def resolve(self, answer: Answer) -> None:
        """Give the caller its answer, if the caller still waits."""
        if not self.answer.done():
            self.answer.set_result(answer)

    def fail(self, failure: HsmFailure) -> None:
        """Raise the failure at the caller, if the caller still waits."""
        if not self.answer.done():
            self.answer.set_exception(failure)


Batch = list[PendingOperation]


class WorkQueue:
    """Holds what no worker has yet. An operation that may have ended its worker runs alone."""

    def __init__(self) -> None:
        self._ready: deque[PendingOperation] = deque()
        self._suspects: deque[PendingOperation] = deque()

    def __bool__(self) -> bool:
        return bool(self._ready or self._suspects)

    def add(self, pending: PendingOperation) -> None:
        """Queue a new operation."""
        self._ready.append(pending)

    def lost_at(self) -> str | None:
        """Return the token at which the next operation was lost; None for a new operation."""
        return self._suspects[0].lost_at if self._suspects else None

    def take(self, workers: int) -> Batch:
        """Remove what the next worker is to do: a suspect alone, or its share of the others.

        ``workers``: how many workers share the queue. The batch is empty when nothing in it is
        wanted.
        """
        while self._suspects:
            suspect = self._suspects.popleft()
            if suspect.is_wanted():
                return [suspect]
        share = min(MAX_BATCH, ceil(len(self._ready) / max(1, workers)))
        taken = [self._ready.popleft() for _ in range(share)]
        return [pending for pending in taken if pending.is_wanted()]

    def give_back(self, batches: Iterable[Batch]) -> None:
        """Put batches that no worker has begun at the front, in their order."""
        for batch in reversed(list(batches)):
            for pending in reversed(batch):
                if pending.stays:
                    pending.fail(HsmUnavailable("the worker ended before it began this"))
                else:
                    self._ready.appendleft(pending)

    def retry_alone(self, pending: PendingOperation, failure: HsmFailure) -> None:
        """Have an operation done once more, alone. An operation that crashed too often fails."""
        if pending.stays:
            pending.fail(HsmUnavailable(failure.reason))
            return
        if pending.alone:
            pending.crashes += 1
        pending.alone = True
        if pending.crashes < MAX_CRASHES:
            self._suspects.append(pending)
        else:
            pending.fail(failure)

    def blame(
        self, batch: Batch, how: str, hung_seconds: float | None, *, elsewhere: bool = False
    ) -> None:
        """Find out which operation of a batch ended its worker, by doing each of them alone.

        ``how``: how the worker ended, in words. ``hung_seconds``: the deadline that a hung worker
        has passed; None for a crash. An operation that hung alone fails at once, unless another
        token can do it (``elsewhere``).
        """
        for pending in batch:
            pending.alone = pending.alone or len(batch) == 1
            if pending.foreign:
                pending.fail(HsmCrashed(f"this operation ended its worker: {how}"))
            elif hung_seconds is None:
                reason = f"this operation alone ended its worker twice: {how}"
                self.retry_alone(pending, HsmCrashed(reason))
            elif not pending.alone:
                self.retry_alone(pending, HsmTimeout(how))
            else:
                failure = HsmTimeout(f"the HSM did not answer within {hung_seconds:g} s")
                if elsewhere:
                    self.retry_alone(pending, failure)
                else:
                    pending.fail(failure)

    def fail_all(self, problem: str) -> None:
        """Fail everything that waits. ``problem``: why no worker can be had."""
        for pending in (*self._suspects, *self._ready):
            pending.fail(HsmUnavailable(f"the HSM cannot be used at present: {problem}"))
        self._suspects.clear()
        self._ready.clear()
