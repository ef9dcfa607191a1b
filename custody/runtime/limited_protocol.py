"""uvicorn's HTTP/1.1 protocol, with limits on a request's size and duration.

uvicorn's own protocol class (over httptools) buffers a head of any size and waits without limit.
This class answers a request that is too large, too slow or malformed with a problem document. The
application does not see that request, and the connection is closed.
"""

import asyncio
from enum import Enum, auto
from typing import Any

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from custody.runtime.acceptor import Place
from custody.runtime.http_limits import HttpLimits, RefusalCode, Refused
from custody.runtime.live_tls import LiveTls

LINGER_SECONDS = 2.0
LINGER_BYTES = 1024 * 1024
"""Bytes read and dropped after an answer: a client that is cut off while sending may lose it."""
MAX_PIPELINED = 8
"""Requests that a client may send before the answer to the first."""


class Config(uvicorn.Config):
    """uvicorn's settings together with a listener's limits and its TLS files."""

    limits: HttpLimits = HttpLimits()
    tls: LiveTls | None = None


class _Part(Enum):
    """The part of a request that comes next."""

    HEAD = auto()
    BODY = auto()


class LimitedProtocol(HttpToolsProtocol):
    """Serves one connection within its listener's limits."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.place: Place | None = None
        self._limits = config.limits
        self._part = _Part.HEAD
        self._has_begun = False
        self._completed = 0
        """Number of requests that were received completely."""
        self._head_bytes = 0
        self._header_bytes = 0
        self._overhead = 0
        """Bytes after the head that count neither as body nor as usual framing."""
        self._timer: asyncio.TimerHandle | None = None
        self._is_refused = False
        self._discarded = 0

    def connection_made(  # type: ignore[override]  # as in the class above
        self, transport: asyncio.Transport
    ) -> None:
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        if self.place is not None:
            self.place.release()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            self._discard(len(data))
            return
        self._unset_keepalive_if_required()
        part, completed = self._part, self._completed
        try:
            self.parser.feed_data(data)
            self._check(part, completed, len(data))
        except httptools.HttpParserUpgrade:
            pass  # the server supports no upgrade, so it answers the request normally
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause if isinstance(cause, Refused) else _malformed())
        except Refused as refused:
            self._refuse(refused)

    def _check(self, part: _Part, completed: int, size: int) -> None:
        """Check the unfinished part of a request after a chunk. Raise Refused."""
        if self._part is _Part.HEAD:
            if self._completed != completed:
                if not self._has_begun:
                    return
            else:
                self._head_bytes += size
                if self._head_bytes > self._limits.header_bytes:
                    raise self._headers_too_large()
        elif part is _Part.BODY and self._completed == completed:
            self._overhead += size
            if self._overhead > self._limits.header_bytes:
                raise self._headers_too_large()
        if self._timer is None:
            self._start_timer()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._has_begun = True
        self._header_bytes = 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._count(len(name) + len(value))

    def _count(self, size: int) -> None:
        self._header_bytes += size
        if (
            self._header_bytes > self._limits.header_bytes
            or len(self.headers) > self._limits.header_count
        ):
            raise self._headers_too_large()

    def on_headers_complete(self) -> None:
        self._stop_timer()
        self._part = _Part.BODY
        self._head_bytes = self._overhead = 0
        if self.place is not None and self.place.is_beyond:
            raise Refused(
                RefusalCode.TOO_MANY_CONNECTIONS,
                f"The limit is {self._limits.address_connections} connections of one address. Use "
                "each connection for several requests, or ask the operator for a higher limit.",
            )
        if len(self.pipeline) >= MAX_PIPELINED:
            raise Refused(
                RefusalCode.MALFORMED_REQUEST,
                f"More than {MAX_PIPELINED} requests wait for their answers on this connection. "
                "Wait for an answer before the next request.",
            )
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._overhead -= 2 * len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._stop_timer()
        self._part = _Part.HEAD
        self._has_begun = False
        self._completed += 1
        super().on_message_complete()

    def _start_timer(self) -> None:
        is_head = self._part is _Part.HEAD
        seconds = self._limits.header_seconds if is_head else self._limits.body_seconds
        self._timer = self.loop.call_later(seconds, self._on_time_over, seconds)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_time_over(self, seconds: float) -> None:
        self._timer = None
        if self._part is _Part.HEAD and not self._has_begun:
            self.transport.abort()  # the client has sent nothing
            return
        what = "headers" if self._part is _Part.HEAD else "body"
        self._refuse(
            Refused(
                RefusalCode.REQUEST_TIMEOUT,
                f"The complete {what} did not arrive within {seconds:g} s. Send the request "
                "again; with an external_id that is always safe.",
            )
        )

    def _refuse(self, refused: Refused) -> None:
        """Answer without the application, unless it is answering already; then close."""
        self._is_refused = True
        self._stop_timer()
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if cycle.response_started or not cycle.more_body or self.pipeline:
                self.transport.abort()
                return
            cycle.disconnected = True  # tells the application that the client has disconnected
            cycle.message_event.set()
        self.transport.write(refused.response())
        self.flow.resume_reading()
        self._timer = self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded > LINGER_BYTES:
            self.transport.abort()

    def _headers_too_large(self) -> Refused:
        return Refused(
            RefusalCode.HEADERS_TOO_LARGE,
            f"The limit of request line and headers is {self._limits.header_bytes} bytes, in "
            f"{self._limits.header_count} headers.",
        )


def _malformed() -> Refused:
    return Refused(RefusalCode.MALFORMED_REQUEST, "These bytes are not an HTTP/1.1 request.")
