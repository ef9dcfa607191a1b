"""What the public API answers with."""

from enum import StrEnum
from typing import Generic, Literal, TypeVar
from uuid import UUID

from pydantic import AwareDatetime

from wire.algorithms import Curve, Network, Protection, Scheme, Store
from wire.encoding import HexBytes, Model
from wire.node_api import NodeHealth
from wire.signatures import SignatureResult


class KeyStatus(StrEnum):
    PENDING = "Pending"
    ACTIVE = "Active"
    FAILED = "Failed"

    @property
    def is_final(self) -> bool:
        return self is not self.PENDING


class SignatureStatus(StrEnum):
    PENDING = "Pending"
    EXECUTING = "Executing"
    SIGNED = "Signed"
    REJECTED = "Rejected"
    FAILED = "Failed"

    @property
    def is_final(self) -> bool:
        return self in (self.SIGNED, self.REJECTED, self.FAILED)


class Reason(Model):
    """Why a request was rejected or failed, or (while Pending) why its last attempt failed."""

    code: str
    """Stable, for programs."""
    detail: str
    """For people."""
    node: str | None = None
    """The node that says so; null when the control plane does, at expiry."""


class Key(Model):
    id: UUID
    status: KeyStatus
    store: Store
    scheme: Scheme
    curve: Curve
    network: Network | None
    """The wallet's; null for a bare key."""
    public_key: HexBytes | None
    """33 bytes compressed SEC1, or 32 bytes raw for Ed25519; null until Active."""
    protection: Protection | None
    """Where the private key is used: in the HSM, or on the node's host; null until Active."""
    external_id: str | None
    reason: Reason | None
    created_at: AwareDatetime


class Wallet(Model):
    """A key with the address that a network gives it. Its status is its key's."""

    id: UUID
    status: KeyStatus
    store: Store
    network: Network
    key_id: UUID
    """Sign with POST /v1/keys/{key_id}/signatures."""
    address: str | None
    """Null until the wallet is Active."""
    external_id: str | None
    reason: Reason | None
    created_at: AwareDatetime


class Signature(Model):
    id: UUID
    key_id: UUID
    status: SignatureStatus
    kind: Literal["Hash", "Message"]
    message: str | None
    """As the request gave it; null for kind Hash."""
    digest: HexBytes | None
    """The 32 bytes that are signed; null for Ed25519, which signs the message itself."""
    signature: SignatureResult | None
    external_id: str | None
    reason: Reason | None
    created_at: AwareDatetime
    expires_at: AwareDatetime
    """A signature that is not final by then fails as expired."""


class Node(Model):
    """A driver: its certificate's id, and what its last heartbeat said."""

    id: str
    group: str
    version: str | None
    capabilities: dict[str, str]
    """Algorithm, as ECDSA/secp256k1, to protection: hsm or host."""
    health: NodeHealth
    last_seen: AwareDatetime | None
    """Time of its last heartbeat; null when it has never reported."""


Item = TypeVar("Item")


class Page(Model, Generic[Item]):
    """A page of a list, newest first."""

    items: list[Item]
    next_cursor: str | None
    """Null on the last page."""


class Problem(Model):
    """An error (RFC 9457, application/problem+json). ``code`` is stable; ``type`` is derived."""

    type: str
    title: str
    status: int
    code: str
    detail: str
