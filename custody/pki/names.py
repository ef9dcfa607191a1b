"""The names in certificates: a node's SAN URI, a server's DNS names and addresses (RFC 5280)."""

import ipaddress
from dataclasses import dataclass, field

from cryptography import x509

from custody.wire.nodes import node_urn

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class ServerNames:
    """The names and addresses in a server's certificate; at least one."""

    dns: list[str] = field(default_factory=list)
    ip: list[IpAddress] = field(default_factory=list)


def node_names(node_id: str) -> x509.SubjectAlternativeName:
    """Return the SAN of a node. Raise ValueError for an invalid id."""
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(node_urn(node_id))])


def server_names(names: ServerNames) -> x509.SubjectAlternativeName:
    """Return the SAN of a server."""
    return x509.SubjectAlternativeName(
        [*(x509.DNSName(dns) for dns in names.dns), *(x509.IPAddress(ip) for ip in names.ip)]
    )


def names_of(certificate: x509.Certificate) -> set[x509.GeneralName]:
    """Return the names in a certificate's SAN; empty without a SAN."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return set()
    return set(found.value)
