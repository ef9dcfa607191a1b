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
    detail: str
    node: str | None = None


class Key(Model):
    id: UUID
    status: KeyStatus
    store: Store
    scheme: Scheme
    curve: Curve
    network: Network | None
    public_key: HexBytes | None
    """33 bytes compressed SEC1, or 32 bytes raw for Ed25519; null until Active."""
    protection: Protection | None
    external_id: str | None
    reason: Reason | None
    created_at: AwareDatetime


class Wallet(Model):
    """``status`` is its key's; ``address`` is null until that is Active."""

    id: UUID
    status: KeyStatus
    store: Store
    network: Network
    key_id: UUID
    address: str | None
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


class Node(Model):
    """A driver: its certificate's id, and what its last heartbeat said."""

    id: str
    group: str
    version: str | None
    capabilities: dict[str, str]
    health: NodeHealth
    last_seen: AwareDatetime | None


Item = TypeVar("Item")


class Page(Model, Generic[Item]):
    """``next_cursor`` is null on the last page."""

    items: list[Item]
    next_cursor: str | None


class Problem(Model):
    """An error (RFC 9457, application/problem+json). ``code`` is stable; ``type`` is derived."""

    type: str
    title: str
    status: int
    code: str
    detail: str
