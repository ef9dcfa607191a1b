"""The client's certificate in the ASGI scope: who is on the other end of a mutual TLS connection.

No ASGI server hands it to the application. uvicorn's protocol class is made once per connection,
after the handshake, and makes a scope per request: the certificate is read at the one, and put
into ``scope["extensions"]["tls"]`` at the other.
"""

import asyncio
import ssl
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from wire.nodes import node_of


@dataclass(frozen=True)
class PeerCertificate:
    """The certificate that the handshake proved the peer to have the private key of.

    ``node`` is None when it names no node: it is one of ours, but not a node's.
    """

    node: str | None
    serial_number: int
    not_after: datetime


class MutualTlsProtocol(HttpToolsProtocol):
    """Gives each request's scope its connection's PeerCertificate."""

    _peer: PeerCertificate | None = None

    def connection_made(  # type: ignore[override]  # as in the class above
        self, transport: asyncio.Transport
    ) -> None:
        super().connection_made(transport)
        tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        der = tls.getpeercert(binary_form=True) if tls is not None else None
        self._peer = parse_peer(der) if der is not None else None

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {"tls": {"peer": self._peer}}


def parse_peer(der: bytes) -> PeerCertificate:
    """What matters of a certificate that the handshake has verified."""
    certificate = x509.load_der_x509_certificate(der)
    return PeerCertificate(
        node=_node(certificate),
        serial_number=certificate.serial_number,
        not_after=certificate.not_valid_after_utc,
    )


def peer_of(scope: Any) -> PeerCertificate | None:
    """The PeerCertificate of a request's scope; None when the connection brought none."""
    peer: PeerCertificate | None = scope.get("extensions", {}).get("tls", {}).get("peer")
    return peer


def _node(certificate: x509.Certificate) -> str | None:
    try:
        return node_of(certificate)
    except ValueError:
        return None
