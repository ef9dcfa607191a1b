"""A cheap load generator: raw HTTP/1.1 over persistent TLS connections, in its own process.

python -m benchmarks.http_load < specification.json > result.json
"""

import asyncio
import json
import ssl
import sys
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import uvloop

from custody.wire.encoding import Model


class Load(Model):
    """A load. ``requests``: (path with query, body); each free client sends the next request."""

    url: str
    ca: str
    certificate: str | None = None
    private_key: str | None = None
    headers: dict[str, str]
    clients: int
    requests: list[tuple[str, str]]
    seconds: float
    expect: str
    """A text that every answer must contain; otherwise the measurement fails."""


class LoadResult(Model):
    """The result. ``seconds``: from the first request to the last answer. Latencies in seconds."""

    seconds: float
    latencies: list[float]

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds

    def quantile(self, fraction: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * fraction))]


async def run(load: Load) -> LoadResult:
    """Keep ``clients`` requests under way until all requests are sent or the time is over."""
    requests = iter(load.requests)
    latencies: list[float] = []
    connections = [await _connect(load) for _ in range(load.clients)]
    start = time.perf_counter()
    end = start + load.seconds
    await asyncio.gather(
        *(_client(load, connection, requests, end, latencies) for connection in connections)
    )
    seconds = time.perf_counter() - start
    for _, writer in connections:
        writer.close()
    return LoadResult(seconds=seconds, latencies=latencies)


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _connect(load: Load) -> Connection:
    parts = urlsplit(load.url)
    context = ssl.create_default_context(cafile=load.ca)
    if load.certificate is not None:
        context.load_cert_chain(load.certificate, load.private_key)
    return await asyncio.open_connection(parts.hostname, parts.port, ssl=context)


async def _client(
    load: Load,
    connection: Connection,
    requests: Iterator[tuple[str, str]],
    end: float,
    latencies: list[float],
) -> None:
    reader, writer = connection
    headers = _headers(load)
    expect = load.expect.encode()
    for target, body in requests:
        started = time.perf_counter()
        if started >= end:
            return
        head = f"POST {target} HTTP/1.1\r\n{headers}content-length: {len(body)}\r\n\r\n"
        writer.write((head + body).encode())
        answer = await _answer(reader)
        latencies.append(time.perf_counter() - started)
        if expect not in answer:
            raise RuntimeError(f"an answer does not contain {load.expect!r}: {answer[:500]!r}")


def _headers(load: Load) -> str:
    headers = {"host": urlsplit(load.url).netloc, "content-type": "application/json"}
    return "".join(f"{name}: {value}\r\n" for name, value in (headers | load.headers).items())


async def _answer(reader: asyncio.StreamReader) -> bytes:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    at = head.index(b"content-length:") + len(b"content-length:")
    return head + await reader.readexactly(int(head[at : head.index(b"\r\n", at)]))


def main() -> None:
    load = Load.model_validate_json(sys.stdin.buffer.read())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(run(load))
    json.dump(result.model_dump(), sys.stdout)


if __name__ == "__main__":
    main()
