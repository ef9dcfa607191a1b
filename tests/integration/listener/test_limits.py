"""What a listener takes of clients that it does not know, over raw sockets."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import uvloop
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from custody.runtime import acceptor, limited_protocol
from custody.runtime.http_limits import HttpLimits
from custody.runtime.listener import Listener, config
from custody.runtime.live_tls import LiveTls
from custody.runtime.tls import TlsFiles
from devstack.certificates import Certificates
from devstack.processes import LOCALHOST
from tests.waiting import until

MIB = 1024 * 1024
SMALL: dict[str, Any] = {
    "header_bytes": 2048,
    "header_count": 10,
    "header_seconds": 0.4,
    "body_seconds": 0.4,
}
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"

Connect = Callable[..., Awaitable["Client"]]


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The event loop that daemons run on."""
    return {"uvloop": uvloop.new_event_loop}


class Client:
    """A connection of which the test writes every byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the next answer."""
        async with asyncio.timeout(5):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            pairs = [line.partition(": ")[::2] for line in head[1:-2]]
            headers = {name.lower(): value for name, value in pairs}
            body = await self.reader.readexactly(int(headers["content-length"]))
        return int(head[0].split(" ")[1]), headers, body

    async def problem(self, status: int, code: str) -> dict[str, str]:
        """The headers of a problem that ends the connection."""
        found, headers, body = await self.answer()
        assert found == status
        assert headers["content-type"] == "application/problem+json"
        assert headers["connection"] == "close"
        shown = json.loads(body)
        assert (shown["status"], shown["code"]) == (status, code)
        assert shown["type"] == f"urn:custody:problem:{code}"
        assert await self.is_cut()
        return headers

    async def is_cut(self) -> bool:
        """Whether the other side ends the connection, and says nothing more."""
        async with asyncio.timeout(5):
            try:
                return await self.reader.read(1) == b""
            except ConnectionError:
                return True

    async def flood(self, piece: bytes, most: int) -> int:
        """Send the piece until the connection is cut; how many bytes could be sent."""
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < most:
                await self.send(piece)
                sent += len(piece)
        return sent

    def close(self) -> None:
        self.writer.close()


class Served:
    """The application, and what it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.gone = 0
        self.let_go = asyncio.Event()

    async def answer(self, request: Request) -> Response:
        self.asked += 1
        try:
            body = await request.body()
        except ClientDisconnect:
            self.gone += 1
            raise
        if request.url.path == "/wait":
            await self.let_go.wait()
        return PlainTextResponse(f"{len(body)} bytes")


@pytest.fixture
def served() -> Served:
    return Served()


@pytest.fixture
async def connect(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., Awaitable[Connect]]]:
    """``connect = await listening(**limits)``; ``client = await connect()``."""
    monkeypatch.setattr(limited_protocol, "LINGER_SECONDS", 0.2)
    listeners: list[Listener] = []
    clients: list[Client] = []

    async def listen(tls: LiveTls | None = None, **changes: Any) -> Connect:
        methods = ["GET", "POST"]
        app = Starlette(routes=[Route("/{path:path}", served.answer, methods=methods)])
        settings: dict[str, Any] = {} if tls is None else {"tls": tls}
        limits = HttpLimits(**(SMALL | changes))
        listener = Listener(config(app, LOCALHOST, 0, limits=limits, **settings))
        port = await listener.start()
        listeners.append(listener)

        async def open_connection(**more: Any) -> Client:
            client = Client(*await asyncio.open_connection(LOCALHOST, port, **more))
            clients.append(client)
            return client

        return open_connection

    yield listen
    served.let_go.set()
    for client in clients:
        client.close()
    await asyncio.gather(*(listener.stop() for listener in listeners))


async def is_served(client: Client) -> bool:
    await client.send(GET)
    status, _, _ = await client.answer()
    return status == 200


async def served_client(open_connection: Connect, **options: Any) -> Client | None:
    """Return a new client that is served: a listener notices in its own time who has closed."""
    client = await open_connection(**options)
    try:
        if await is_served(client):
            return client
    except (OSError, EOFError):
        pass
    client.close()
    return None


async def test_requests_within_the_limits_are_served_on_one_connection(connect: Any):
    client = await (await connect())()
    for _ in range(3):
        assert await is_served(client)
    await client.send(POST)
    await asyncio.sleep(0.1)  # the rest of the request is late
    await client.send(b"hello")
    assert (await client.answer())[2] == b"5 bytes"
    await asyncio.sleep(2 * SMALL["header_seconds"])  # between requests time is not counted
    assert await is_served(client)


@pytest.mark.parametrize(
    "endless",
    [
        (b"GET / HTTP/1.1\r\nX: ", b"x" * 65536),
        (b"GET /", b"x" * 65536),
        (b"GET / HTTP/1.1\r\n", b"X: y\r\n" * 10_000),
        (CHUNKED + b"1\r\nx\r\n0\r\nX: ", b"x" * 65536),
        (CHUNKED + b"1\r\nx\r\n0\r\n", b"X: y\r\n" * 10_000),
        (CHUNKED + b"1;", b"x" * 65536),
    ],
    ids=["a header", "a path", "headers", "a trailer", "trailers", "a chunk's extension"],
)
async def test_what_never_ends_is_answered_and_cut_after_a_bounded_number_of_bytes(
    connect: Any, endless: tuple[bytes, bytes]
):
    begin, piece = endless
    client = await (await connect())()
    await client.send(begin)
    sent = await client.flood(piece, 40 * MIB)
    assert sent < 16 * MIB  # most of it is in the buffers of two sockets
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        assert (await client.answer())[0] == 431


async def test_headers_over_the_limit_are_431(connect: Any, served: Served):
    open_connection = await connect()
    for head in (
        b"GET / HTTP/1.1\r\nX: " + b"x" * 2048 + b"\r\n\r\n",
        b"GET /" + b"x" * 2048 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 11 + b"\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 2048,
    ):
        client = await open_connection()
        await client.send(head)
        await client.problem(431, "headers_too_large")
    assert served.asked == 0
    within = b"GET / HTTP/1.1\r\nX: " + b"x" * 1900 + b"\r\n" + b"X: y\r\n" * 9 + b"\r\n"
    client = await open_connection()
    await client.send(within)
    assert (await client.answer())[0] == 200


async def test_headers_that_come_too_slowly_are_408(connect: Any):
    client = await (await connect())()
    for byte in GET[:5]:
        await client.send(bytes([byte]))
        await asyncio.sleep(0.01)
    await client.problem(408, "request_timeout")


async def test_a_later_request_has_no_more_time(connect: Any):
    client = await (await connect())()
    assert await is_served(client)
    await client.send(GET[:20])
    await client.problem(408, "request_timeout")


@pytest.mark.parametrize("begun", [POST + b"h", CHUNKED + b"1\r\nx\r\n"])
async def test_a_body_that_comes_too_slowly_is_408_and_its_application_is_told(
    connect: Any, served: Served, begun: bytes
):
    client = await (await connect())()
    await client.send(begun)
    await client.problem(408, "request_timeout")
    assert (served.asked, served.gone) == (1, 1)


@pytest.mark.parametrize("said", [b"", b"\r\n"])
async def test_who_says_nothing_is_cut(connect: Any, said: bytes):
    client = await (await connect())()
    await client.send(said)
    assert await client.is_cut()


async def test_empty_lines_between_requests_do_not_keep_a_connection(connect: Any):
    client = await (await connect())()
    assert await is_served(client)
    await client.send(b"\r\n")
    assert await client.is_cut()


async def test_an_answer_may_take_as_long_as_it_likes(connect: Any, served: Served):
    client = await (await connect())()
    await client.send(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await asyncio.sleep(2 * SMALL["header_seconds"])  # the time that must not count
    served.let_go.set()
    assert (await client.answer())[0] == 200


@pytest.mark.parametrize(
    "said", [b"\x16\x03\x01\x02\x00", b"hello\r\n\r\n", b"GET / HTTP/9\r\n\r\n"]
)
async def test_what_is_not_http_is_400(connect: Any, said: bytes):
    client = await (await connect())()
    await client.send(said)
    await client.problem(400, "malformed_request")


async def test_many_requests_before_the_first_answer_are_cut(connect: Any, served: Served):
    client = await (await connect())()
    await client.send(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n" * 12)
    assert await client.is_cut()
    assert served.asked == 1


async def test_one_address_has_so_many_connections_and_no_more(connect: Any, served: Served):
    open_connection = await connect(address_connections=2, header_seconds=5)
    first, second = [await open_connection() for _ in range(2)]
    assert await is_served(first)
    assert await is_served(second)
    third = await open_connection()
    await third.send(GET)
    headers = await third.problem(429, "too_many_connections")
    assert int(headers["retry-after"]) > 0
    assert served.asked == 2
    beyond = [await open_connection() for _ in range(3)]
    assert await beyond[-1].is_cut()  # not even told so
    for client in (first, *beyond):
        client.close()
    assert await is_served(second)
    await until(lambda: served_client(open_connection))


async def test_a_trusted_proxy_has_the_connections_of_all_its_clients(connect: Any):
    open_connection = await connect(address_connections=1, trusted_proxies=[f"{LOCALHOST}/32"])
    for client in [await open_connection() for _ in range(4)]:
        assert await is_served(client)


async def test_there_are_so_many_connections_in_all_and_no_more(connect: Any):
    open_connection = await connect(connections=2, header_seconds=5)
    clients = [await open_connection() for _ in range(3)]
    assert await clients[2].is_cut()
    clients[0].close()
    await until(lambda: served_client(open_connection))


async def test_a_handshake_that_is_not_finished_is_counted_and_ended(
    connect: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(acceptor, "HANDSHAKE_SECONDS", 0.5)
    leaf = Certificates(tmp_path / "pki").server("limits")
    tls = LiveTls(TlsFiles("limits", leaf.certificate, leaf.private_key, is_server=True))
    open_connection = await connect(tls, connections=1, header_seconds=5)
    silent = await open_connection()
    assert await (await open_connection()).is_cut()
    assert await silent.is_cut()
    context = ssl.create_default_context(cafile=str(leaf.ca))
    secured = {"ssl": context, "server_hostname": LOCALHOST}
    client = await until(lambda: served_client(open_connection, **secured))
    await client.send(b"GET / HTTP/1.1\r\nX: " + b"x" * 4096)
    await client.problem(431, "headers_too_large")
