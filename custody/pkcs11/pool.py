"""The workers: who does what, and what happens to an operation whose worker ends."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import ceil

import structlog

from custody.pkcs11.errors import BY_CODE, HsmCrashed, HsmFailure, HsmTimeout, HsmUnavailable
from custody.pkcs11.launch import launch
from custody.pkcs11.messages import Answer, Failure, Lost, Operation, Ready
from custody.pkcs11.settings import HsmSettings
from custody.pkcs11.worker_process import WORKER_MODULE, WorkerProcess
from custody.runtime.errors import OperatorError

MAX_GROUP = 8
"""Operations a worker does before it answers: enough to make the messages' cost small, few enough
that the others' answers are not kept waiting."""
MAX_OUTSTANDING = 2
"""Groups sent to a worker: it begins the second at once when it has answered the first."""
ENDS_ALONE = 2
"""So often an operation may end a worker that did nothing else."""
FIRST_BACKOFF_SECONDS = 0.5
LAST_BACKOFF_SECONDS = 30.0
SETTLED_SECONDS = 10.0
"""A worker that lived this long, or that ended over its work, is replaced at once."""

log = structlog.get_logger()


@dataclass(eq=False)
class Task:
    """An operation and its caller's future. ``require_wanted`` raises once it is not wanted."""

    operation: Operation
    answer: asyncio.Future[Answer]
    require_wanted: Callable[[], None] | None = None
    alone: bool = False
    ended_workers: int = 0

    def is_wanted(self) -> bool:
        """Whether to send it to a worker: somebody waits for it, and its time is not over."""
        if self.answer.done():
            return False
        try:
            if self.require_wanted is not None:
                self.require_wanted()
        except Exception as error:
            self.answer.set_exception(error)
            return False
        return True


Batch = list[Task]
Worker = WorkerProcess[Batch]


class Pool:
    """Keeps the configured number of workers alive and shares the operations out among them."""

    def __init__(self, settings: HsmSettings, worker_module: str = WORKER_MODULE) -> None:
        self._settings = settings
        self._worker_module = worker_module
        self._ready: deque[Task] = deque()
        self._suspects: deque[Task] = deque()
        self._workers: list[Worker] = []
        self._keepers: list[asyncio.Task[None]] = []
        self._replacing = asyncio.Lock()
        self._known: Ready | None = None
        self._dispatching = False
        self._problem: str | None = "not started"

    async def start(self) -> Ready:
        """Log in with one worker alone, then begin the others. Raises OperatorError."""
        worker = self._new_worker()
        self._known = await launch(self._settings, worker)
        self._add(worker)
        self._keepers = [
            asyncio.create_task(self._keep(worker if seat == 0 else None))
            for seat in range(self._settings.workers)
        ]
        return self._known

    async def close(self) -> None:
        """End every worker; what is not answered fails with HsmUnavailable."""
        self._problem = "the driver is stopping"
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        workers, self._workers = self._workers, []
        await asyncio.gather(*(worker.stop() for worker in workers))
        for worker in workers:
            for batch in worker.outstanding:
                self._ready.extend(batch)
        self._fail_waiting()

    @property
    def problem(self) -> str | None:
        """Why nothing can run at present; None while a worker lives."""
        return None if self._workers else self._problem

    @property
    def alive(self) -> int:
        return len(self._workers)

    @property
    def process_ids(self) -> list[int]:
        return [pid for worker in self._workers if (pid := worker.process_id) is not None]

    async def run(
        self, operation: Operation, require_wanted: Callable[[], None] | None = None
    ) -> Answer:
        """The worker's answer. Raises HsmFailure, and what ``require_wanted`` raises.

        That is called whenever the operation is about to be sent to a worker.
        """
        if not self._workers and self._problem is not None:
            raise HsmUnavailable(f"the HSM cannot be used at present: {self._problem}")
        task = Task(operation, asyncio.get_running_loop().create_future(), require_wanted)
        self._ready.append(task)
        self._dispatch_soon()
        answer = await task.answer
        if isinstance(answer, Failure):
            raise BY_CODE.get(answer.code, HsmFailure)(answer.reason)
        return answer

    # Sharing out

    def _dispatch_soon(self) -> None:
        """Once everything that is ready at this moment has got in."""
        if not self._dispatching:
            self._dispatching = True
            asyncio.get_running_loop().call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._dispatching = False
        while self._ready or self._suspects:
            worker = self._freest()
            if worker is None:
                return
            batch = self._take()
            if batch:
                worker.send(batch, [task.operation for task in batch])

    def _freest(self) -> Worker | None:
        worker = min(self._workers, key=lambda worker: len(worker.outstanding), default=None)
        if worker is None or len(worker.outstanding) >= MAX_OUTSTANDING:
            return None
        return worker

    def _take(self) -> Batch:
        """A suspect alone, or this worker's share of what is ready."""
        while self._suspects:
            task = self._suspects.popleft()
            if task.is_wanted():
                return [task]
        share = min(MAX_GROUP, ceil(len(self._ready) / max(1, len(self._workers))))
        taken = [self._ready.popleft() for _ in range(share)]
        return [task for task in taken if task.is_wanted()]

    def _answered(self, worker: Worker, batch: Batch, answers: list[Answer]) -> None:
        if any(isinstance(answer, Lost) for answer in answers):
            self._retire(worker)
        for task, answer in zip(batch, answers, strict=True):
            if isinstance(answer, Lost):
                self._again(task, HsmUnavailable(f"the HSM's session was lost: {answer.reason}"))
            elif not task.answer.done():
                task.answer.set_result(answer)
        self._dispatch_soon()

    # When a worker ends

    def _retire(self, worker: Worker) -> None:
        """Its session is lost and it is ending itself: what it has not begun is done by others."""
        if worker in self._workers:
            self._workers.remove(worker)
        self._give_back(worker)

    def _give_back(self, worker: Worker) -> None:
        for batch in reversed(worker.outstanding):
            self._ready.extendleft(reversed(batch))
        worker.outstanding.clear()

    def _again(self, task: Task, verdict: HsmFailure) -> None:
        """Run it again, alone; the verdict stands once it has ended its workers too often."""
        if task.alone:
            task.ended_workers += 1
        task.alone = True
        if task.ended_workers < ENDS_ALONE:
            self._suspects.append(task)
        elif not task.answer.done():
            task.answer.set_exception(verdict)

    def _bury(self, worker: Worker, how: str) -> None:
        """Blame the group that was under way; those behind it are as they were."""
        if worker in self._workers:
            self._workers.remove(worker)
        if worker.outstanding:
            suspects = worker.outstanding.popleft()
            for task in suspects:
                task.alone = task.alone or len(suspects) == 1
                self._blame(task, worker, how)
        self._give_back(worker)
        self._dispatch_soon()

    def _blame(self, task: Task, worker: Worker, how: str) -> None:
        if not worker.hung:
            self._again(task, HsmCrashed(f"this operation alone ended its worker twice: {how}"))
        elif not task.alone:
            self._again(task, HsmTimeout(how))
        elif not task.answer.done():
            seconds = self._settings.deadline_seconds
            task.answer.set_exception(HsmTimeout(f"the HSM did not answer within {seconds:g} s"))

    def _fail_waiting(self) -> None:
        reason = f"the HSM cannot be used at present: {self._problem}"
        for task in (*self._suspects, *self._ready):
            if not task.answer.done():
                task.answer.set_exception(HsmUnavailable(reason))
        self._suspects.clear()
        self._ready.clear()

    # Keeping workers alive

    def _new_worker(self) -> Worker:
        worker: Worker = WorkerProcess(self._settings.deadline_seconds, self._worker_module)
        worker.on_answers = partial(self._answered, worker)
        return worker

    def _add(self, worker: Worker) -> None:
        self._workers.append(worker)
        self._problem = None
        self._dispatch_soon()

    async def _keep(self, worker: Worker | None) -> None:
        """One seat: whenever its worker ends, another takes its place."""
        backoff = 0.0
        while True:
            if worker is None:
                await asyncio.sleep(backoff)
                worker = await self._replace()
            if worker is None:
                backoff = min(LAST_BACKOFF_SECONDS, max(FIRST_BACKOFF_SECONDS, backoff * 2))
                continue
            try:
                backoff = await self._see_out(worker)
            except Exception:
                log.exception("hsm worker lost", pid=worker.process_id)
                self._bury(worker, "could not be looked after")
                backoff = FIRST_BACKOFF_SECONDS
            worker = None

    async def _see_out(self, worker: Worker) -> float:
        """Wait for a worker's end and bury it. Returns the seconds until the next may begin."""
        loop = asyncio.get_running_loop()
        born = loop.time()
        how = await worker.ended()
        log.warning("hsm worker ended", pid=worker.process_id, how=how)
        at_work = bool(worker.outstanding)
        self._bury(worker, how)
        settled = loop.time() - born >= SETTLED_SECONDS
        return 0.0 if at_work or settled else FIRST_BACKOFF_SECONDS

    async def _replace(self) -> Worker | None:
        """One login at a time: a PIN that has just been refused is not tried by the next seat."""
        worker = self._new_worker()
        async with self._replacing:
            try:
                await launch(self._settings, worker, known=self._known)
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
        """Nobody waits for a worker that does not come, unless another is there."""
        if not self._workers:
            self._problem = problem
            self._fail_waiting()
