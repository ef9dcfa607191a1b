"""The HSM as a daemon sees it: operations, done by worker processes that are kept alive."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import structlog

from custody.pkcs11.errors import HsmFailure, HsmUnavailable, SchemeUnsupported, raise_failure
from custody.pkcs11.fault_records import record_faults
from custody.pkcs11.launch import launch
from custody.pkcs11.messages import (
    Answer,
    Answers,
    Failure,
    Generate,
    Generated,
    KeepAlive,
    KeyProof,
    KnownKey,
    Lost,
    Operation,
    Ready,
    Seal,
    Sealed,
    Sign,
    Signed,
    Stranger,
    Unseal,
    Unsealed,
)
from custody.pkcs11.metrics import HSM_WORKERS, HSM_WORKERS_CONFIGURED, HSM_WORKERS_ENDED
from custody.pkcs11.settings import HsmSettings
from custody.pkcs11.work_queue import Batch, PendingOperation, WorkQueue
from custody.pkcs11.worker_process import WORKER_MODULE, WorkerProcess
from custody.pkcs11.wrapped_key import WrappedKey
from custody.runtime.errors import OperatorError
from custody.wire.algorithms import Algorithm, Protection

MAX_OUTSTANDING = 2
"""Batches sent to one worker: the worker begins the second when it has answered the first."""
FIRST_BACKOFF_SECONDS = 0.5
LAST_BACKOFF_SECONDS = 30.0
SETTLED_SECONDS = 10.0
"""A worker that lived this long is replaced at once, and so is a worker that ended at work."""

log = structlog.get_logger()

Worker = WorkerProcess[Batch]
Expected = TypeVar("Expected", bound=Answer)


class Hsm:
    """Does operations in worker processes, and replaces the workers that end.

    Every failure of an operation is an HsmFailure, which a job reports unchanged.
    """

    def __init__(self, settings: HsmSettings, worker_module: str = WORKER_MODULE) -> None:
        """``worker_module`` is the entry point of the worker processes."""
        self._settings = settings
        self._worker_module = worker_module
        self._queue = WorkQueue()
        self._workers: list[Worker] = []
        self._keepers: list[asyncio.Task[None]] = []
        self._replacing = asyncio.Lock()
        self._found: Ready | None = None
        self._dispatching = False
        self._problem: str | None = "not started"
        self._failed_start: str | None = None
        self._last_end = ""

    async def start(self, known: Sequence[KnownKey] = (), *, accept_new: bool = True) -> None:
        """Log in with one worker, then start the others.

        ``known``: the keys that the database knows. Only these are used, and with ``accept_new``
        also others, which the database may then learn.

        Raises OperatorError when the module, the token, the PIN or the master key is not usable.
        """
        HSM_WORKERS_CONFIGURED.set(self._settings.workers)
        worker = self._new_worker()
        self._found = await launch(self._settings, worker, keys=known, accept_new=accept_new)
        self._add(worker)
        self._keepers = [
            asyncio.create_task(self._keep(worker if seat == 0 else None))
            for seat in range(self._settings.workers)
        ]

    async def close(self) -> None:
        """End every worker. Operations that have no answer yet fail with HsmUnavailable."""
        self._problem = "the driver is stopping"
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        workers, self._workers = self._workers, []
        caches = self._settings.cached_keys > 0
        await asyncio.gather(*(each.finish() if caches else each.stop() for each in workers))
        for worker in workers:
            self._queue.give_back(worker.outstanding)
        self._queue.fail_all(self._problem)

    @property
    def problem(self) -> str | None:
        """Return why no operation is possible now; None while at least one worker is ready.

        Operations may still wait for a worker that is about to be replaced.
        """
        if self._workers:
            return None
        return self._problem or f"no worker is logged in: the last one {self._last_end}"

    @property
    def shortage(self) -> str | None:
        """Return why fewer workers run than configured; None while none has failed to start."""
        if self._failed_start is None or not self._workers:
            return None
        return f"{self.workers} of {self._settings.workers} workers: {self._failed_start}"

    @property
    def workers(self) -> int:
        """Return the number of workers that are logged in."""
        return len(self._workers)

    @property
    def worker_process_ids(self) -> list[int]:
        """Return the process ids of the workers that are logged in."""
        return [pid for worker in self._workers if (pid := worker.process_id) is not None]

    async def capabilities(self) -> dict[Algorithm, Protection]:
        """Return the algorithms of this token. The first worker has tried each."""
        return {each.algorithm: each.protection for each in self._started().capabilities}

    async def check_values(self) -> dict[str, bytes]:
        """Return the 32-byte check value of every master key on the token, by the key's name.

        Master keys that were added after ``start`` are neither in the answer nor used. Every worker
        proves these same values before it does anything, so the caller compares them once.
        """
        return dict(self._started().check_values)

    async def proofs(self) -> dict[str, KeyProof]:
        """Return the proof that each master key has opened, by the key's name."""
        return dict(self._started().proofs)

    async def new_proofs(self) -> dict[str, KeyProof]:
        """Return the proofs that the database does not have."""
        started = self._started()
        return {name: started.proofs[name] for name in started.new_proofs}

    async def weak(self) -> dict[str, str]:
        """Return why keys are weaker than the token could make them, by name: they are accepted."""
        return dict(self._started().weak)

    async def strangers(self) -> list[Stranger]:
        """Return the token's keys under our labels that are not used."""
        return list(self._started().strangers)

    async def generate(self, algorithm: Algorithm) -> WrappedKey:
        """Make a key, wrapped by the newest master key. Raises HsmFailure."""
        if algorithm not in await self.capabilities():
            raise SchemeUnsupported(f"this node has no way to make {algorithm} keys")
        answer = await self._run(Generate.model_construct(algorithm=algorithm), Generated)
        return answer.key

    async def sign(
        self,
        key: WrappedKey,
        data: bytes,
        *,
        not_after: float | None = None,
        require_wanted: Callable[[], None] | None = None,
    ) -> bytes:
        """Return r and s, 32 bytes each, which nobody has verified yet.

        ``data``: ECDSA's digest, or Ed25519's message. ``require_wanted`` is called right before
        the operation is sent to a worker, and what it raises is raised here. ``not_after``, in
        seconds since 1970: the worker does not begin after it. Raises HsmFailure; Denied (TooLate)
        after ``not_after``.
        """
        sign = Sign.model_construct(key=key, data=data, not_after=not_after)
        return (await self._run(sign, Signed, require_wanted)).signature

    async def seal(self, master_key: str, secret: bytes, associated_data: bytes) -> bytes:
        """Encrypt a secret with the named key for host signing. Raises HsmFailure."""
        seal = Seal(master_key=master_key, secret=secret, associated_data=associated_data)
        return (await self._run(seal, Sealed)).sealed

    async def unseal(self, master_key: str, sealed: bytes, associated_data: bytes) -> bytes:
        """Decrypt what ``seal`` returned. Raises HsmFailure: KeyUnusable for any other input."""
        unseal = Unseal(master_key=master_key, sealed=sealed, associated_data=associated_data)
        return (await self._run(unseal, Unsealed)).secret

    def _started(self) -> Ready:
        if self._found is None:
            raise RuntimeError("the HSM is not started")
        return self._found

    async def _run(
        self,
        operation: Operation,
        expected: type[Expected],
        require_wanted: Callable[[], None] | None = None,
    ) -> Expected:
        """Have a worker do an operation. Raises HsmFailure, and what ``require_wanted`` raises."""
        if not self._workers and self._problem is not None:
            raise HsmUnavailable(f"the HSM cannot be used at present: {self._problem}")
        pending = PendingOperation(
            operation, asyncio.get_running_loop().create_future(), require_wanted
        )
        self._queue.add(pending)
        self._dispatch_soon()
        answer = await pending.answer
        if isinstance(answer, Failure):
            raise_failure(answer)
        if not isinstance(answer, expected):
            raise HsmFailure(f"the worker answered with {answer.kind!r}")
        return answer

    # Distribution to the workers

    def _dispatch_soon(self) -> None:
        """Dispatch after all that is ready now has been queued, so that it goes out together."""
        if not self._dispatching:
            self._dispatching = True
            asyncio.get_running_loop().call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._dispatching = False
        while self._queue:
            worker = self._freest()
            if worker is None:
                return
            batch = self._queue.take(len(self._workers))
            if batch:
                worker.send(batch, [pending.operation for pending in batch])

    def _freest(self) -> Worker | None:
        worker = min(self._workers, key=lambda worker: len(worker.outstanding), default=None)
        if worker is None or len(worker.outstanding) >= MAX_OUTSTANDING:
            return None
        return worker

    def _answered(self, worker: Worker, batch: Batch, message: Answers) -> None:
        record_faults(worker.process_id, message)
        is_lost = any(isinstance(answer, Lost) for answer in message.answers)
        if is_lost or message.ends_because is not None:
            # the worker is ending itself; other workers do what it has not begun
            self._last_end = "lost its session"
            self._remove(worker)
        for pending, answer in zip(batch, message.answers, strict=True):
            if isinstance(answer, Lost):
                failure = HsmUnavailable(f"the HSM's session was lost: {answer.reason}")
                self._queue.retry_alone(pending, failure)
            else:
                pending.resolve(answer)
        self._dispatch_soon()

    # Workers that end

    def _remove(self, worker: Worker) -> None:
        """Send no more to a worker, and give others what the worker has not answered."""
        if worker in self._workers:
            self._workers.remove(worker)
            HSM_WORKERS.set(len(self._workers))
        self._queue.give_back(worker.outstanding)
        worker.outstanding.clear()

    def _ended(self, worker: Worker, how: str) -> None:
        """Blame the batch that the worker was doing, and give others the batches behind it."""
        self._last_end = how
        HSM_WORKERS_ENDED.inc()
        if worker.outstanding:
            batch = worker.outstanding.popleft()
            hung_seconds = self._settings.deadline_seconds if worker.hung else None
            self._queue.blame(batch, how, hung_seconds)
        self._remove(worker)
        self._dispatch_soon()

    def _new_worker(self) -> Worker:
        worker: Worker = WorkerProcess(self._settings.deadline_seconds, self._worker_module)
        worker.on_answers = partial(self._answered, worker)
        return worker

    def _add(self, worker: Worker) -> None:
        self._workers.append(worker)
        HSM_WORKERS.set(len(self._workers))
        self._problem = None
        if len(self._workers) == self._settings.workers:
            self._failed_start = None
        self._dispatch_soon()

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
                self._ended(worker, "could not be looked after")
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
        log.warning("hsm worker ended", pid=worker.process_id, how=how)
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
            left = worker.idle_since + self._settings.keepalive_seconds - loop.time()
            if worker.outstanding or left > 0:
                await asyncio.sleep(left if left > 0 else self._settings.keepalive_seconds)
                continue
            pending = PendingOperation(KeepAlive(), loop.create_future(), alone=True)
            worker.send([pending], [pending.operation])
            try:
                await asyncio.wait([pending.answer])
            finally:
                if not pending.answer.cancel() and not pending.answer.cancelled():
                    pending.answer.exception()  # the worker's end is told elsewhere

    async def _replace(self) -> Worker | None:
        """Start a worker; None when it cannot work.

        Only one logs in at a time, so that a PIN that was just refused is not tried again.
        """
        worker = self._new_worker()
        async with self._replacing:
            try:
                await launch(self._settings, worker, known=self._found)
            except OperatorError as error:
                log.error("hsm worker cannot start", what=error.what, todo=error.todo)
                self._without_worker(error.what)
                return None
            except Exception:
                log.exception("hsm worker cannot start")
                self._without_worker("a worker could not be started; see the log")
                return None
        self._add(worker)
        return worker

    def _without_worker(self, problem: str) -> None:
        """Fail what waits, unless another worker can do it."""
        self._failed_start = problem
        if not self._workers:
            self._problem = problem
            self._queue.fail_all(problem)
