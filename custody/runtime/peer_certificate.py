"""The peer of a mutual TLS connection, identified by its certificate."""

import ssl
from asyncio import BaseTransport
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography import x509

from custody.wire.nodes import node_of


@dataclass(frozen=True)
class PeerCertificate:
    """A peer's certificate; the TLS handshake proved that the peer has its private key.

    ``node`` is None if the certificate is valid but names no node.
    """

    node: str | None
    serial_number: int
    not_before: datetime
    not_after: datetime


def peer_of_connection(transport: BaseTransport) -> PeerCertificate | None:
    """Return the certificate, or None if the connection has none or is not TLS."""
    tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    der = tls.getpeercert(binary_form=True) if tls is not None else None
    return None if der is None else _parse(der)


@lru_cache(maxsize=256)  # the certificate is the same at every request of a connection
def _parse(der: bytes) -> PeerCertificate:
    certificate = x509.load_der_x509_certificate(der)
    return PeerCertificate(
        node=_node(certificate),
        serial_number=certificate.serial_number,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def _node(certificate: x509.Certificate) -> str | None:
    try:
        return node_of(certificate)
    except ValueError:
        return None
