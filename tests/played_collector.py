"""A collector of traces that a test plays: what an operator's OpenTelemetry Collector receives."""

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from devstack.processes import LOCALHOST

SECONDS = 20


class PlayedCollector:
    """Keeps the spans that daemons send, by the service that sent them (OTLP over HTTP)."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Span]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.keep(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer((LOCALHOST, 0), Handler)
        self.endpoint = f"http://{LOCALHOST}:{self._server.server_address[1]}"

    def keep(self, request: ExportTraceServiceRequest) -> None:
        for resource in request.resource_spans:
            names = {one.key: one.value.string_value for one in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [(names["service.name"], span) for span in scope.spans]

    def trace(
        self, trace_id: str, is_whole: Callable[[list[tuple[str, Span]]], bool]
    ) -> list[tuple[str, Span]]:
        """Wait until the spans of a trace are whole, and return them."""
        deadline = time.monotonic() + SECONDS
        while True:
            found = [one for one in self.spans if one[1].trace_id.hex() == trace_id]
            if is_whole(found):
                return found
            assert time.monotonic() < deadline, [(service, span.name) for service, span in found]
            time.sleep(0.05)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join(15)
        self._server.server_close()
