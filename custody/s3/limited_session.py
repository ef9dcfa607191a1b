"""botocore's HTTP session, with limits on the time and the size of an answer."""

import ssl
import time
from collections.abc import Iterator
from typing import Any

from botocore.awsrequest import AWSResponse
from botocore.exceptions import HTTPClientError, ReadTimeoutError
from botocore.httpsession import URLLib3Session
from cryptography.hazmat.primitives.serialization import Encoding
from urllib3.exceptions import HTTPError
from urllib3.exceptions import ReadTimeoutError as Urllib3ReadTimeoutError

from custody.runtime.live_tls import CheckedSocket, LiveTls
from custody.s3.faults import FaultKind, S3Fault

MAX_ANSWER = 16 * 1024 * 1024
"""In bytes. The longest honest answer is a list of 1000 names of at most 1024 bytes."""
MAX_WAITS = 10
"""Longest time for a whole answer, in timeouts of one read."""
CHUNK = 64 * 1024
FIRST_ERROR_STATUS = 300


class LimitedSession(URLLib3Session):  # type: ignore[misc]
    """Sends requests. Raises S3Fault for an answer that is too large, ReadTimeoutError if too slow.

    botocore itself would read such an answer into memory until there is none. The content of an
    object is a stream, which its reader limits. The limit of time holds for this stream too.
    """

    def __init__(self, tls: LiveTls | None, timeouts: tuple[float, float]) -> None:
        """``tls``: the endpoint's roots and CRLs; None for botocore's list of public roots.

        ``timeouts``: seconds to connect, and to the next bytes of an answer.
        """
        self._tls = tls
        super().__init__(verify=True, proxies={}, timeout=timeouts)

    def _get_ssl_context(self) -> ssl.SSLContext:
        context: ssl.SSLContext = super()._get_ssl_context()
        context.sslsocket_class = _Socket
        context.live = self._tls  # type: ignore[attr-defined]
        if self._tls is not None:
            roots = self._tls.loaded.roots
            der = b"".join(root.public_bytes(Encoding.DER) for root in roots)
            context.load_verify_locations(cadata=der)
        return context

    def _setup_ssl_cert(self, conn: Any, url: str, verify: Any) -> None:
        super()._setup_ssl_cert(conn, url, verify)
        if self._tls is not None:
            conn.ca_certs = None  # the context has the roots

    def send(self, request: Any) -> Any:
        is_object = request.stream_output
        request.stream_output = True  # so that botocore reads nothing yet
        answer = super().send(request)
        if is_object and answer.status_code < FIRST_ERROR_STATUS:
            return answer
        content = _Content(_limited(answer.raw, request.url))
        return AWSResponse(request.url, answer.status_code, answer.headers, content)


class _Socket(CheckedSocket):
    """A socket that checks the server against CRLs, and limits the time of an answer.

    A socket's own timeout is for one read: a server that sends a byte now and then could hold its
    client for days. urllib3 sets the timeout again before it reads an answer, and not while it
    reads; so the time of the answer starts there.
    """

    def settimeout(self, value: float | None) -> None:
        self._one_read = value
        self._end = None if value is None else time.monotonic() + MAX_WAITS * value
        super().settimeout(value)

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        if self._one_read is not None and self._end is not None:
            left = self._end - time.monotonic()
            if left <= 0:
                raise TimeoutError("the answer takes too long")
            super().settimeout(min(left, self._one_read))
        return super().recv_into(buffer, nbytes, flags)


class _Content:
    """Content that was read, in the form in which botocore asks for it."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self) -> Iterator[bytes]:
        yield self._content


def _limited(raw: Any, url: str) -> bytes:
    content = bytearray()
    try:
        for chunk in raw.stream(CHUNK):
            content += chunk
            if len(content) > MAX_ANSWER:
                raw.close()
                host = url.partition("?")[0]
                raise S3Fault(
                    FaultKind.TOO_LARGE, f"{host} answered with more than {MAX_ANSWER} bytes"
                )
    except Urllib3ReadTimeoutError as error:
        raise ReadTimeoutError(endpoint_url=url, error=error) from None
    except HTTPError as error:
        raise HTTPClientError(error=error) from None
    return bytes(content)
