"""Accept connections within limits. Connections count from before their TLS handshake."""

import asyncio
import contextlib
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address

import structlog

from custody.runtime.activities import keep_going
from custody.runtime.http_limits import HttpLimits
from custody.runtime.live_tls import LiveTls

BACKLOG = 512
HANDSHAKE_SECONDS = 10.0
SHUTDOWN_SECONDS = 10.0
"""Time for a peer to read the last bytes and to end TLS on its side."""
PAUSE_SECONDS = 0.5
"""Pause in seconds after the process has run out of file descriptors."""
IPV6_NETWORK_BITS = 64
"""A host that has one IPv6 address usually has a whole network of this size."""

log = structlog.get_logger(__name__)


class Place:
    """The place of one connection, until the connection releases it.

    ``is_beyond``: its address has too many connections. The listener only answers with that
    problem.
    """

    def __init__(self, connections: "Connections", key: int | None, is_beyond: bool) -> None:
        self._connections: Connections | None = connections
        self._key = key
        self.is_beyond = is_beyond
        self.transport: asyncio.Transport | None = None
        """The connection, from the end of its TLS handshake on."""

    def release(self) -> None:
        """Release the place; further calls do nothing."""
        if self._connections is not None:
            self._connections.release(self, self._key)
            self._connections = None
            self.transport = None


class Connections:
    """Counts all connections, and the connections of each address."""

    def __init__(self, limits: HttpLimits) -> None:
        self._limits = limits
        self._of_address = Counter[int | None]()
        self._total = 0
        self._places = set[Place]()

    def take(self, address: str) -> Place | None:
        """Return a place, or None if not even an answer has room."""
        if self._total >= self._limits.connections:
            return None
        key, most = self._key(address), self._limits.address_connections
        held = 0 if key is None else self._of_address[key]
        if held >= 2 * most:
            return None
        self._total += 1
        self._of_address[key] += 1
        place = Place(self, key, is_beyond=held >= most)
        self._places.add(place)
        return place

    def open_transports(self) -> list[asyncio.Transport]:
        """Return the connections whose handshake has ended."""
        return [each.transport for each in self._places if each.transport is not None]

    def release(self, place: Place, key: int | None) -> None:
        self._places.discard(place)
        self._total -= 1
        self._of_address[key] -= 1
        if not self._of_address[key]:
            del self._of_address[key]

    def _key(self, address: str) -> int | None:
        """Return the address or network that counts as one client; None for a trusted proxy."""
        ip = _parse(address)
        if any(ip in network for network in self._limits.trusted_proxies):
            return None
        if isinstance(ip, IPv4Address):
            return int(ip)
        return -1 - (int(ip) >> (128 - IPV6_NETWORK_BITS))


def _parse(address: str) -> IPv4Address | IPv6Address:
    ip = ip_address(address.partition("%")[0])
    return ip.ipv4_mapped or ip if isinstance(ip, IPv6Address) else ip


class Acceptor:
    """Gives each connection a protocol object, which releases the connection's place.

    With ``tls``, each connection uses the context of the moment. If the trust in peers changes, the
    acceptor aborts each connection whose peer is not trusted any more, also during a request.
    """

    def __init__(
        self,
        listening: socket.socket,
        connections: Connections,
        make: Callable[[Place], asyncio.Protocol],
        tls: LiveTls | None,
    ) -> None:
        self._listening = listening
        self._connections = connections
        self._make = make
        self._tls = tls
        self._handshakes = set[asyncio.Task[None]]()
        self._accepting: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._listening.setblocking(False)
        self._listening.listen(BACKLOG)
        if self._tls is not None:
            self._tls.subscribe(self._cut_untrusted)
        self._accepting = asyncio.create_task(
            keep_going("accept", self._accept_repeatedly), name="accept"
        )

    def close(self) -> None:
        """Stop accepting; connections that are being served stay open until they end."""
        for task in (self._accepting, *self._handshakes):
            if task is not None:
                task.cancel()

    async def wait_closed(self) -> None:
        tasks = [task for task in (self._accepting, *self._handshakes) if task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)

    def _cut_untrusted(self) -> None:
        assert self._tls is not None
        for transport in self._connections.open_transports():
            try:
                self._tls.require_trusted(transport.get_extra_info("ssl_object"))
            except ssl.SSLError as error:
                log.warning(
                    "connection cut",
                    peer=transport.get_extra_info("peername"),
                    reason=error.strerror,
                )
                transport.abort()

    async def _accept_repeatedly(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(self._listening)
            except ConnectionError:  # the client has closed the connection already
                continue
            except OSError as error:
                log.warning("cannot accept connections", error=error.strerror)
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            place = self._connections.take(address[0])
            if place is None:
                accepted.close()
                continue
            task = asyncio.create_task(self._serve(accepted, place))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    async def _serve(self, accepted: socket.socket, place: Place) -> None:
        tls = None if self._tls is None else self._tls.context
        generation = 0 if self._tls is None else self._tls.trust_generation
        try:
            with contextlib.suppress(OSError):
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._make(place),
                accepted,
                ssl=tls,
                ssl_handshake_timeout=None if tls is None else HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=None if tls is None else SHUTDOWN_SECONDS,
            )
            place.transport = transport
            if self._tls is not None and self._tls.trust_generation != generation:
                self._cut_untrusted()
        except OSError:  # a TLS error or a handshake timeout is an OSError too
            place.release()
            accepted.close()
        except BaseException:
            place.release()
            accepted.close()
            raise
