"""What a daemon tells systemd: that it is ready, that it still works, and that it stops.

The protocol is that of sd_notify(3): a datagram of lines NAME=VALUE to the socket that the
environment names. Without the variable nothing is sent.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, MutableMapping

import structlog

SOCKET = "NOTIFY_SOCKET"
WATCHDOG_MICROSECONDS = "WATCHDOG_USEC"
WATCHDOG_PROCESS = "WATCHDOG_PID"
BEATS_IN_LIMIT = 3

log = structlog.get_logger()


class ServiceManager:
    """Sends a daemon's states to systemd.

    It takes the variables out of ``environment``, so that the daemon's child processes send none.
    """

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        self._address = _address(environment.pop(SOCKET, ""))
        limit = environment.pop(WATCHDOG_MICROSECONDS, "")
        process = environment.pop(WATCHDOG_PROCESS, "")
        is_watched = limit.isascii() and limit.isdigit() and process in ("", str(os.getpid()))
        self._limit_seconds = int(limit) / 1e6 if is_watched else 0.0

    @contextlib.asynccontextmanager
    async def told(self) -> AsyncIterator[None]:
        """Say that the daemon is ready, and that it works, until the context is left.

        The event loop sends each beat of the watchdog, so a daemon whose loop hangs is started
        again. A daemon that finishes its jobs after SIGTERM still works.
        """
        self.tell("READY=1")
        beats = asyncio.create_task(self._beat())
        try:
            yield
        finally:
            beats.cancel()

    def stopping(self) -> None:
        """Say that the daemon finishes what it has begun, and ends."""
        self.tell("STOPPING=1")

    def tell(self, state: str) -> None:
        """Send a state. A failure is logged: the daemon's work matters more."""
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
                sender.sendto(state.encode(), self._address)
        except OSError as error:
            log.warning("systemd was not told", state=state, error=error.strerror)

    async def _beat(self) -> None:
        while self._limit_seconds:
            self.tell("WATCHDOG=1")
            await asyncio.sleep(self._limit_seconds / BEATS_IN_LIMIT)


def _address(name: str) -> str | None:
    """Return a socket's address. ``@`` begins a name in the abstract namespace (unix(7))."""
    if name.startswith("@"):
        return "\0" + name[1:]
    return name if name.startswith("/") else None
