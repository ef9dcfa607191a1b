"""One worker as the daemon sees it: a process behind a socket, killed when it passes a deadline."""

import array
import asyncio
import fcntl
import os
import signal
import socket
import sys
import termios
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar, cast

import structlog

from custody.pkcs11.messages import (
    HEADER,
    MAX_FRAME,
    Answers,
    Asking,
    Hello,
    Message,
    Operation,
    Operations,
    Ready,
    StartAnswer,
    StartFailed,
    frame,
)

WORKER_MODULE = "custody.pkcs11.worker"
STDERR = 2
REAP_SECONDS = 2.0
"""How long a killed process may take to end. A device driver can hold the process back."""

log = structlog.get_logger()

Item = TypeVar("Item")


class WorkerGone(Exception):
    """The process has ended, or was killed because it hung; the text says which."""


class SlotHung(WorkerGone):
    """The worker was killed while it waited for the answer of one slot of the module."""

    def __init__(self, slot: int) -> None:
        super().__init__(f"got no answer from slot {slot}")
        self.slot = slot


class StartRefused(Exception):
    """The worker itself said why it cannot work."""

    def __init__(self, failure: StartFailed) -> None:
        super().__init__(failure.what)
        self.failure = failure


class WorkerProcess(asyncio.Protocol, Generic[Item]):
    """One worker process. ``Item`` stands for a message of operations that was sent to it.

    Answers come in the order in which the items were sent. Start the process from a thread that
    lives as long as the daemon: the kernel ends the process when that thread ends
    (PR_SET_PDEATHSIG). The process leads a process group. A vendor's library may fork children,
    and these inherit the socket: so the end of the process counts, not the end of the socket. When
    the process ends, its children are killed.
    """

    def __init__(self, deadline_seconds: float, module: str = WORKER_MODULE) -> None:
        """``module`` is the worker's entry point."""
        self._deadline_seconds = deadline_seconds
        self._module = module
        self._received = bytearray()
        self._asked_slot: int | None = None
        self._slot_seconds = deadline_seconds
        self._timer: asyncio.TimerHandle | None = None
        self._started: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.WriteTransport | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._watching: asyncio.Task[None] | None = None
        self._swept = False
        self.outstanding: deque[Item] = deque()
        self._counts: deque[int] = deque()
        """The number of operations in each message that has no answer yet."""
        self.hung = False
        self.idle_since = 0.0
        """Time of the loop's clock at which the worker had answered everything."""
        self.gone = asyncio.Event()
        self.on_answers: Callable[[Item, Answers], None] | None = None

    async def start(
        self, hello: Hello, deadline_seconds: float, slot_seconds: float | None = None
    ) -> Ready:
        """Spawn, log in, prove. Raises StartRefused or WorkerGone; the process is gone then.

        ``slot_seconds``: how long one slot may take to answer; SlotHung after that.
        """
        if self._process is not None:
            await self._begin_again()
        self._slot_seconds = slot_seconds or deadline_seconds
        try:
            await self._spawn()
            self._write(hello)
            async with asyncio.timeout(deadline_seconds):
                return await self._started
        except TimeoutError:
            await self.stop()
            if self._asked_slot is not None:
                raise SlotHung(self._asked_slot) from None
            raise WorkerGone(f"did not log in within {deadline_seconds:g} s") from None
        except BaseException:
            await self.stop()
            raise

    async def _begin_again(self) -> None:
        """Forget a start that has failed."""
        if self._transport is not None:
            await self.gone.wait()
        self._received.clear()
        self._transport = self._process = self._asked_slot = None
        self._swept = False
        self._started = asyncio.get_running_loop().create_future()
        self.gone = asyncio.Event()

    async def _spawn(self) -> None:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-P",  # nothing is imported from the folder that the daemon was started in
                    "-m",
                    self._module,
                    str(theirs.fileno()),
                    str(os.getpid()),
                    pass_fds=(theirs.fileno(),),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=STDERR,  # what a vendor's library prints must not get into our output
                    start_new_session=True,
                )
            await asyncio.get_running_loop().create_connection(lambda: self, sock=ours)
        except OSError as error:
            raise WorkerGone(f"could not be started: {error.strerror}") from None
        finally:
            if self._transport is None:
                ours.close()
        self._watching = asyncio.create_task(self._watch(self._process))

    @property
    def process_id(self) -> int | None:
        return None if self._process is None else self._process.pid

    def send(self, item: Item, operations: list[Operation]) -> None:
        """Send operations. Their deadline starts when the worker has answered the items before."""
        self.outstanding.append(item)
        self._counts.append(len(operations))
        if len(self.outstanding) == 1:
            self._start_timer()
        self._write(Operations.model_construct(operations=operations))

    async def finish(self) -> None:
        """Let an idle worker destroy its cached keys and end. ``stop`` kills it if it hangs."""
        if self._process is not None and self._transport is not None and not self.outstanding:
            self._transport.close()
            with suppress(TimeoutError):
                async with asyncio.timeout(REAP_SECONDS):
                    await self._process.wait()
        await self.stop()

    async def stop(self) -> None:
        """Kill the process and its children, and reap the process."""
        if self._timer is not None:
            self._timer.cancel()
        self._started.cancel()
        self._kill()
        if self._process is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(REAP_SECONDS):
                    await self._process.wait()
            if self._process.returncode is None:
                log.error("a killed hsm worker does not end", pid=self._process.pid)
        if self._watching is not None:
            self._watching.cancel()

    async def ended(self) -> str:
        """Wait until the process has ended, or was killed; how it ended, in words."""
        await self.gone.wait()
        await self.stop()
        code = None if self._process is None else self._process.returncode
        if self.hung:
            return f"passed its deadline of {self._deadline_seconds:g} s and was killed"
        if code is None:
            return "was killed and has not ended"
        if code < 0:
            return f"ended by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A socket's transport can be written to; uvloop's transport is not a subclass of asyncio's.
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while len(self._received) >= HEADER.size:
            (size,) = HEADER.unpack_from(self._received)
            if size > MAX_FRAME:
                self._kill()
                return
            end = HEADER.size + size
            if len(self._received) < end:
                return
            body = bytes(self._received[HEADER.size : end])
            del self._received[:end]
            self._message(body)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name
        if self._timer is not None:
            self._timer.cancel()
        if not self._started.done():
            self._started.set_exception(WorkerGone("ended while it was logging in"))
        self.gone.set()

    def _message(self, body: bytes) -> None:
        try:
            if not self._started.done():
                self._first_message(StartAnswer.model_validate_json(body).started)
                return
            answers = Answers.model_validate_json(body)
        except ValueError:
            self._kill()  # not the protocol: whatever it is now, it is not to be trusted
            return
        if not self.outstanding:
            self._kill()
            return
        if len(answers.answers) != self._counts[0]:
            self._kill()  # the operations without an answer are blamed for the end
            return
        self._counts.popleft()
        item = self.outstanding.popleft()
        if self._timer is not None:
            self._timer.cancel()
        if self.outstanding:
            self._start_timer()
        else:
            self.idle_since = asyncio.get_running_loop().time()
        if self.on_answers is not None:
            self.on_answers(item, answers)

    def _first_message(self, started: Ready | StartFailed | Asking) -> None:
        if isinstance(started, Asking):
            self._ask(started)
        elif isinstance(started, Ready):
            self.idle_since = asyncio.get_running_loop().time()
            self._started.set_result(started)
        else:
            self._started.set_exception(StartRefused(started))

    def _ask(self, asking: Asking) -> None:
        self._asked_slot = asking.slot
        if self._timer is not None:
            self._timer.cancel()
        if asking.skipped:
            log.warning("slots of the HSM's module skipped", why=asking.skipped)
        if asking.slot is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._slot_seconds, self._pass_slot, asking.slot)

    def _pass_slot(self, slot: int) -> None:
        if not self._started.done():
            self._started.set_exception(SlotHung(slot))

    def _start_timer(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._deadline_seconds, self._pass_deadline)

    def _pass_deadline(self) -> None:
        self.hung = True
        self._kill()

    def _kill(self) -> None:
        """Kill the process and its children, and wait for nothing more from them."""
        if self._process is not None and not self._swept:
            # Once the process has been reaped, its number is not used again while a child has it
            # as its process group, but it may be used again after this.
            self._swept = self._process.returncode is not None
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        if self._transport is not None:
            self._transport.abort()

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        """Close the socket after the process has ended and its last messages have been read."""
        await process.wait()
        while self._has_unread():  # noqa: ASYNC110 - the loop reads it, in its next round
            await asyncio.sleep(0)
        self._kill()

    def _has_unread(self) -> bool:
        if self._transport is None or self._transport.is_closing():
            return False
        unread = array.array("i", [0])
        descriptor = self._transport.get_extra_info("socket").fileno()
        fcntl.ioctl(descriptor, termios.FIONREAD, unread)
        return unread[0] > 0

    def _write(self, message: Message) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame(message))
