"""What the public API answers with."""

from enum import StrEnum
from typing import Generic, Literal, Self, TypeVar
from uuid import UUID

from pydantic import AwareDatetime, model_validator

from custody.wire.algorithms import Curve, Network, Protection, Scheme, Store, known_algorithm
from custody.wire.answers import Answer, Open, Unknown
from custody.wire.encoding import HexBytes
from custody.wire.envelope import SignedBytes
from custody.wire.node_api import NodeHealth
from custody.wire.public_keys import check_public_key
from custody.wire.signatures import SignatureResult


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


class ChangeStatus(StrEnum):
    """Of a refresh or a repair."""

    PENDING = "Pending"
    EXECUTING = "Executing"
    DONE = "Done"
    REJECTED = "Rejected"
    FAILED = "Failed"

    @property
    def is_final(self) -> bool:
        return self in (self.DONE, self.REJECTED, self.FAILED)


class Reason(Answer):
    """Why a request was rejected or failed, or (while Pending) why its last attempt failed."""

    code: str
    """Stable, for programs."""
    detail: str
    """For people. What names nodes, their operators and their faults is shown to scope admin."""
    node: str | None = None
    """The node that says so; null without the scope admin, and when the control plane does."""


class Key(Answer):
    id: UUID
    status: Open[KeyStatus]
    store: Open[Store]
    scheme: Open[Scheme]
    curve: Open[Curve]
    network: Open[Network] | None
    """The wallet's; null for a bare key."""
    public_key: HexBytes | None
    """33 bytes compressed SEC1, or 32 bytes raw for Ed25519; null until Active."""
    protection: Open[Protection] | None
    """Where the private key is used: in the HSM, on the node's host, or nowhere whole (mpc); null
    until Active."""
    signer_group: str | None
    """The signers that hold shares of it; of store mpc, as all that follows."""
    threshold: int | None
    """How many of them it takes to sign."""
    signers: list[str] | None
    """All of them, in order of their index."""
    generation: int | None
    """How often the shares have been refreshed; null until Active, and of a derived key."""
    root: UUID | None
    """The key that this one is derived from; null for any other."""
    path: str | None
    """From the root, as in ``m/0/5``."""
    chain_code: HexBytes | None
    """With it, children's public keys follow from this one's (BIP-32)."""
    attestations: tuple[SignedBytes, ...]
    """What the nodes that hold the key state of it, signed by each; a derived key's are its
    root's."""
    external_id: str | None
    reason: Reason | None
    created_at: AwareDatetime

    @model_validator(mode="after")
    def _has_a_public_key(self) -> Self:
        scheme, curve = self.scheme, self.curve
        if self.public_key is None or isinstance(scheme, Unknown) or isinstance(curve, Unknown):
            return self
        check_public_key(known_algorithm(scheme, curve), self.public_key)
        return self


class Wallet(Answer):
    """A key with the address that a network gives it. Its status is its key's."""

    id: UUID
    status: Open[KeyStatus]
    store: Open[Store]
    network: Open[Network]
    signer_group: str | None
    """The signers that hold shares of its key; of store mpc."""
    key_id: UUID
    """Sign with POST /v1/keys/{key_id}/signatures."""
    address: str | None
    """Null until the wallet is Active."""
    external_id: str | None
    reason: Reason | None
    created_at: AwareDatetime


class Signature(Answer):
    id: UUID
    key_id: UUID
    status: Open[SignatureStatus]
    kind: Open[Literal["Hash", "Message", "Transaction"]]
    message: str | None
    """As the request gave it; null for other kinds than Message."""
    transaction: HexBytes | None
    """As the request gave it; null for other kinds than Transaction."""
    digest: HexBytes | None
    """The 32 bytes that are signed; null for Ed25519, which signs the message itself."""
    signature: SignatureResult | None
    external_id: str | None
    reason: Reason | None
    created_at: AwareDatetime
    expires_at: AwareDatetime
    """A signature that is not final by then fails as expired."""


class KeyChange(Answer):
    """A refresh of a key's shares, or the repair of one: the key stays the same."""

    id: UUID
    key_id: UUID
    kind: Open[Literal["Refresh", "Repair"]]
    signer: str | None
    """Whose share is repaired; null for a refresh."""
    status: Open[ChangeStatus]
    external_id: str | None
    reason: Reason | None
    created_at: AwareDatetime
    expires_at: AwareDatetime
    """What is not done by then fails as expired, unless all signers have confirmed new shares."""


class SignerGroup(Answer):
    """The signers that make keys together, any ``threshold`` of which sign."""

    name: str
    signers: list[str]
    """In order of their index: 1 to n."""
    threshold: int
    owners: list[str | None]
    """Of each signer, in the same order; null where the operator named none."""
    single_owner_quorum: str | None
    """An owner whose signers alone reach the threshold; null when none does."""
    created_at: AwareDatetime


class SignerBan(Answer):
    """One signer never again signs with another under a key or its children."""

    key_id: UUID
    banned: str
    reason: str
    at: AwareDatetime


class SignerLeftInFlight(Answer):
    """A signer stopped while it signed with another: the two wait for its operator."""

    key_id: UUID
    signer: str
    """The other one."""
    since: AwareDatetime
    todo: str
    """What the operator has to do, with the command."""


class RegisteredSigner(Answer):
    """A signer, and what its last heartbeat said.

    From ``owner`` on, and ``health.detail``: null without the scope admin.
    """

    id: str
    group: str
    """Of nodes: that of all signers."""
    capabilities: dict[str, str]
    """Algorithm, as ECDSA/secp256k1, to protection: mpc."""
    health: NodeHealth
    owner: str | None
    version: str | None
    last_seen: AwareDatetime | None
    """Time of its last heartbeat; null when it has never reported."""
    has_gate: bool | None
    """Whether its owner's validation gate is asked before it signs."""
    bans: list[SignerBan] | None
    """Those that it has stated."""
    left_in_flight: list[SignerLeftInFlight] | None = None
    """The pairs that do not sign together until its operator has looked."""


class NodeRestore(Answer):
    """A database of a node that was restored from a backup, as the node has stated and signed."""

    number: int
    agreed_sequence: int
    """The last audit record that the node still has of those before the restore."""
    lost_sequence: int
    """The last record that it had reported, and has no more."""
    lost_hash: HexBytes
    own_sequence: int
    """Its last record when it stated the restore."""
    own_hash: HexBytes
    operator: str
    """Who says so at the node."""
    reason: str
    stated_at: AwareDatetime
    acknowledged_at: AwareDatetime | None
    """Null: nobody has acknowledged it, and the node is failing."""
    acknowledged_by: str | None
    acknowledged_reason: str | None


class Node(Answer):
    """A node: its certificate's id, and what its last heartbeat said.

    ``version``, ``last_seen`` and ``health.detail`` are null without the scope admin.
    """

    id: str
    group: str
    version: str | None
    capabilities: dict[str, str]
    """Algorithm, as ECDSA/secp256k1, to protection: hsm or host."""
    health: NodeHealth
    last_seen: AwareDatetime | None
    """Time of its last heartbeat; null when it has never reported."""
    restores: tuple[NodeRestore, ...]
    """Oldest first; none without the scope admin."""


Item = TypeVar("Item")


class Page(Answer, Generic[Item]):
    """A page of a list, newest first."""

    items: list[Item]
    next_cursor: str | None
    """Null on the last page."""


class Problem(Answer):
    """An error (RFC 9457, application/problem+json). ``code`` is stable; ``type`` is derived."""

    type: str
    title: str
    status: int
    code: str
    detail: str
