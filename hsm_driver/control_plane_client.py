"""The driver's side of the node API."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TypeVar

import httpx
from pydantic import ValidationError

from daemon.tls import client_context
from wire.encoding import Model
from wire.envelope import SignedBytes
from wire.node_api import (
    AuditHeads,
    ClaimRequest,
    ClaimResponse,
    ExtendRequest,
    ExtendResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    ReportRequest,
    ReportResponse,
)

Answer = TypeVar("Answer", bound=Model)

REQUEST_TIMEOUT = 15.0
"""Seconds that an answer may take, beyond what the request itself asks to wait."""
CONNECT_TIMEOUT = 5.0
KEEPALIVE_SECONDS = 60.0
SILENCE_IS_A_PROBLEM = timedelta(seconds=45)
"""Longer than a heartbeat's interval and a claim's wait."""


class ControlPlaneUnavailable(Exception):
    """No answer, or one that says to come back: try again later."""


class ControlPlaneRefused(Exception):
    """The control plane answered that it will not: an operator must look."""


class ControlPlaneClient:
    """Speaks the node API over mTLS, on connections that are kept."""

    def __init__(self, url: str, ca: Path, certificate: Path, private_key: Path) -> None:
        self._url = url.rstrip("/")
        self._files = (ca, certificate, private_key)
        self._http = self._open()
        self._last_answer: datetime | None = None
        self.server_date: datetime | None = None
        """The control plane's clock at its last answer, in whole seconds."""

    def _open(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self._url + "/node/v1/",
            verify=client_context(*self._files),
            timeout=httpx.Timeout(REQUEST_TIMEOUT, connect=CONNECT_TIMEOUT),
            limits=httpx.Limits(keepalive_expiry=KEEPALIVE_SECONDS),
            trust_env=False,
        )

    def problem(self) -> str | None:
        """Why the control plane counts as away; None while it answers."""
        if self._last_answer is None:
            return "has not answered yet"
        silence = datetime.now(UTC) - self._last_answer
        if silence > SILENCE_IS_A_PROBLEM:
            return f"last answered {silence.total_seconds():.0f} s ago"
        return None

    async def close(self) -> None:
        await self._http.aclose()

    async def claim(self, request: ClaimRequest) -> ClaimResponse:
        return await self._post("claim", request, ClaimResponse, request.wait)

    async def report(self, request: ReportRequest) -> ReportResponse:
        return await self._post("report", request, ReportResponse)

    async def extend(self, request: ExtendRequest) -> ExtendResponse:
        return await self._post("extend", request, ExtendResponse)

    async def heartbeat(self, request: HeartbeatRequest) -> HeartbeatResponse:
        return await self._post("heartbeat", request, HeartbeatResponse)

    async def audit_heads(self) -> list[SignedBytes]:
        return _parse(await self._send("GET", "audit-heads", None, 0), AuditHeads).heads

    async def _post(self, path: str, body: Model, answer: type[Answer], wait: float = 0) -> Answer:
        return _parse(await self._send("POST", path, body.model_dump_json(), wait), answer)

    async def _send(self, method: str, path: str, body: str | None, wait: float) -> bytes:
        try:
            response = await self._http.request(
                method,
                path,
                content=body,
                headers={"content-type": "application/json"} if body is not None else None,
                timeout=httpx.Timeout(wait + REQUEST_TIMEOUT, connect=CONNECT_TIMEOUT),
            )
        except httpx.RemoteProtocolError as error:
            # with TLS 1.3 the server's refusal of our certificate arrives after the handshake
            raise ControlPlaneUnavailable(
                f"{self._url} closed the connection without an answer ({error}): it is going down, "
                "or it does not accept this node's certificate"
            ) from None
        except httpx.TransportError as error:
            raise ControlPlaneUnavailable(
                f"cannot reach {self._url}: {error or type(error).__name__}"
            ) from None
        if response.status_code == httpx.codes.OK:
            self._last_answer = datetime.now(UTC)
            if "date" in response.headers:
                self.server_date = parsedate_to_datetime(response.headers["date"])
            return response.content
        message = f"{self._url} answered {response.status_code} to {path}: {_detail(response)}"
        if response.is_server_error or response.status_code == httpx.codes.TOO_MANY_REQUESTS:
            raise ControlPlaneUnavailable(message)
        raise ControlPlaneRefused(message)


def _parse(content: bytes, answer: type[Answer]) -> Answer:
    try:
        return answer.model_validate_json(content)
    except ValidationError as error:
        raise ControlPlaneRefused(
            f"an answer that is no {answer.__name__}: {error.error_count()} malformed fields"
        ) from None


def _detail(response: httpx.Response) -> str:
    try:
        return str(json.loads(response.content)["detail"])
    except (ValueError, KeyError, TypeError):
        return response.text[:200]
