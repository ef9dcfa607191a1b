"""The signer's side of the delivery servers: hand in an exchange, and get the others' messages."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from uuid import UUID

import aiohttp
from pydantic import ValidationError

from custody.runtime.live_tls import LiveTls
from custody.runtime.tls import TlsFiles
from custody.wire.answers import Unknown, read_answer
from custody.wire.delivery import (
    MAX_ABORT_REASON,
    MAX_MESSAGE,
    SERVER_PATH,
    TIME_HEADER,
    DeliveryCode,
    DeliveryProblem,
    DeliveryTicket,
    ServerFacts,
    abort_path,
    decode_messages,
    encode_abort,
    encode_hand_in,
    exchange_path,
)
from custody.wire.framing import Malformed
from custody.wire.group_sizes import MAX_SIGNERS
from custody.wire.retry_after import COME_BACK, retry_after
from custody.wire.signed_bytes import SignedBytes

CONNECT_TIMEOUT = 3.0
KEEPALIVE_SECONDS = 60.0
GRACE = 2.0
"""Seconds past the deadline for the server's own word, which names who was silent."""
PATIENCE = timedelta(seconds=5)
"""Seconds for a request that waits for no other signer: an abort, or a question."""
PAUSES = (0.0, 0.1, 0.3, 0.8)
"""Before each further attempt after a lost connection, in seconds. The first is for a connection
that was kept too long; a server that is gone for longer ends the attempt, and another is taken."""
LONGEST_PAUSE = 2.0
"""Seconds. A gateway that asks for more ends the attempt, too."""
MAX_DETAIL = 500
"""Characters of what a server says when it delivers nothing."""
MAX_ANSWER = MAX_SIGNERS * (MAX_MESSAGE + 1024)


class _GatewayAnswer(aiohttp.ClientError):
    """Something before the server answered that it is busy or away."""

    def __init__(self, status: int, seconds: float | None) -> None:
        super().__init__(f"a gateway answered {status}")
        self.retry_after = seconds or 0.0


class DeliveryUnavailable(Exception):
    """The server cannot be reached, is full, or has forgotten the ceremony: take another one."""


class DeliveryRefused(Exception):
    """The server answered that it will not; ``code`` is a DeliveryCode."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code


class PeerAborted(Exception):
    """Another participant has ended the ceremony; ``reason``: as that one sealed it."""

    def __init__(self, signer: str, reason: bytes) -> None:
        super().__init__(f"{signer} ended the ceremony")
        self.signer = signer
        self.reason = reason


class CeremonyExpired(Exception):
    """The deadline came first. ``silent``: who had not handed in; empty when nobody could tell."""

    def __init__(self, silent: tuple[str, ...]) -> None:
        what = f"nothing came from {', '.join(silent)}" if silent else "no answer"
        super().__init__(f"{what} until the ceremony's deadline")
        self.silent = silent


@dataclass(frozen=True)
class DeliveryServer:
    """``name``: as tickets have it. ``url``: https://host:port. ``files``: for its connections."""

    name: str
    url: str
    files: TlsFiles


class DeliveryClient:
    """Speaks to all delivery servers, on connections that are kept. Use it as a context."""

    def __init__(self, servers: Sequence[DeliveryServer]) -> None:
        """Raise ConfigurationError if TLS files cannot be used."""
        self._servers = {each.name: (each.url.rstrip("/"), LiveTls(each.files)) for each in servers}
        self.tls = [tls for _, tls in self._servers.values()]

    async def __aenter__(self) -> "DeliveryClient":
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_SECONDS)
        self._http = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def exchange(
        self,
        server: str,
        ticket: SignedBytes,
        number: int,
        outgoing: Mapping[str, bytes],
        deadline: datetime,
    ) -> dict[str, bytes]:
        """Hand in our messages by recipient; the others' by sender, once all have handed in.

        ``ticket``: the delivery ticket. A lost connection is tried again with the same bytes, which
        the server takes as the same.
        Raises DeliveryUnavailable, DeliveryRefused, PeerAborted, CeremonyExpired.
        """
        body = encode_hand_in(ticket if number == 0 else None, outgoing)
        path = exchange_path(_meeting(ticket.payload), number)
        answer = await self._send(server, "POST", path, body, deadline)
        try:
            return decode_messages(answer)
        except Malformed as error:
            raise DeliveryUnavailable(f"{server} gave a malformed answer: {error}") from None

    async def abort(self, server: str, ticket: SignedBytes, reason: bytes) -> None:
        """End the ceremony for all participants; ``reason``: sealed for them.

        Raises DeliveryUnavailable, DeliveryRefused.
        """
        path = abort_path(_meeting(ticket.payload))
        await self._ask(server, "POST", path, encode_abort(ticket, reason))

    async def facts(self, server: str) -> ServerFacts:
        """Return a server's description of itself. Raise DeliveryUnavailable or DeliveryRefused."""
        answer = await self._ask(server, "GET", SERVER_PATH, None)
        try:
            return read_answer(ServerFacts, answer)
        except ValidationError:
            raise DeliveryUnavailable(f"{server} answers, but is not a delivery server") from None

    async def _ask(self, server: str, method: str, path: str, body: bytes | None) -> bytes:
        try:
            return await self._send(server, method, path, body, datetime.now(UTC) + PATIENCE)
        except (CeremonyExpired, PeerAborted):
            raise DeliveryUnavailable(f"no answer from {server}") from None

    async def _send(
        self, server: str, method: str, path: str, body: bytes | None, deadline: datetime
    ) -> bytes:
        if server not in self._servers:
            raise DeliveryUnavailable(
                f"the delivery server {server!r} is not in this signer's configuration"
            )
        for pause in (*PAUSES, None):
            left = (deadline - datetime.now(UTC)).total_seconds()
            if left <= 0:
                raise CeremonyExpired(())
            try:
                return await self._attempt(server, method, path, body, left + GRACE)
            except aiohttp.ClientError as error:  # before TimeoutError: connecting's is both
                asked = error.retry_after if isinstance(error, _GatewayAnswer) else 0.0
                is_untrusted = isinstance(error, aiohttp.ClientConnectorCertificateError)
                if pause is None or is_untrusted or asked > LONGEST_PAUSE:
                    raise DeliveryUnavailable(_lost(server, error)) from None
                await asyncio.sleep(min(max(pause, asked), left))
            except TimeoutError:
                raise CeremonyExpired(()) from None
        raise AssertionError("the last attempt returns or raises")

    async def _attempt(
        self, server: str, method: str, path: str, body: bytes | None, seconds: float
    ) -> bytes:
        url, tls = self._servers[server]
        headers = {"content-type": "application/octet-stream"}
        if path == SERVER_PATH:  # alone: ceremonies' requests have no header that differs
            headers[TIME_HEADER] = datetime.now(UTC).isoformat()
        async with self._http.request(
            method,
            url + path,
            data=body,
            ssl=tls.context,
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_TIMEOUT),
            allow_redirects=False,
        ) as response:
            if response.status == 204:
                return b""
            content = await _read(server, response)
        if response.status == 200:
            return content
        problem = problem_of(server, content)
        if problem is not None:
            raise problem
        if response.status in COME_BACK:
            raise _GatewayAnswer(response.status, retry_after(response.headers))
        raise DeliveryUnavailable(f"{server} answered {response.status}, without a reason")


@lru_cache(maxsize=256)  # asked for again at each exchange
def _meeting(ticket: bytes) -> UUID:
    return DeliveryTicket.model_validate_json(ticket).meeting


async def _read(server: str, response: aiohttp.ClientResponse) -> bytes:
    """Return the body. Raise DeliveryUnavailable for a body larger than any answer."""
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > MAX_ANSWER:
            raise DeliveryUnavailable(f"{server} gave an answer of more than {MAX_ANSWER} bytes")
    return bytes(content)


def problem_of(server: str, content: bytes) -> Exception | None:
    """Return the error for an answer without messages; None for an answer of no delivery server."""
    try:
        problem = read_answer(DeliveryProblem, content)
    except ValidationError:
        return None
    detail = f"{server}: {_readable(problem.detail)}"
    match problem.code:
        case DeliveryCode.ABORTED:
            reason = problem.abort_reason or b""
            return PeerAborted(problem.signer or "", reason[:MAX_ABORT_REASON])
        case DeliveryCode.EXPIRED:
            return CeremonyExpired(tuple(problem.silent))
        case (
            DeliveryCode.BUSY
            | DeliveryCode.REQUEST_TIMEOUT
            | DeliveryCode.UNKNOWN_CEREMONY
            | Unknown()
        ):
            return DeliveryUnavailable(detail)
        case _:
            return DeliveryRefused(problem.code.value, detail)


def _lost(server: str, error: aiohttp.ClientError) -> str:
    if isinstance(error, _GatewayAnswer):
        return f"{server}: {error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        why = _readable(str(error.__cause__ or error))
        return f"cannot reach {server} at {error.host}:{error.port}: {why}"
    # with TLS 1.3 the server's refusal of our certificate arrives after the handshake
    return (
        f"{server} closed the connection without an answer ({_readable(str(error))}): it is going "
        "down, or it does not accept this node's certificate"
    )


def _readable(text: str) -> str:
    """Return a server's words, cut to the length of a report."""
    return "".join(each if each.isprintable() else "?" for each in text[:MAX_DETAIL])
