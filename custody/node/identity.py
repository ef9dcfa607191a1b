"""A node's identity: the Ed25519 key that signs audit heads, and the certificate's node id."""

from pathlib import Path

from custody.runtime.errors import ConfigurationError
from custody.runtime.signing_key import load_signing_key
from custody.runtime.tls import load_certificates
from custody.wire.nodes import node_of
from custody.wire.signed_bytes import SigningKey


def load_identity(path: Path) -> SigningKey:
    """Read the identity key. Raise ConfigurationError."""
    return load_signing_key(
        path,
        "the node's identity key",
        "Restore the file from its backup; a new identity starts a new audit history.",
    )


def require_certificate_of(node: str, path: Path) -> None:
    """Raise ConfigurationError unless the certificate is this node's.

    The control plane knows a node by its certificate. With another node's certificate, outcomes
    and audit heads would name a node that did not send them.
    """
    try:
        found = node_of(load_certificates(path)[0])
    except ValueError:
        raise ConfigurationError(
            f"the certificate {path} names no node",
            f"Make a request here with: pki csr node {node}. Then: pki sign, and pki install.",
        ) from None
    if found != node:
        raise ConfigurationError(
            f"the certificate {path} is of node {found!r}, the configuration says {node!r}",
            "Correct [node] id, or name this node's certificate in [control_plane].",
        )
