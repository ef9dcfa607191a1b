"""The workers of one token: logged in, kept alive, and replaced when they end."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Protocol

import structlog

from custody.pkcs11.errors import HsmUnavailable
from custody.pkcs11.fault_records import record_faults
from custody.pkcs11.launch import HsmCannotStart, found_before, launch
from custody.pkcs11.messages import Answers, KeepAlive, KnownKey, Lost, Obstacle, Ready
from custody.pkcs11.metrics import HSM_TOKEN_WORKERS, HSM_WORKERS_ENDED
from custody.pkcs11.settings import HsmSettings
from custody.pkcs11.token_difference import Difference, difference
from custody.pkcs11.work_queue import Batch, PendingOperation, WorkQueue
from custody.pkcs11.worker_process import WorkerProcess
from custody.runtime.errors import OperatorError

FIRST_BACKOFF_SECONDS = 0.5
LAST_BACKOFF_SECONDS = 30.0
SETTLED_SECONDS = 10.0
"""A worker that lived this long is replaced at once, and so is a worker that ended at work."""

log = structlog.get_logger()

Worker = WorkerProcess[Batch]


class TokenOwner(Protocol):
    """The Hsm as its tokens call it."""

    def workers_changed(self) -> None:
        """Count the workers again: one was added or removed."""

    def dispatch_soon(self) -> None:
        """Hand out the operations that wait."""

    def has_workers_elsewhere(self, token: "TokenWorkers") -> bool:
        """Return whether another token has a worker."""

    def fail_stranded(self) -> None:
        """Fail what waits, unless a token has a worker or is about to have one."""


class TokenWorkers:
    """The workers of one token. All tokens of an Hsm share one queue."""

    def __init__(
        self, settings: HsmSettings, worker_module: str, queue: WorkQueue, owner: TokenOwner
    ) -> None:
        self.settings = settings
        self.name = settings.token_name
        self.workers: list[Worker] = []
        self.problem: str | None = "not started"
        self.failed_start: str | None = None
        self.last_end = ""
        self._ready: Ready | None = None
        """What this token showed. None until it has shown the keys that all tokens must have."""
        self._expected: Ready | None = None
        self._worker_module = worker_module
        self._queue = queue
        self._owner = owner
        self._replacing = asyncio.Lock()
        self._keepers: list[asyncio.Task[None]] = []
        self._first: asyncio.Task[tuple[Worker, Ready]] | None = None

    def begin(
        self, known: Sequence[KnownKey] = (), *, accept_new: bool = True
    ) -> "asyncio.Task[tuple[Worker, Ready]]":
        """Start the first worker. It gets no operation before ``keep``.

        The returned task raises OperatorError when the token cannot be used.
        """
        self._first = asyncio.create_task(self._launch_first(known, accept_new=accept_new))
        return self._first

    def keep(self, expected: Ready) -> None:
        """Keep all workers alive from now on. The token must show the keys of ``expected``."""
        self._expected = expected
        self.problem = "it has not logged in yet"
        if self._is_first_good():
            self._take_first()
        seats = range(len(self.workers), self.settings.workers)
        self._keepers = [
            *(asyncio.create_task(self._keep(worker)) for worker in self.workers),
            *(asyncio.create_task(self._keep(None)) for _ in seats),
        ]

    async def close(self) -> list[Worker]:
        """Stop replacing workers, and return those that run."""
        tasks = [*self._keepers, *([] if self._first is None else [self._first])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._first is not None and not self._first.cancelled():
            await self._stop_unused_first()
        workers, self.workers = self.workers, []
        return workers

    @property
    def shortage(self) -> str | None:
        """Return why fewer workers run than configured; None while none has failed to start."""
        if self.failed_start is None:
            return None
        return f"{len(self.workers)} of {self.settings.workers} workers: {self.failed_start}"

    @property
    def absence(self) -> str | None:
        """Return why no worker of this token runs; None while at least one runs."""
        if self.workers:
            return None
        return self.problem or f"no worker is logged in: the last one {self.last_end}"

    # The first worker

    async def _launch_first(
        self, known: Sequence[KnownKey], *, accept_new: bool
    ) -> tuple[Worker, Ready]:
        worker = self._new_worker()
        return worker, await launch(self.settings, worker, keys=known, accept_new=accept_new)

    def _is_first_good(self) -> bool:
        return (
            self._first is not None
            and self._first.done()
            and not self._first.cancelled()
            and self._first.exception() is None
            and self._difference(self._first.result()[1]) is None
        )

    def _take_first(self) -> None:
        assert self._first is not None  # _is_first_good
        worker, self._ready = self._first.result()
        self._first = None
        self._add(worker)

    async def _settle_first(self) -> None:
        """Wait until the first worker has logged in or failed; use it, or stop it."""
        if self._first is None:
            return
        await asyncio.wait([self._first])
        if self._first is None:  # another keeper was faster
            return
        if self._is_first_good():
            self._take_first()
            return
        error = self._first.exception()
        differs = None if error is not None else self._difference(self._first.result()[1])
        await self._stop_unused_first()
        # A clone may have opened another of several proofs: _log_in asks it for the same proof.
        if differs is not Difference.PROOFS:
            self._failed(error or _other_keys(self, differs))

    async def _stop_unused_first(self) -> None:
        first, self._first = self._first, None
        if first is not None and first.exception() is None:
            await first.result()[0].stop()

    def _difference(self, ready: Ready) -> Difference | None:
        assert self._expected is not None  # asked after keep
        return difference(ready, self._expected)

    # Workers that end

    def _answered(self, worker: Worker, batch: Batch, message: Answers) -> None:
        record_faults(worker.process_id, message)
        is_lost = any(isinstance(answer, Lost) for answer in message.answers)
        if is_lost or message.ends_because is not None:
            # the worker ends itself; other workers do the operations that it has not begun
            self.last_end = "lost its session"
            self._remove(worker)
        for pending, answer in zip(batch, message.answers, strict=True):
            if isinstance(answer, Lost):
                pending.lost_at = self.name
                failure = HsmUnavailable(f"the HSM's session was lost: {answer.reason}")
                self._queue.retry_alone(pending, failure)
            else:
                pending.resolve(answer)
        self._owner.dispatch_soon()

    def _remove(self, worker: Worker) -> None:
        """Send no more to a worker, and give others what the worker has not answered."""
        if worker in self.workers:
            self.workers.remove(worker)
            self._count()
        self._queue.give_back(worker.outstanding)
        worker.outstanding.clear()

    def _ended(self, worker: Worker, how: str) -> None:
        """Blame the batch that the worker was doing, and give others the batches behind it."""
        self.last_end = how
        HSM_WORKERS_ENDED.inc()
        if worker.outstanding:
            batch = worker.outstanding.popleft()
            for pending in batch:
                pending.lost_at = self.name
            self._queue.blame(
                batch,
                how,
                self.settings.deadline_seconds if worker.hung else None,
                elsewhere=self._owner.has_workers_elsewhere(self),
            )
        self._remove(worker)
        self._owner.dispatch_soon()

    def _new_worker(self) -> Worker:
        worker: Worker = WorkerProcess(self.settings.deadline_seconds, self._worker_module)
        worker.on_answers = partial(self._answered, worker)
        return worker

    def _add(self, worker: Worker) -> None:
        self.workers.append(worker)
        self._count()
        self.problem = None
        if len(self.workers) == self.settings.workers:
            self.failed_start = None
        self._owner.dispatch_soon()

    def _count(self) -> None:
        HSM_TOKEN_WORKERS.labels(self.name).set(len(self.workers))
        self._owner.workers_changed()

    async def _keep(self, worker: Worker | None) -> None:
        """Keep one worker alive: start another whenever it ends."""
        backoff = 0.0
        while True:
            if worker is None:
                await asyncio.sleep(backoff)
                worker = await self._replace()
            if worker is None:
                backoff = min(LAST_BACKOFF_SECONDS, max(FIRST_BACKOFF_SECONDS, backoff * 2))
                continue
            try:
                backoff = await self._until_ended(worker)
            except Exception:
                log.exception("hsm worker lost", pid=worker.process_id)
                self._ended(worker, "was lost by a fault of the driver; see the log")
                backoff = FIRST_BACKOFF_SECONDS
            worker = None

    async def _until_ended(self, worker: Worker) -> float:
        """Wait until a worker ends. Returns the seconds to wait before the next one starts."""
        loop = asyncio.get_running_loop()
        started_at = loop.time()
        keeping = asyncio.create_task(self._keep_alive(worker))
        try:
            how = await worker.ended()
        finally:
            keeping.cancel()
        log.warning("hsm worker ended", token=self.name, pid=worker.process_id, how=how)
        at_work = bool(worker.outstanding)
        self._ended(worker, how)
        settled = loop.time() - started_at >= SETTLED_SECONDS
        return 0.0 if at_work or settled else FIRST_BACKOFF_SECONDS

    async def _keep_alive(self, worker: Worker) -> None:
        """Have a worker ask the HSM for something whenever it was idle for some time.

        Firewalls drop idle sessions without a word. And an HSM that has gone must be noticed while
        nobody asks for a signature. The worker ends itself if the HSM answers with an error, and
        is killed if the HSM does not answer.
        """
        loop = asyncio.get_running_loop()
        while True:
            left = worker.idle_since + self.settings.keepalive_seconds - loop.time()
            if worker.outstanding or left > 0:
                await asyncio.sleep(left if left > 0 else self.settings.keepalive_seconds)
                continue
            pending = PendingOperation(KeepAlive(), loop.create_future(), alone=True)
            worker.send([pending], [pending.operation])
            try:
                await asyncio.wait([pending.answer])
            finally:
                if not pending.answer.cancel() and not pending.answer.cancelled():
                    pending.answer.exception()  # the worker's end is told elsewhere

    async def _replace(self) -> Worker | None:
        """Start a worker and return it; None if it cannot start.

        Only one worker logs in at a time, so that a PIN that was just refused is not tried again.
        """
        async with self._replacing:
            if self._first is not None:
                before = len(self.workers)
                await self._settle_first()
                return self.workers[-1] if len(self.workers) > before else None
            worker = self._new_worker()
            try:
                await self._log_in(worker)
            except Exception as error:
                self._failed(error)
                return None
        self._add(worker)
        return worker

    async def _log_in(self, worker: Worker) -> None:
        """Log in with a worker that shows the keys of the first one. Raise OperatorError."""
        if self._ready is not None:
            await launch(self.settings, worker, known=self._ready)
            return
        assert self._expected is not None  # keepers run after keep
        keys = found_before(self._expected)
        ready = await launch(self.settings, worker, keys=keys, accept_new=False)
        if (differs := self._difference(ready)) is not None:
            await worker.stop()
            raise _other_keys(self, differs)
        self._ready = ready

    def _failed(self, error: BaseException) -> None:
        """Record why no worker could start. Fail what waits, unless another worker can do it."""
        if isinstance(error, OperatorError):
            log.error("hsm worker cannot start", token=self.name, what=error.what, todo=error.todo)
            self.failed_start = error.what
        else:
            log.error("hsm worker cannot start", token=self.name, exc_info=error)
            self.failed_start = "a worker could not be started; see the log"
        if not self.workers:
            self.problem = self.failed_start
            self._owner.fail_stranded()


def _other_keys(token: TokenWorkers, differs: Difference | None) -> HsmCannotStart:
    return HsmCannotStart(
        f"the token {token.name!r} is not used: {differs}",
        "Clone or restore the newest master keys to it: docs/how-to/several-tokens.md.",
        Obstacle.MASTER_KEY,
    )
