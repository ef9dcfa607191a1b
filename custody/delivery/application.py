"""The HTTP interface of a delivery server; custody/wire/delivery.py defines the messages."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from uuid import UUID

import structlog
from aiohttp import web

from custody.delivery.admission import require_signer
from custody.delivery.clock import ServerClock
from custody.delivery.connections import CountedProtocol
from custody.delivery.metrics import ANSWERS, ENDED, RECEIVED_BYTES, SECONDS
from custody.delivery.problems import NotDelivered, not_delivered
from custody.delivery.sessions import Sessions, aborted
from custody.delivery.settings import Settings
from custody.runtime.peer_certificate import peer_of_connection
from custody.wire.delivery import (
    MAX_ABORT_REASON,
    MAX_TICKET,
    PREFIX,
    SERVER_PATH,
    TIME_HEADER,
    DeliveryCode,
    ServerFacts,
    decode_abort,
    decode_hand_in,
    encode_messages,
)
from custody.wire.framing import Malformed
from custody.wire.group_sizes import MAX_SIGNERS

MAX_EXCHANGE = 31
"""The protocols have fewer than 10 exchanges."""
FRAMING_BYTES = 256
"""Largest framing of a message: the recipient's name and two lengths."""
_MEETING = f"{PREFIX}/meetings/{{meeting}}"
_NUMBER = r"{number:\d{1,3}}"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = structlog.get_logger()


class Delivery:
    """The routes that answer signers."""

    def __init__(
        self,
        sessions: Sessions,
        settings: Settings,
        version: str,
        clock: ServerClock,
        job_key_ids: Callable[[], tuple[str, ...]] = tuple,
    ) -> None:
        self._sessions = sessions
        self._limits = settings.limits
        self._facts = ServerFacts(name=settings.server.name, version=version)
        self._job_key_ids = job_key_ids
        self._clock = clock

    def application(self) -> web.Application:
        app = web.Application(middlewares=[_problems])
        app.router.add_post(f"{_MEETING}/exchanges/{_NUMBER}", self._hand_in)
        app.router.add_post(f"{_MEETING}/abort", self._abort)
        app.router.add_get(SERVER_PATH, self._show_facts)
        return app

    async def _hand_in(self, request: web.Request) -> web.Response:
        started = time.perf_counter()
        signer, meeting = _signer(request), _meeting(request)
        number = int(request.match_info["number"])
        if number > MAX_EXCHANGE:
            raise not_delivered(
                DeliveryCode.MALFORMED,
                f"exchange {number} is above {MAX_EXCHANGE}, the last that is possible",
            )
        others, ticket_bytes = MAX_SIGNERS - 1, MAX_TICKET
        message_bytes = self._limits.message_bytes
        if number > 0:  # find the session before the server receives the body
            session = self._sessions.find(meeting, signer)
            others, message_bytes = len(session.participants) - 1, session.message_bytes
            ticket_bytes = 0
        most = ticket_bytes + FRAMING_BYTES + others * (message_bytes + FRAMING_BYTES)
        size = _size(request, most)
        self._sessions.budget.reserve(signer, size)
        kept = 0
        try:
            ticket, messages = decode_hand_in(await self._body(request, size))
            if number == 0:
                if ticket is None:
                    raise not_delivered(DeliveryCode.BAD_TICKET, "exchange 0 needs the ticket")
                session = self._sessions.begin(meeting, signer, ticket)
            else:
                session = self._sessions.find(meeting, signer)
            session.hand_in(signer, number, messages)
            kept = sum(map(len, messages.values()))
        finally:
            self._sessions.budget.release(signer, size - kept)
        session.last_hand_in = asyncio.get_running_loop().time()
        RECEIVED_BYTES.inc(kept)
        answer = encode_messages(await session.collect(signer, number))
        SECONDS.observe(time.perf_counter() - started)
        return web.Response(body=answer, content_type="application/octet-stream")

    async def _abort(self, request: web.Request) -> web.Response:
        signer, meeting = _signer(request), _meeting(request)
        size = _size(request, MAX_TICKET + MAX_ABORT_REASON + FRAMING_BYTES)
        self._sessions.budget.reserve(signer, size)
        try:
            ticket, reason = decode_abort(await self._body(request, size))
        finally:
            self._sessions.budget.release(signer, size)
        session = self._sessions.begin(meeting, signer, ticket)
        if not session.has_ended:
            ENDED.labels(DeliveryCode.ABORTED.value).inc()
            log.info("ceremony aborted", meeting=str(meeting), signer=signer)
        session.end(aborted(signer, reason))
        return web.Response(status=204)

    async def _show_facts(self, request: web.Request) -> web.Response:
        signer, now = _signer(request), datetime.now(UTC)
        self._clock.hear(signer, request.headers.get(TIME_HEADER, ""), now)
        facts = {"time": now, "job_signing_keys": self._job_key_ids()}
        return _json(200, self._facts.model_copy(update=facts).model_dump_json())

    async def _body(self, request: web.Request, size: int) -> bytes:
        # request.read() would keep the body in memory while the request waits
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                return await request.content.readexactly(size)
        except asyncio.IncompleteReadError:
            raise not_delivered(
                DeliveryCode.MALFORMED, "the connection ended before the complete body arrived"
            ) from None
        except TimeoutError:
            raise not_delivered(
                DeliveryCode.REQUEST_TIMEOUT,
                f"the complete body did not arrive within {self._limits.body_seconds:.0f} s",
            ) from None


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    connection = request.transport and request.transport.get_protocol()
    with connection.answering() if isinstance(connection, CountedProtocol) else nullcontext():
        return await _answer(request, handler)


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        try:
            answer = await handler(request)
        except Malformed as error:
            raise not_delivered(DeliveryCode.MALFORMED, str(error)) from None
    except NotDelivered as error:
        ANSWERS.labels(error.problem.code.value).inc()
        return _json(error.status, error.problem.model_dump_json())
    ANSWERS.labels("ok").inc()
    return answer


def _signer(request: web.Request) -> str:
    assert request.transport is not None
    return require_signer(peer_of_connection(request.transport), datetime.now(UTC))


def _meeting(request: web.Request) -> UUID:
    text = request.match_info["meeting"]
    try:
        return UUID(text)
    except ValueError:
        raise not_delivered(
            DeliveryCode.MALFORMED, "the meeting in the path is not a UUID"
        ) from None


def _size(request: web.Request, most: int) -> int:
    """Return the announced size of the body, in bytes, which limits it. Raise NotDelivered."""
    size = request.content_length
    if size is None:
        raise not_delivered(DeliveryCode.MALFORMED, "the request has no Content-Length header")
    if size > most:
        raise not_delivered(
            DeliveryCode.TOO_LARGE, f"the request has {size} bytes, and {most} are allowed"
        )
    return size


def _json(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text, content_type="application/json")
