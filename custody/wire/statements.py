"""Signed statements of nodes, under their identity keys.

A statement travels as SignedBytes, and is parsed only after its signature holds.
"""

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import (
    AwareDatetime,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from custody.wire.algorithms import Curve, Network, Protection, Scheme, Store, known_algorithm
from custody.wire.encoding import HexBytes, Model
from custody.wire.jobs import Endpoint
from custody.wire.nodes import NodeId
from custody.wire.public_keys import IdentityKey, check_public_key
from custody.wire.requests import ExternalId
from custody.wire.tickets import ALGORITHM, Protocol

AS_COPIED = ("scheme", "curve", "network", "public_key", "chain_code", "imported")
"""Facts in the attestation of a key that its copies have, too."""


class MadeFor(Model):
    """The request that a key was made for, as a node knows it.

    ``application``: the public key of the application that signed the request. Null if the node has
    not verified a signature: then only the control plane says who asked, and of which key a copy
    was made. ``imported``: the request contained the private key, encrypted to the nodes. Of a
    copy: the dealers say so, at least one of which is honest if an application has signed.
    """

    endpoint: Literal[Endpoint.WALLETS, Endpoint.KEYS, Endpoint.COPIES]
    external_id: ExternalId | None
    application: IdentityKey | None
    imported: bool = False
    copied_from: UUID | None = None
    """The key that this key is a copy of, if the request was for a copy."""

    @model_serializer(mode="wrap")
    def _as_before_for_a_generated_key(
        self, serialize: SerializerFunctionWrapHandler
    ) -> dict[str, object]:
        return _without_newer_fields(serialize(self))


class ShareStatement(Model):
    """A signer's statement about its share of a set."""

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
    """Chain code of BIP-32; null if the protocol has none."""
    transcript: HexBytes
    """SHA-256 of the data that all signers must have seen alike."""
    made_for: MadeFor | None
    """Null if the signer does not know: it got its share by Repair, without an activation since."""
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
    """A signer has stored its share of this set (CONFIRMATION_TYPE).

    A signer may promise the set when the confirmations of all n signers agree.
    """


class Promise(ShareStatement):
    """A signer keeps its share of this set permanently; the set has signed (PROMISE_TYPE).

    With the promises of all n signers the set may be used. For one set, a signer states either
    this or its Abandonment, never both.
    """


class Abandonment(Model):
    """A signer has no share of this ceremony, and will never promise one (ABANDONMENT_TYPE)."""

    version: Literal[1] = 1
    key_id: UUID
    ceremony: UUID
    signer: NodeId


class Attestation(Model):
    """A node holds this key or its share of it (ATTESTATION_TYPE): addresses rely on this."""

    version: Literal[2] = 2
    key_id: UUID
    made_for: MadeFor | None
    """Null if the node does not know; a derived key has its root's attestations."""
    store: Store
    scheme: Scheme
    curve: Curve
    network: Network | None
    """The wallet's network, whose rules the key's signatures follow. Null for a bare key."""
    public_key: HexBytes
    chain_code: HexBytes | None = None
    """Chain code of BIP-32, of ECDSA keys on secp256k1 in MPC mode: children follow from it."""
    protection: Protection
    group: str
    """The group of drivers, or the signer group."""
    threshold: Annotated[int, Field(ge=1)]
    """How many nodes sign together: 1 in HSM mode."""
    signers: list[NodeId]
    """The n nodes that hold shares; in HSM mode the node that made the key."""
    node: NodeId
    imported: bool = False
    """True if the private key came from the application, which may still have it."""

    @model_validator(mode="after")
    def _has_a_public_key(self) -> Self:
        check_public_key(known_algorithm(self.scheme, self.curve), self.public_key)
        return self

    @model_serializer(mode="wrap")
    def _as_before_for_a_generated_key(
        self, serialize: SerializerFunctionWrapHandler
    ) -> dict[str, object]:
        return _without_newer_fields(serialize(self))

    @property
    def agreed(self) -> dict[str, object]:
        """What must be the same in each signer's."""
        return self.model_dump(exclude={"node"})


class Ban(Model):
    """A signer never again signs with the banned one under this key or its children (BAN_TYPE)."""

    version: Literal[1] = 1
    key_id: UUID
    """The root's."""
    signer: NodeId
    """Who bans."""
    banned: NodeId
    reason: str
    ceremony: UUID | None
    at: AwareDatetime


def _without_newer_fields(fields: dict[str, object]) -> dict[str, object]:
    """Leave out a false ``imported``: readers of earlier versions do not know the field."""
    newer = ("imported", "copied_from")
    return {name: value for name, value in fields.items() if name not in newer or value}
