"""A limit for connections: each connection may take up to 0.7 MiB of TLS buffers."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import cast

from custody.delivery.admission import require_signer
from custody.delivery.metrics import REFUSED_CONNECTIONS
from custody.delivery.problems import NotDelivered
from custody.delivery.settings import LimitsSection
from custody.runtime.acceptor import Place
from custody.runtime.peer_certificate import peer_of_connection


class Connections:
    """The counts of connections, in total and of each signer."""

    def __init__(self, limits: LimitsSection) -> None:
        self._limits = limits
        self._of_signer = Counter[str]()

    def take(self, signer: str) -> bool:
        """Return True and count the connection if there is room for it."""
        if (
            self._of_signer[signer] >= self._limits.signer_connections
            or self._of_signer.total() >= self._limits.total_connections
        ):
            return False
        self._of_signer[signer] += 1
        return True

    def give_back(self, signer: str) -> None:
        self._of_signer[signer] -= 1
        if not self._of_signer[signer]:
            del self._of_signer[signer]


class CountedProtocol(asyncio.Protocol):
    """Gives the connection to another protocol object, or closes the connection beyond a limit."""

    def __init__(
        self,
        connections: Connections,
        place: Place,
        head_seconds: float,
        make: Callable[[], asyncio.Protocol],
    ) -> None:
        """``place``: the place that the acceptor reserved before the TLS handshake."""
        self._connections = connections
        self._place = place
        self._head_seconds = head_seconds
        self._make = make
        self._signer: str | None = None
        self._served: asyncio.Protocol | None = None
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._requests = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        try:
            signer = require_signer(peer_of_connection(transport), datetime.now(UTC))
        except NotDelivered:
            # the routes answer each request with the reason; such connections share one count
            signer = ""
        if self._place.is_beyond or not self._connections.take(signer):
            REFUSED_CONNECTIONS.inc()
            self._transport.abort()  # close() would wait for the peer, and receive data meanwhile
            return
        self._signer = signer
        self._served = self._make()
        self._served.connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        if self._served is not None:
            if self._timer is None and not self._requests:
                self._expect_head()
            self._served.data_received(data)

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Suspend the time limit while a request with a complete head is answered."""
        self._requests += 1
        self._stop_timer()
        try:
            yield
        finally:
            self._requests -= 1

    def _expect_head(self) -> None:
        """Start the time limit for a request's head: aiohttp itself has none."""
        loop = asyncio.get_running_loop()
        assert self._transport is not None
        self._timer = loop.call_later(self._head_seconds, self._transport.abort)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def eof_received(self) -> bool | None:
        return None if self._served is None else self._served.eof_received()

    def pause_writing(self) -> None:
        if self._served is not None:
            self._served.pause_writing()

    def resume_writing(self) -> None:
        if self._served is not None:
            self._served.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._place.release()
        if self._served is not None:
            self._served.connection_lost(exc)
        if self._signer is not None:
            self._connections.give_back(self._signer)
