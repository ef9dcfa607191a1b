"""HTTP listeners inside a process that also does other work."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from custody.runtime.acceptor import Acceptor, Connections, Place
from custody.runtime.errors import OperatorError
from custody.runtime.http_limits import HttpLimits
from custody.runtime.limited_protocol import Config, LimitedProtocol
from custody.runtime.live_tls import LiveTls

START_SECONDS = 15
STOP_SECONDS = 30
CLOSE_SECONDS = 1
"""Seconds that a connection without a request gets to close in order."""


class Listener:
    """One ASGI application on one address; the process itself handles signals."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Bind and serve. Return the port. Raise OperatorError if the address is in use."""
        try:
            bound = self._config.bind_socket()
        except SystemExit:  # how uvicorn says that it cannot bind
            raise OperatorError(
                f"cannot listen on {self._config.host}:{self._config.port}",
                "Free that port, or name another one in the configuration.",
            ) from None
        self._task = asyncio.create_task(self._server.serve(sockets=[bound]))
        listening = asyncio.create_task(self._server.listening.wait())
        await asyncio.wait(
            [listening, self._task], timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        listening.cancel()
        if self._task.done():
            self._task.result()
        port: int = bound.getsockname()[1]
        return port

    async def stop(self) -> None:
        """Stop accepting, and wait for the pending requests."""
        if self._task is not None:
            self._server.should_exit = True
            await asyncio.wait([self._task], timeout=STOP_SECONDS)


class _Server(uvicorn.Server):
    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._limits = config.limits
        self._tls = config.tls
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start with our acceptor: uvicorn's has no connection limit, and waits 60 s for TLS."""
        await self.lifespan.startup()
        connections = Connections(self._limits)
        self.servers = [
            Acceptor(each, connections, self._make, self._tls)  # type: ignore[misc]
            for each in sockets or []
        ]
        for acceptor in self.servers:
            acceptor.start()  # type: ignore[attr-defined]
        self.started = True
        self.listening.set()

    def _make(self, place: Place) -> LimitedProtocol:
        protocol: LimitedProtocol = self.config.http_protocol_class(  # type: ignore[assignment]
            config=self.config,  # type: ignore[call-arg]
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        protocol.place = place
        return protocol

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        cutting = asyncio.create_task(self._cut_idle())
        try:
            await super().shutdown(sockets)
        finally:
            cutting.cancel()

    async def _cut_idle(self) -> None:
        """Drop connections without a pending answer.

        To close a connection, TLS waits for the client's close_notify. A client that keeps an idle
        connection for its next request does not send that, and would delay the stop.
        """
        while True:
            await asyncio.sleep(CLOSE_SECONDS)
            for connection in list(self.server_state.connections):
                if isinstance(connection, HttpToolsProtocol) and _is_idle(connection):
                    connection.transport.abort()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _is_idle(connection: HttpToolsProtocol) -> bool:
    is_answered = connection.cycle is None or connection.cycle.response_complete
    return is_answered and connection.transport.get_write_buffer_size() == 0


def config(
    app: Any,
    host: str,
    port: int,
    *,
    limits: HttpLimits | None = None,
    tls: LiveTls | None = None,
    http: type[LimitedProtocol] = LimitedProtocol,
    **settings: Any,
) -> Config:
    """Return uvicorn's settings for a listener; ``settings`` are further settings of uvicorn.

    ``tls``: None for a listener without TLS.
    """
    made = Config(
        app,
        host=host,
        port=port,
        http=http,
        ws="none",
        loop="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=STOP_SECONDS,
        **settings,
    )
    if limits is not None:
        made.limits = limits
    made.tls = tls
    return made
