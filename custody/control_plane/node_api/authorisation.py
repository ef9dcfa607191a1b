"""The identity of a node: by its certificate, and registered by the operator."""

from dataclasses import dataclass
from datetime import UTC, datetime

from fastapi import Request

from custody.control_plane.database import Database
from custody.control_plane.mtls import peer_of
from custody.control_plane.problems import Code, ProblemError
from custody.runtime.cache import Cache
from custody.runtime.peer_certificate import PeerCertificate

BELIEVED_SECONDS = 1.0
MAX_BELIEVED = 10_000
"""Longest time in seconds that a removed node may still be let in."""

_NODE = "SELECT node_group, identity_public_key, certificates_from FROM nodes WHERE id = :node"


@dataclass(frozen=True)
class RegisteredNode:
    """A node that the operator registered. ``identity`` is None before its first heartbeat.

    ``certificates_from``: the earliest begin of a certificate that is accepted; None for any.
    """

    id: str
    group: str
    identity: bytes | None
    certificates_from: datetime | None = None


class Authorisation:
    """Looks nodes up, and remembers those it found for a moment."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._found = Cache[str, RegisteredNode](MAX_BELIEVED, BELIEVED_SECONDS)

    async def authorise(self, request: Request) -> RegisteredNode:
        """Return the node that sent a request. Raise ProblemError."""
        peer = peer_of(request.scope)
        node_id = authenticate(peer, datetime.now(UTC))
        node = self._found.get(node_id)
        if node is None:
            node = await self._read(node_id)
            if node.identity is not None:
                self._found.put(node_id, node)
        require_recent(peer, node.certificates_from)
        return node

    async def _read(self, node_id: str) -> RegisteredNode:
        row = await self._database.row(_NODE, {"node": node_id})
        if row is None:
            raise ProblemError(
                Code.NODE_NOT_REGISTERED,
                f"The certificate is good, but no node {node_id} is registered. "
                f"Run: control-plane node add {node_id} --group GROUP",
            )
        return RegisteredNode(
            node_id, row.node_group, row.identity_public_key, row.certificates_from
        )


def require_recent(peer: PeerCertificate | None, certificates_from: datetime | None) -> None:
    """Raise ProblemError for a certificate from before its node was added again."""
    if peer is None or certificates_from is None or peer.not_before >= certificates_from:
        return
    raise ProblemError(
        Code.CERTIFICATE_REJECTED,
        f"The certificate begins at {peer.not_before}. Node {peer.node} was added again with a "
        f"certificate that begins at {certificates_from}, and earlier ones are refused. Use that "
        "certificate or a later one.",
        headers={"Connection": "close"},
    )


def authenticate(peer: PeerCertificate | None, now: datetime) -> str:
    """Return the node id that a connection's certificate proves. Raise ProblemError."""
    if peer is None:
        raise ProblemError(
            Code.CERTIFICATE_REJECTED, "The connection brought no client certificate."
        )
    if peer.not_after <= now:
        raise ProblemError(
            Code.CERTIFICATE_REJECTED,
            f"The certificate expired at {peer.not_after}, while this connection was open. "
            "Renew it with: pki renew",
            headers={"Connection": "close"},
        )
    if peer.node is None:
        raise ProblemError(
            Code.CERTIFICATE_REJECTED,
            "The certificate names no node. Request one that does with: pki csr node",
        )
    return peer.node
