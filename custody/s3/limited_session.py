"""botocore's HTTP session, with a limit on the answers that botocore reads as a whole."""

from collections.abc import Iterator
from typing import Any

from botocore.awsrequest import AWSResponse
from botocore.exceptions import HTTPClientError, ReadTimeoutError
from botocore.httpsession import URLLib3Session
from urllib3.exceptions import HTTPError
from urllib3.exceptions import ReadTimeoutError as Urllib3ReadTimeoutError

from custody.s3.faults import FaultKind, S3Fault

MAX_ANSWER = 16 * 1024 * 1024
"""In bytes. The longest honest answer is a list of 1000 names of at most 1024 bytes."""
CHUNK = 64 * 1024
FIRST_ERROR_STATUS = 300


class LimitedSession(URLLib3Session):  # type: ignore[misc]
    """Sends requests. Raises S3Fault for an answer that is too large.

    botocore itself would read such an answer into memory until there is none. The content of an
    object is a stream, which its reader limits.
    """

    def send(self, request: Any) -> Any:
        is_object = request.stream_output
        request.stream_output = True  # so that botocore reads nothing yet
        answer = super().send(request)
        if is_object and answer.status_code < FIRST_ERROR_STATUS:
            return answer
        content = _Content(_limited(answer.raw, request.url))
        return AWSResponse(request.url, answer.status_code, answer.headers, content)


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
