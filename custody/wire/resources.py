"""Answers of the public API."""

from enum import StrEnum
from typing import Generic, Literal, Self, TypeVar
from uuid import UUID

from pydantic import AwareDatetime, model_validator

from custody.wire.algorithms import Curve, Network, Protection, Scheme, Store, known_algorithm
from custody.wire.answers import Answer, Open, Unknown
from custody.wire.encoding import HexBytes
from custody.wire.node_api import NodeHealth
from custody.wire.public_keys import check_public_key
from custody.wire.signatures import SignatureResult
from custody.wire.signed_bytes import SignedBytes


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
    """Status of a refresh, a repair, an archival or its undoing."""

    PENDING = "Pending"
    EXECUTING = "Executing"
    DONE = "Done"
    REJECTED = "Rejected"
    FAILED = "Failed"

    @property
    def is_final(self) -> bool:
        return self in (self.DONE, self.REJECTED, self.FAILED)


class ImportStatus(StrEnum):
    """Status of an import. READY: the import keys wait for the application's key."""

    PENDING = "Pending"
    READY = "Ready"
    FAILED = "Failed"
    USED = "Used"
    EXPIRED = "Expired"

    @property
    def is_final(self) -> bool:
        """Return True once nodes do no more for it: READY only waits for the application."""
        return self is not self.PENDING


class Reason(Answer):
    """The reason of a rejection or failure; of the last attempt's failure while Pending."""

    code: str
    """Stable, for programs."""
    detail: str
    """Text for people. Only scope admin sees texts about nodes, their operators and their
    faults."""
    node: str | None = None
    """The node that gave the reason; null without scope admin, or if the control plane gave it."""


class Key(Answer):
    id: UUID
    status: Open[KeyStatus]
    store: Open[Store]
    scheme: Open[Scheme]
    curve: Open[Curve]
    network: Open[Network] | None
    """The wallet's network; null for a bare key."""
    public_key: HexBytes | None
    """33 bytes compressed SEC1, or 32 bytes raw for Ed25519; null until Active."""
    protection: Open[Protection] | None
    """The place of the private key: hsm (inside the HSM), host (on the node's host) or mpc (shares
    only); null until Active."""
    signer_group: str | None
    """The group whose signers hold the key's shares; null unless store is mpc."""
    threshold: int | None
    """How many signers sign together."""
    signers: list[str] | None
    """All signers of the group, in order of their index."""
    generation: int | None
    """How often the shares were refreshed; null until Active, and for a derived key."""
    root: UUID | None
    """The key from which this key is derived; null if it is not derived."""
    path: str | None
    """Path from the root, as in ``m/0/5``."""
    chain_code: HexBytes | None
    """Chain code: children's public keys follow from it and this key's (BIP-32)."""
    attestations: tuple[SignedBytes, ...]
    """Signed attestations of the nodes that hold the key; for a derived key those of its
    root."""
    external_id: str | None
    name: str | None
    """The application's own name. No node attests it."""
    tags: list[str]
    """The application's own tags. No node attests them."""
    reason: Reason | None
    created_at: AwareDatetime
    imported: bool = False
    """True if the private key, or that of the root, came from the application."""
    archived_at: AwareDatetime | None = None
    """When the key was archived: it signs nothing, nor does a key that is derived from it. Null if
    it is not archived itself."""
    copied_from: UUID | None = None
    """The key that this key is a copy of: another signer group holds that one, with the same public
    key."""
    copies: tuple[UUID, ...] = ()
    """Copies of this key, which other signer groups hold or will hold, oldest first.
    GET /v1/keys/{key_id}/copies also has those that failed."""

    @model_validator(mode="after")
    def _has_a_public_key(self) -> Self:
        scheme, curve = self.scheme, self.curve
        if self.public_key is None or isinstance(scheme, Unknown) or isinstance(curve, Unknown):
            return self
        check_public_key(known_algorithm(scheme, curve), self.public_key)
        return self


class Wallet(Answer):
    """A key with its address on a network. The wallet's status is its key's status.

    Messages are signed by the rules of the key's own network (``network`` of the key).
    """

    id: UUID
    status: Open[KeyStatus]
    store: Open[Store]
    network: Open[Network]
    signer_group: str | None
    """The group whose signers hold the key's shares; null unless store is mpc."""
    key_id: UUID
    """Sign with POST /v1/keys/{key_id}/signatures."""
    address: str | None
    """Null until the wallet is Active."""
    external_id: str | None
    name: str | None
    """The application's own name. No node attests it."""
    tags: list[str]
    """The application's own tags. No node attests them."""
    reason: Reason | None
    created_at: AwareDatetime
    imported: bool = False
    """True if the private key of the wallet, or that of the root, came from the application."""
    archived_at: AwareDatetime | None = None
    """When the wallet's key was archived; null if it is not archived itself."""
    copies: tuple[UUID, ...] = ()
    """Copies of the wallet's key, with the same address, as in ``copies`` of the key."""


class Signature(Answer):
    id: UUID
    key_id: UUID
    status: Open[SignatureStatus]
    kind: Open[Literal["Hash", "Message", "Transaction"]]
    message: str | None
    """The request's message; null unless the kind is Message."""
    transaction: HexBytes | None
    """The request's transaction; null unless the kind is Transaction."""
    digest: HexBytes | None
    """The 32 bytes that are signed; null for Ed25519, which signs the message itself."""
    signature: SignatureResult | None
    external_id: str | None
    reason: Reason | None
    created_at: AwareDatetime
    expires_at: AwareDatetime
    """A signature that is not final at this time fails as expired."""


class KeyChange(Answer):
    """A request that changes how a key is held or whether it signs. The key stays the same."""

    id: UUID
    key_id: UUID
    kind: Open[Literal["Refresh", "Repair", "Archive", "Unarchive"]]
    signer: str | None
    """The signer whose share is repaired; null unless kind is Repair."""
    status: Open[ChangeStatus]
    external_id: str | None
    reason: Reason | None
    created_at: AwareDatetime
    expires_at: AwareDatetime
    """A change that is not done at this time fails as expired, unless all signers have
    confirmed, or some have archived or un-archived the key."""


class Import(Answer):
    """Import keys of nodes, to which an application encrypts one private key."""

    id: UUID
    status: Open[ImportStatus]
    store: Open[Store]
    signer_group: str | None
    """The group whose signers will hold the key's shares; null unless store is mpc."""
    scheme: Open[Scheme]
    curve: Open[Curve]
    statements: tuple[SignedBytes, ...]
    """The nodes' signed statements about their import keys; empty until Ready."""
    key_id: UUID | None
    """The key that was imported, or is being imported; null unless Used."""
    external_id: str | None
    reason: Reason | None
    created_at: AwareDatetime
    expires_at: AwareDatetime
    """While Pending, the request fails at this time. Then the time when the import keys end."""


class SignerGroup(Answer):
    """Signers that make keys together; any ``threshold`` of them sign."""

    name: str
    signers: list[str]
    """The signers in order of their index, 1 to n."""
    threshold: int
    owners: list[str | None]
    """Each signer's owner, in the same order; null if the operator named none."""
    single_owner_quorum: str | None
    """An owner whose signers reach the threshold without others; null if there is none."""
    created_at: AwareDatetime


class SignerBan(Answer):
    """A ban: a signer never again signs with another signer under a key or its children."""

    key_id: UUID
    banned: str
    reason: str
    at: AwareDatetime


class SignerLeftInFlight(Answer):
    """A pair left in flight: a signer stopped while it signed with another signer."""

    key_id: UUID
    signer: str
    """The other one."""
    since: AwareDatetime
    todo: str
    """The operator's next step, with the command."""


class RegisteredSigner(Answer):
    """A signer, with the facts of its last heartbeat.

    Without scope admin, the fields from ``owner`` on and ``health.detail`` are null, and
    ``health.warnings`` is empty.
    """

    id: str
    group: str
    """The node group of all signers."""
    capabilities: dict[str, str]
    """Maps algorithms, as ECDSA/secp256k1, to protection: mpc."""
    health: NodeHealth
    owner: str | None
    version: str | None
    last_seen: AwareDatetime | None
    """Time of its last heartbeat; null when it has never reported."""
    has_gate: bool | None
    """True if the signer asks its owner's validation gate before it signs."""
    bans: list[SignerBan] | None
    """The bans that this signer has stated."""
    left_in_flight: list[SignerLeftInFlight] | None = None
    """The pairs that do not sign together until this signer's operator has resolved them."""


class NodeRestore(Answer):
    """A restore of a node's database from a backup, as the node has stated and signed it."""

    number: int
    agreed_sequence: int
    """The last audit record before the restore that the node still has."""
    lost_sequence: int
    """The last record that the node had reported, and has lost."""
    lost_hash: HexBytes
    own_sequence: int
    """The node's last record when it stated the restore."""
    own_hash: HexBytes
    operator: str
    """The operator who stated the restore at the node."""
    reason: str
    stated_at: AwareDatetime
    acknowledged_at: AwareDatetime | None
    """The admin who acknowledged the restore. Null: nobody did, so the node is failing."""
    acknowledged_by: str | None
    acknowledged_reason: str | None


class Node(Answer):
    """A node, with the facts of its last heartbeat.

    Without scope admin, ``version``, ``last_seen`` and ``health.detail`` are null, and
    ``health.warnings`` is empty.
    """

    id: str
    group: str
    version: str | None
    capabilities: dict[str, str]
    """Maps algorithms, as ECDSA/secp256k1, to protection: hsm or host."""
    health: NodeHealth
    last_seen: AwareDatetime | None
    """Time of its last heartbeat; null when it has never reported."""
    restores: tuple[NodeRestore, ...]
    """Restores of the node, oldest first; empty without scope admin."""


class AuditRecord(Answer):
    """A record of an audit chain: the control plane's own, or a node's.

    ``at``, ``kind`` and ``operator`` are null if the record was changed in the database.
    """

    node: str
    """The node's id, or control-plane."""
    sequence: int
    """Counts from 1."""
    at: AwareDatetime | None
    kind: str | None
    """What was done, as AddNode or CreateToken at the control plane, or Sign at a node."""
    operator: str | None
    """Null also for a job, which no operator does."""
    details: dict[str, str | None]
    """The other fields of the record; of a job for example job_id, key_id and outcome_digest."""
    record: HexBytes
    """The exact bytes that the hash covers: JSON with the fields above."""
    previous_hash: HexBytes | None
    """Hash of the record before, 32 zero bytes before the first; null if the database lacks it."""
    hash: HexBytes
    """Hash of the previous record's hash and of this record."""
    head: SignedBytes | None
    """The chain's head with this record, signed under the job-signing key or, for a node, under the
    node's identity key. A node signs one for each group of records that it sends; null for the
    others, which the next head covers."""


class LatestHead(Answer):
    """The last head of an audit chain that the control plane has."""

    node: str
    """The node's id, or control-plane."""
    group: str | None
    """The node's group; null for the control plane."""
    sequence: int
    """Number of the chain's last record."""
    hash: HexBytes
    head: SignedBytes
    """The head as its node signed it; the control plane's under its job-signing key."""
    identity_key: HexBytes | None
    """The node's identity public key (Ed25519); null for the control plane."""
    received_at: AwareDatetime | None
    """When the node sent it; null for the control plane."""
    alarm: str | None
    """Why the chain is in doubt; null if it is not."""
    records_from: int | None
    """Number of the first record that the control plane has; null if it has none."""
    records_to: int | None
    """Number of the last record that the control plane has. It has none of a node that sends none
    (setting send_audit_records)."""


Item = TypeVar("Item")


class Page(Answer, Generic[Item]):
    """A page of a list, newest first."""

    items: list[Item]
    next_cursor: str | None
    """Cursor of the next page; null on the last page."""


class Problem(Answer):
    """An error (RFC 9457, application/problem+json). ``code`` is stable; ``type`` is derived."""

    type: str
    title: str
    status: int
    code: str
    detail: str
