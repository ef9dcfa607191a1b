"""A relay before PostgreSQL that cuts a connection at a statement of its own choice.

It reads the client's half of the protocol (PostgreSQL's manual, section 55.7, "Message Formats"):
which text a Bind or a Query runs, and where an answer ends.
"""

import asyncio
import contextlib
import struct
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from enum import StrEnum

from psycopg.conninfo import conninfo_to_dict

from tests.integration.database.relay import at

SSL_REQUEST = 80877103
READY_FOR_QUERY = b"Z\0\0\0\5"
LENGTH = struct.Struct("!I")


class Cut(StrEnum):
    BEFORE = "before"
    """The statement never reaches the server."""
    AFTER = "after"
    """The server has done it, and the client gets no answer."""


@dataclass(frozen=True)
class Plan:
    text: str
    cut: Cut


class CuttingRelay:
    """Runs in a thread of its own. ``url``: the database's URL through it."""

    def __init__(self, url: str) -> None:
        parts = conninfo_to_dict(url)
        self._host, self._port = str(parts["host"]), int(str(parts["port"]))
        self._parts = parts
        self._plan: Plan | None = None
        self.ran: Counter[str] = Counter()
        """How often each text has run."""
        self._hit = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> "CuttingRelay":
        self._thread.start()
        serving = asyncio.start_server(self._serve, "127.0.0.1", 0)
        server = asyncio.run_coroutine_threadsafe(serving, self._loop).result()
        self.url = at(self._parts, "127.0.0.1", server.sockets[0].getsockname()[1])
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        tasks = asyncio.all_tasks(self._loop) - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def cut_at(self, text: str, cut: Cut) -> threading.Event:
        """Cut the connection that runs this text next. The event is set when that is done."""
        self._hit = threading.Event()
        self._plan = Plan(text, cut)
        return self._hit

    def spare(self) -> None:
        """Cut nothing."""
        self._plan = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(self._host, self._port)
        connection = _Connection(self, reader, writer, server_reader, server_writer)
        await connection.run()

    def runs(self, text: str) -> Cut | None:
        """Note a text that is about to run; whether, and how, to cut there."""
        self.ran[text] += 1
        plan = self._plan
        if plan is None or plan.text != text:
            return None
        self._plan = None
        return plan.cut

    def done(self) -> None:
        self._hit.set()


class _Connection:
    def __init__(
        self,
        relay: CuttingRelay,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        server_reader: asyncio.StreamReader,
        server_writer: asyncio.StreamWriter,
    ) -> None:
        self._relay = relay
        self._reader, self._writer = reader, writer
        self._server_reader, self._server_writer = server_reader, server_writer
        self._texts: dict[bytes, str] = {}
        self._ends = False
        """The client gets nothing more: the end of the server's next answer ends the connection."""

    async def run(self) -> None:
        forward = [asyncio.create_task(self._to_server()), asyncio.create_task(self._to_client())]
        try:
            await asyncio.wait(forward, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in forward:
                task.cancel()
            await asyncio.gather(*forward, return_exceptions=True)
            self._writer.close()
            self._server_writer.close()

    async def _to_server(self) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await self._start_up()
            async for kind, body in messages(self._reader):
                cut = self._relay.runs(text) if (text := self._text(kind, body)) else None
                if cut is Cut.BEFORE:
                    self._relay.done()
                    return
                if cut is Cut.AFTER:
                    self._ends = True
                self._server_writer.write(kind + LENGTH.pack(len(body) + 4) + body)
                await self._server_writer.drain()

    async def _start_up(self) -> None:
        """Pass the messages that have no type: requests for TLS, then the start-up itself."""
        while True:
            head = await self._reader.readexactly(8)
            size, code = struct.unpack("!II", head)
            self._server_writer.write(head + await self._reader.readexactly(size - 8))
            if code != SSL_REQUEST:
                return

    def _text(self, kind: bytes, body: bytes) -> str | None:
        """The text that a message runs."""
        if kind == b"P":  # Parse
            name, text, _ = body.split(b"\0", 2)
            self._texts[name] = " ".join(text.decode().split())
        elif kind == b"B":  # Bind
            return self._texts.get(body.split(b"\0", 2)[1])
        elif kind == b"Q":  # Query
            return " ".join(body[:-1].decode().split())
        return None

    async def _to_client(self) -> None:
        unseen = b""
        with contextlib.suppress(OSError):
            while data := await self._server_reader.read(65536):
                if not self._ends:
                    self._writer.write(data)
                    await self._writer.drain()
                    continue
                unseen += data
                if READY_FOR_QUERY in unseen:  # the server has done the statement
                    self._relay.done()
                    return


async def messages(reader: asyncio.StreamReader) -> AsyncIterator[tuple[bytes, bytes]]:
    """The client's messages after the start-up: type and body."""
    while True:
        kind = await reader.readexactly(1)
        (size,) = LENGTH.unpack(await reader.readexactly(4))
        yield kind, await reader.readexactly(size - 4)


@contextlib.contextmanager
def relays(*urls: str) -> Iterator[list[CuttingRelay]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(CuttingRelay(url)) for url in urls]
