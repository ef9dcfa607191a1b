"""The client's certificate in the ASGI scope: who is on the other end of a mutual TLS connection.

No ASGI server hands it to the application. uvicorn's protocol class is made once per connection,
after the handshake, and makes a scope per request: the certificate is read at the one, and put
into ``scope["extensions"]["tls"]`` at the other.
"""

import asyncio
from typing import Any

from custody.runtime.limited_protocol import LimitedProtocol
from custody.runtime.peer_certificate import PeerCertificate, peer_of_connection


class MutualTlsProtocol(LimitedProtocol):
    """Gives each request's scope its connection's PeerCertificate."""

    _peer: PeerCertificate | None = None

    def connection_made(  # type: ignore[override]  # as in the class above
        self, transport: asyncio.Transport
    ) -> None:
        super().connection_made(transport)
        self._peer = peer_of_connection(transport)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {"tls": {"peer": self._peer}}


def peer_of(scope: Any) -> PeerCertificate | None:
    """Return the PeerCertificate of a request's scope; None if the connection brought none."""
    peer: PeerCertificate | None = scope.get("extensions", {}).get("tls", {}).get("peer")
    return peer
