"""How many connections are served: each may take up to 0.7 MiB of TLS's buffers."""

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import cast

from daemon.peer_certificate import peer_of_connection
from mpc.delivery.admission import require_signer
from mpc.delivery.metrics import REFUSED_CONNECTIONS
from mpc.delivery.problems import NotDelivered
from mpc.delivery.settings import LimitsSection


class Connections:
    """Counts them, in all and of each signer; one too many is closed unheard."""

    def __init__(self, limits: LimitsSection) -> None:
        self._limits = limits
        self._of_signer = Counter[str]()

    def take(self, signer: str) -> bool:
        """Whether there was room for one more."""
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
    """Has another protocol serve the connection, if there is room for it."""

    def __init__(self, connections: Connections, make: Callable[[], asyncio.Protocol]) -> None:
        self._connections = connections
        self._make = make
        self._signer: str | None = None
        self._served: asyncio.Protocol | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        try:
            signer = require_signer(peer_of_connection(transport), datetime.now(UTC))
        except NotDelivered:
            signer = ""  # what it asks for is refused with the reason; all such share one count
        if not self._connections.take(signer):
            REFUSED_CONNECTIONS.inc()
            # close() would wait, and receive all the while
            cast(asyncio.Transport, transport).abort()
            return
        self._signer = signer
        self._served = self._make()
        self._served.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._served is not None:
            self._served.data_received(data)

    def eof_received(self) -> bool | None:
        return None if self._served is None else self._served.eof_received()

    def pause_writing(self) -> None:
        if self._served is not None:
            self._served.pause_writing()

    def resume_writing(self) -> None:
        if self._served is not None:
            self._served.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._served is not None:
            self._served.connection_lost(exc)
        if self._signer is not None:
            self._connections.give_back(self._signer)
