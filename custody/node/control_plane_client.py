"""The node's side of the node API."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from urllib.parse import urlencode

import aiohttp
from pydantic import ValidationError
from tenacity import RetryCallState, wait_exponential_jitter

from custody.runtime.live_tls import LiveTls
from custody.runtime.tls import TlsFiles
from custody.wire.answers import AnyAnswer, read_answer
from custody.wire.encoding import Model
from custody.wire.inventory import InventoryPage, PageReceived
from custody.wire.node_api import (
    AuditHeads,
    AuditRecordsRequest,
    AuditRecordsResponse,
    BanAnswerRequest,
    BanAnswerResponse,
    BanQuestionRequest,
    BanQuestionResponse,
    ChangedKeys,
    ClaimRequest,
    ClaimResponse,
    ExtendRequest,
    ExtendResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    ReportRequest,
    ReportResponse,
    RestoreClaim,
    RestoreClaimed,
)
from custody.wire.retry_after import COME_BACK, http_date, retry_after
from custody.wire.strict_json import parse_json

REQUEST_TIMEOUT = 15.0
"""Seconds for an answer, in addition to the wait that the request asks for."""
CONNECT_TIMEOUT = 5.0
KEEPALIVE_SECONDS = 60.0
SILENCE_IS_A_PROBLEM = timedelta(seconds=45)
"""Longer than a heartbeat's interval and a claim's wait."""
MAX_ANSWER = 128 * 1024 * 1024
"""Largest answer, in bytes. MAX_BATCH jobs of 256 KiB requests, in base64 twice, need less."""
MAX_REFUSAL = 64 * 1024
"""Bytes to read of an error answer: it may come from a gateway, and be of any size."""


class ControlPlaneUnavailable(Exception):
    """The control plane did not answer, or asked for a retry.

    ``retry_after``: seconds that the answer asked for, its Retry-After.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ControlPlaneRefused(Exception):
    """The control plane refused a request: an operator must correct the cause."""


class ControlPlaneClient:
    """Speaks the node API over mTLS, on persistent connections. Use it as a context."""

    def __init__(self, url: str, files: TlsFiles) -> None:
        """Raise ConfigurationError if the TLS files cannot be used."""
        self._url = url.rstrip("/")
        self.tls = LiveTls(files)
        self._last_answer: datetime | None = None
        self._refusal: str | None = None
        self.server_date: datetime | None = None
        """The control plane's clock at its last answer, in whole seconds."""

    async def __aenter__(self) -> "ControlPlaneClient":
        connector = aiohttp.TCPConnector(keepalive_timeout=KEEPALIVE_SECONDS)
        self._http = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    def problem(self) -> str | None:
        """Return why the control plane does not answer; None while it answers."""
        if self._refusal is not None:
            return self._refusal
        if self._last_answer is None:
            return "has not answered yet"
        silence = datetime.now(UTC) - self._last_answer
        if silence > SILENCE_IS_A_PROBLEM:
            return f"last answered {silence.total_seconds():.0f} s ago"
        return None

    async def claim(self, request: ClaimRequest) -> ClaimResponse:
        return await self._post("claim", request, ClaimResponse, request.wait)

    async def report(self, request: ReportRequest) -> ReportResponse:
        return await self._post("report", request, ReportResponse)

    async def extend(self, request: ExtendRequest) -> ExtendResponse:
        return await self._post("extend", request, ExtendResponse)

    async def heartbeat(self, request: HeartbeatRequest) -> HeartbeatResponse:
        return await self._post("heartbeat", request, HeartbeatResponse)

    async def ban_question(self, asked: BanQuestionRequest) -> BanQuestionResponse:
        return await self._post("ban-question", asked, BanQuestionResponse)

    async def ban_answer(self, said: BanAnswerRequest) -> BanAnswerResponse:
        return await self._post("ban-answer", said, BanAnswerResponse)

    async def audit_restored(self, claim: RestoreClaim) -> RestoreClaimed:
        return await self._post("audit-restored", claim, RestoreClaimed)

    async def changed_keys(self, since: datetime) -> ChangedKeys:
        """Return the keys of this node that were made, refreshed or repaired since a time."""
        query = urlencode({"since": since.isoformat()})
        return _parse(await self._send("GET", f"keys?{query}", None, 0), ChangedKeys)

    async def inventory(self, page: InventoryPage) -> PageReceived:
        return await self._post("inventory", page, PageReceived)

    async def audit_heads(self) -> AuditHeads:
        return _parse(await self._send("GET", "audit-heads", None, 0), AuditHeads)

    async def audit_records(self, page: AuditRecordsRequest) -> AuditRecordsResponse:
        """Send audit records, or ask which the control plane keeps.

        A refusal does not show in ``problem``: the node works without this.
        """
        content = page.model_dump_json().encode()
        answer = await self._send("POST", "audit-records", content, 0, is_needed=False)
        return _parse(answer, AuditRecordsResponse)

    async def _post(
        self, path: str, body: Model, answer: type[AnyAnswer], wait: float = 0
    ) -> AnyAnswer:
        content = body.model_dump_json().encode()
        return _parse(await self._send("POST", path, content, wait), answer)

    async def _send(
        self, method: str, path: str, body: bytes | None, wait: float, *, is_needed: bool = True
    ) -> bytes:
        """Return the answer. With ``is_needed``, it decides what ``problem`` says."""
        try:
            async with self._http.request(
                method,
                f"{self._url}/node/v1/{path}",
                data=body,
                ssl=self.tls.context,  # after a change of its files: a new connection
                headers={"content-type": "application/json"},
                timeout=aiohttp.ClientTimeout(
                    total=wait + REQUEST_TIMEOUT, sock_connect=CONNECT_TIMEOUT
                ),
                allow_redirects=False,
            ) as response:
                content = await _read(response)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            raise ControlPlaneUnavailable(self._lost(error)) from None
        except (TimeoutError, aiohttp.ClientError) as error:
            raise ControlPlaneUnavailable(
                f"no answer from {self._url}: {error or type(error).__name__}"
            ) from None
        if response.status == HTTPStatus.OK and not is_needed:
            return content
        if response.status == HTTPStatus.OK:
            self._last_answer = datetime.now(UTC)
            self._refusal = None
            self.server_date = http_date(response.headers.get("date", ""))
            return content
        message = f"{self._url} answered {response.status} to {path}: {_detail(content)}"
        if response.status in COME_BACK or response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise ControlPlaneUnavailable(message, retry_after(response.headers))
        if is_needed:
            self._refusal = message
        raise ControlPlaneRefused(message)

    def _lost(self, error: aiohttp.ClientError) -> str:
        if isinstance(error, aiohttp.ClientConnectorError):
            return f"cannot reach {self._url}: {error.__cause__ or error}"
        # with TLS 1.3 the server's refusal of our certificate arrives after the handshake
        return (
            f"{self._url} closed the connection without an answer ({error}): the control plane "
            "stops, or it does not accept this node's certificate"
        )


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Return the body. Raise ControlPlaneRefused if it is too large for an answer."""
    is_answer = response.status == HTTPStatus.OK
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > MAX_ANSWER:
            raise ControlPlaneRefused(f"the control plane's answer exceeds {MAX_ANSWER} bytes")
        if not is_answer and len(content) > MAX_REFUSAL:
            break
    return bytes(content)


def pausing(first: float, longest: float) -> Callable[[RetryCallState], float]:
    """Yield the seconds until each next attempt: doubled each time, or as the answer asked for.

    No pause is longer than ``longest``.
    """
    backoff = wait_exponential_jitter(multiplier=first, max=longest)

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, ControlPlaneUnavailable) else None
        return min(longest, max(backoff(state), asked or 0))

    return wait


def _parse(content: bytes, answer: type[AnyAnswer]) -> AnyAnswer:
    try:
        return read_answer(answer, content)
    except ValidationError as error:
        raise ControlPlaneRefused(
            f"the control plane's answer is not a {answer.__name__}: "
            f"{error.error_count()} malformed fields"
        ) from None


def _detail(content: bytes) -> str:
    try:
        return str(parse_json(content)["detail"])
    except (ValueError, KeyError, TypeError):
        return content[:200].decode(errors="replace")
