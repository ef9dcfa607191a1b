"""A proxy in front of the real S3 server, for the faults that a network or a proxy causes."""

import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from devstack.certificates import Leaf
from devstack.processes import LOCALHOST

CHUNK = 65536
DRIP_SECONDS = 0.05
EMPTY_SUCCESS = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Cut(Exception):
    """The proxy closes the connection without an answer."""


@dataclass
class Request:
    """One request as it came. ``head`` ends with an empty line."""

    head: bytes
    body: bytes

    @property
    def line(self) -> str:
        return self.head.partition(b"\r\n")[0].decode()


Answer = Callable[[Request, Callable[[], bytes]], bytes]
"""Returns the answer to a request; its second argument lets the real server do it."""


def honest(_: Request, forward: Callable[[], bytes]) -> bytes:
    return forward()


def empty_success(_: Request, __: Callable[[], bytes]) -> bytes:
    """Return what a careless proxy answers by itself."""
    return EMPTY_SUCCESS


def cut_before_the_server(_: Request, __: Callable[[], bytes]) -> bytes:
    raise Cut


def cut_after_the_server(_: Request, forward: Callable[[], bytes]) -> bytes:
    """Let the server store the object, and lose its answer."""
    forward()
    raise Cut


def error(status: int, code: str) -> Answer:
    def answer(_: Request, __: Callable[[], bytes]) -> bytes:
        body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
        head = f"HTTP/1.1 {status} No\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        return head.encode() + body

    return answer


def content(body: bytes, size: int | None = None) -> Answer:
    """Answer with this body. ``size``: what the head says instead of the body's size."""
    length = len(body) if size is None else size
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    return lambda _, __: head.encode() + body


@dataclass
class FaultyS3:
    """Listens with TLS until closed. ``answer`` may be changed while it runs.

    ``released``: a slow answer waits for it, so that a test takes no longer than it needs.
    ``at_once``: the bytes of an answer that are sent at once; the others follow one by one.
    """

    leaf: Leaf
    port_behind: int
    answer: Answer = honest
    requests: list[Request] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    at_once: int | None = None

    def __post_init__(self) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self.leaf.certificate, self.leaf.private_key)
        self._trust = ssl.create_default_context(cafile=str(self.leaf.ca))
        self._listener = socket.create_server((LOCALHOST, 0))
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"https://{LOCALHOST}:{self._listener.getsockname()[1]}"

    def slow(self, _: Request, forward: Callable[[], bytes]) -> bytes:
        """Let the server store the object, and hold its answer back."""
        answer = forward()
        self.released.wait(60)
        return answer

    def close(self) -> None:
        self.released.set()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        try:
            with self._context.wrap_socket(connection, server_side=True) as client:
                request = _read(client)
                self.requests.append(request)
                self._send(client, self.answer(request, lambda: self._forward(request)))
        except (Cut, OSError):
            pass
        finally:
            connection.close()

    def _send(self, client: ssl.SSLSocket, answer: bytes) -> None:
        if self.at_once is None:
            client.sendall(answer)
            return
        client.sendall(answer[: self.at_once])
        for byte in answer[self.at_once :]:
            self.released.wait(DRIP_SECONDS)
            client.sendall(bytes([byte]))

    def _forward(self, request: Request) -> bytes:
        """Return the real server's answer, with which the connection ends."""
        head = b"\r\n".join(
            line
            for line in request.head.split(b"\r\n")
            if not line.lower().startswith((b"expect:", b"connection:"))
        )
        head = head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        plain = socket.create_connection((LOCALHOST, self.port_behind))
        with self._trust.wrap_socket(plain, server_hostname=LOCALHOST) as server:
            server.sendall(head + request.body)
            answer = b""
            while chunk := server.recv(CHUNK):
                answer += chunk
        return answer


def _read(client: ssl.SSLSocket) -> Request:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(client)
    head, _, body = data.partition(b"\r\n\r\n")
    fields = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])
    }
    if fields.get(b"expect") == b"100-continue":
        client.sendall(CONTINUE)
    while len(body) < int(fields.get(b"content-length", b"0")):
        body += _some(client)
    return Request(head + b"\r\n\r\n", body)


def _some(client: ssl.SSLSocket) -> bytes:
    chunk = client.recv(CHUNK)
    if not chunk:
        raise Cut
    return chunk
