"""Sends lines to a syslog server: RFC 5424 over a UNIX datagram socket, UDP or TCP (RFC 6587).

``logging.handlers.SysLogHandler`` writes the older form of RFC 3164 without a version, and ends TCP
messages by a NUL byte. So this is a function that frames a message, and a socket.
"""

import socket
from datetime import UTC, datetime
from urllib.parse import urlsplit

from custody.runtime.errors import OperatorError

PRIORITY = 13 * 8 + 5
"""Facility 13 (log audit), severity 5 (notice): RFC 5424, section 6.2.1."""
SECONDS = 10.0
EXAMPLES = "udp://logs.example:514, tcp://logs.example:601 or unix:///dev/log"


def frame(program: str, message_id: str, message: str, at: datetime, host: str) -> bytes:
    """Return one message as RFC 5424 has it, without structured data. All names are ASCII."""
    time = at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return f"<{PRIORITY}>1 {time} {host} {program} - {message_id} - {message}".encode()


class Syslog:
    """A connection to a server. Use it as a context. All methods raise OperatorError."""

    def __init__(self, url: str, program: str) -> None:
        self._url = urlsplit(url)
        self._text = url
        self._program = program
        self._host = socket.gethostname() or "-"
        if not self._is_known():
            raise OperatorError(f"{url!r} names no syslog server", f"Write it as {EXAMPLES}.")

    def __enter__(self) -> "Syslog":
        url = self._url
        try:
            if url.scheme == "unix":
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.settimeout(SECONDS)
                self._socket.connect(url.path)
            elif url.scheme == "tcp":
                server = (url.hostname, url.port)
                self._socket = socket.create_connection(server, timeout=SECONDS)
            else:
                kind = socket.SOCK_DGRAM
                family, _, _, _, address = socket.getaddrinfo(url.hostname, url.port, type=kind)[0]
                self._socket = socket.socket(family, kind)
                self._socket.settimeout(SECONDS)
                self._socket.connect(address)
        except OSError as error:
            raise self._failed(error) from None
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, message_id: str, message: str) -> None:
        """Send one message."""
        framed = frame(self._program, message_id, message, datetime.now(UTC), self._host)
        if self._url.scheme == "tcp":
            framed = str(len(framed)).encode() + b" " + framed  # RFC 6587: octet counting
        try:
            self._socket.sendall(framed)
        except OSError as error:
            raise self._failed(error) from None

    def _is_known(self) -> bool:
        try:
            port = self._url.port
        except ValueError:
            return False
        if self._url.scheme == "unix":
            return self._url.path.startswith("/")
        return self._url.scheme in ("udp", "tcp") and bool(self._url.hostname) and bool(port)

    def _failed(self, error: OSError) -> OperatorError:
        return OperatorError(
            f"the syslog server at {self._text} did not take a record: {error.strerror or error}",
            "Start it, or correct the address. A record that is too long for a datagram needs tcp.",
        )
