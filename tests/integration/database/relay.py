"""A TCP relay before a database that can stop forwarding, as a network does that drops packets."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from psycopg.conninfo import conninfo_to_dict


def at(parts: Mapping[str, Any], host: str, port: object) -> str:
    """Return a database's URL with other hosts and ports."""
    who = f"{parts['user']}:{quote(str(parts['password']))}"
    return f"postgresql://{who}@/{parts['dbname']}?host={host}&port={port}"


class Relay:
    """Listens on loopback; ``url`` is the database's URL through it."""

    def __init__(self, url: str) -> None:
        parts = conninfo_to_dict(url)
        self._host, self._port = str(parts["host"]), int(str(parts["port"]))
        self._parts = parts
        self._passes = asyncio.Event()
        self._tasks = set[asyncio.Task[None]]()
        self.connections = 0
        """How many clients have connected so far."""

    async def __aenter__(self) -> "Relay":
        self._passes.set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = at(self._parts, "127.0.0.1", port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def drop(self) -> None:
        """Forward nothing, and close nothing."""
        self._passes.clear()

    def pass_on(self) -> None:
        """Forward again, what was held back as well."""
        self._passes.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self._host.startswith("/"):
            path = f"{self._host}/.s.PGSQL.{self._port}"
            far_reader, far_writer = await asyncio.open_unix_connection(path)
        else:
            far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._forward(source, sink))
            self._tasks.add(task)

    async def _forward(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                await self._passes.wait()
                sink.write(data)
                await sink.drain()
        sink.close()
