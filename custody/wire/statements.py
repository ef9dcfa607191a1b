"""What nodes state under their identity keys, for others to rely on.

A statement travels as SignedBytes, and is parsed only after its signature holds.
"""

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AwareDatetime, Field, model_validator

from custody.wire.algorithms import Curve, Network, Protection, Scheme, Store, known_algorithm
from custody.wire.encoding import HexBytes, Model
from custody.wire.jobs import Endpoint
from custody.wire.nodes import NodeId
from custody.wire.public_keys import IdentityKey, check_public_key
from custody.wire.requests import ExternalId
from custody.wire.tickets import ALGORITHM, Protocol


class MadeFor(Model):
    """The request that a key was made for, as a node knows it.

    ``application``: the public key of the application that signed the request. Null where the node
    has not verified a signature: nobody but the control plane says then who asked.
    """

    endpoint: Literal[Endpoint.WALLETS, Endpoint.KEYS]
    external_id: ExternalId | None
    application: IdentityKey | None


class ShareStatement(Model):
    """What a signer states of its share of a set."""

    version: Literal[1] = 1
    key_id: UUID
    ceremony: UUID
    """The Generate, Refresh or Repair that made the set."""
    generation: int
    protocol: Protocol
    group: str
    threshold: int
    signers: list[NodeId]
    public_key: HexBytes
    chain_code: HexBytes | None
    """BIP-32; null where the protocol has none."""
    transcript: HexBytes
    """SHA-256 of what all signers must have seen alike."""
    made_for: MadeFor | None
    """Null where the signer does not know: it got its share by Repair, and no activation since."""
    signer: NodeId
    index: int

    @model_validator(mode="after")
    def _has_a_public_key(self) -> Self:
        check_public_key(ALGORITHM[self.protocol], self.public_key)
        return self

    @property
    def agreed(self) -> dict[str, object]:
        """What must be the same in each signer's."""
        return self.model_dump(exclude={"signer", "index", "made_for"})


class Confirmation(ShareStatement):
    """A signer has its share of this set on disk (CONFIRMATION_TYPE).

    With one of each of the n signers, all of them that agree, a signer may promise.
    """


class Promise(ShareStatement):
    """A signer keeps its share of this set, which has signed, whatever comes (PROMISE_TYPE).

    With one of each of the n signers the set may be used. A signer ever states this of a set or
    its Abandonment, never both.
    """


class Abandonment(Model):
    """A signer has no share of this ceremony, and will never promise one (ABANDONMENT_TYPE)."""

    version: Literal[1] = 1
    key_id: UUID
    ceremony: UUID
    signer: NodeId


class Attestation(Model):
    """A node holds this key, or its share of it (ATTESTATION_TYPE): what an address rests on."""

    version: Literal[2] = 2
    key_id: UUID
    made_for: MadeFor | None
    """Null where the node does not know; a derived key has its root's attestations."""
    store: Store
    scheme: Scheme
    curve: Curve
    network: Network | None
    """The wallet's: the key signs as that network means it. Null for a bare key."""
    public_key: HexBytes
    chain_code: HexBytes | None = None
    """BIP-32, of MPC keys on secp256k1 with ECDSA: children follow from it."""
    protection: Protection
    group: str
    """The group of drivers, or the signer group."""
    threshold: Annotated[int, Field(ge=1)]
    """How many nodes it takes to sign: 1 in HSM mode."""
    signers: list[NodeId]
    """The n nodes that hold shares; in HSM mode the one that made the key."""
    node: NodeId

    @model_validator(mode="after")
    def _has_a_public_key(self) -> Self:
        check_public_key(known_algorithm(self.scheme, self.curve), self.public_key)
        return self

    @property
    def agreed(self) -> dict[str, object]:
        """What must be the same in each signer's."""
        return self.model_dump(exclude={"node"})


class Ban(Model):
    """A signer never again signs with that one under this key or its children (BAN_TYPE)."""

    version: Literal[1] = 1
    key_id: UUID
    """The root's."""
    signer: NodeId
    """Who bans."""
    banned: NodeId
    reason: str
    ceremony: UUID | None
    at: AwareDatetime
