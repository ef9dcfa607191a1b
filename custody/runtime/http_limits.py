"""A listener's limits for HTTP clients that it has not authenticated yet."""

from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated

from pydantic import Field

from custody.runtime.configuration import Section
from custody.wire.resources import Problem

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, le=3600)]

TYPE_PREFIX = "urn:custody:problem:"
MEDIA_TYPE = "application/problem+json"


class HttpLimits(Section):
    """Limits of one listener; a connection counts from before its TLS handshake."""

    header_bytes: Annotated[int, Field(ge=1024, le=1024 * 1024)] = 16 * 1024
    """Limit of a request line with its headers, and of a chunked body's framing and trailers."""
    header_count: Count = 64
    header_seconds: Seconds = 10.0
    """Time for the headers, from a request's first byte; the first request's from connecting."""
    body_seconds: Seconds = 30.0
    """Time for the body, from the end of the headers."""
    connections: Count = 2048
    address_connections: Count = 256
    """Connections of one IPv4 address, or of one IPv6 network with a prefix of 64 bits."""
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    """Load balancers: they connect for many clients, so only the total limits them."""


class RefusalCode(StrEnum):
    """Reasons for which a listener answers a request without the application."""

    MALFORMED_REQUEST = "malformed_request"
    REQUEST_TIMEOUT = "request_timeout"
    HEADERS_TOO_LARGE = "headers_too_large"
    TOO_MANY_CONNECTIONS = "too_many_connections"


_STATUS_AND_TITLE = {
    RefusalCode.MALFORMED_REQUEST: (400, "Bad Request", "This is not HTTP/1.1"),
    RefusalCode.REQUEST_TIMEOUT: (408, "Request Timeout", "The request came too slowly"),
    RefusalCode.HEADERS_TOO_LARGE: (
        431,
        "Request Header Fields Too Large",
        "The headers are too large, or too many",
    ),
    RefusalCode.TOO_MANY_CONNECTIONS: (429, "Too Many Requests", "Too many connections"),
}
RETRY_AFTER_SECONDS = 5


class Refused(Exception):
    """A listener's own answer, which ends the connection.

    ``detail`` says what failed and what to do next.
    """

    def __init__(self, code: RefusalCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail

    def response(self) -> bytes:
        """Return the bytes of the whole HTTP answer."""
        status, phrase, title = _STATUS_AND_TITLE[self.code]
        problem = Problem(
            type=TYPE_PREFIX + self.code,
            title=title,
            status=status,
            code=self.code,
            detail=self.detail,
        )
        body = problem.model_dump_json().encode()
        lines = [
            f"HTTP/1.1 {status} {phrase}",
            f"content-type: {MEDIA_TYPE}",
            f"content-length: {len(body)}",
            "connection: close",
        ]
        if self.code is RefusalCode.TOO_MANY_CONNECTIONS:
            lines.append(f"retry-after: {RETRY_AFTER_SECONDS}")
        return "\r\n".join([*lines, "", ""]).encode() + body
