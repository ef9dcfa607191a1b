"""Requests of applications. Their bytes reach the node exactly as the application sent them."""

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AwareDatetime, Field, TypeAdapter, field_validator, model_validator

from custody.wire.algorithms import (
    ALGORITHMS,
    ECDSA_SECP256K1,
    AddressType,
    Algorithm,
    Curve,
    HashFunction,
    Network,
    Scheme,
    Store,
    network_algorithm,
)
from custody.wire.encoding import HexBytes, Model, hex_to_bytes
from custody.wire.group_sizes import MAX_SIGNERS, MIN_THRESHOLD
from custody.wire.imports import ImportedKey
from custody.wire.jobs import KeyHolders
from custody.wire.metadata import Metadata
from custody.wire.nodes import NodeId

DIGEST_SIZE = 32
MAX_MESSAGE_SIZE = 65_536
"""Limit of a message to sign in bytes, after decoding."""

ExternalId = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")]
"""An application's own name for a request: printable ASCII without spaces."""


class Request(Model):
    """Fields that every body may have. A signed body needs both.

    See docs/reference/wire-protocol/applications.md.
    """

    external_id: ExternalId | None = None
    """Your own name for this request. With it you can repeat the request safely."""
    expires_at: AwareDatetime | None = None
    """After this time nothing is done for the request."""


class KeyRequest(Request):
    """Fields that repeat the key of a request. A signed body needs both."""

    key_id: UUID | None = None
    """The key in the path."""
    store: Store | None = None
    """That key's."""


GroupName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$")]
"""Name of a signer group: 1 to 63 of a-z, 0-9, '.', '_' and '-'."""

DerivationPath = Annotated[str, Field(pattern=r"^m(/[0-9]{1,10}){1,10}$")]
"""Path from a key to a child, unhardened (BIP-32), as in ``m/0/5``."""


class NewKeyRequest(Request):
    """Fields of every body that requests a key."""

    store: Store
    """The nodes that will hold the key."""
    signer_group: GroupName | None = None
    """The signers that will hold the key: needed for a new key of store mpc, not allowed
    otherwise."""

    def _needs_group(self, is_derived: bool) -> None:
        """Raises ValueError."""
        needs = self.store is Store.MPC and not is_derived
        if needs != (self.signer_group is not None):
            raise ValueError(
                "signer_group: name the group that will hold the key"
                if needs
                else "signer_group: only a new key of store mpc has one"
            )


class CreateWallet(Metadata, NewKeyRequest):
    """Body of POST /v1/wallets."""

    network: Network
    address_type: AddressType | None = None
    """Of Bitcoin wallets only: p2wpkh (the default) or p2tr (Taproot), which only store mpc
    has."""
    master_key: UUID | None = None
    """Derive the wallet's key from this key instead of making a new key; store mpc only."""
    path: DerivationPath | None = None
    """Path from the master key."""
    imported: ImportedKey | None = None
    """Import this key instead of making a new key."""

    @model_validator(mode="after")
    def _parts_go_together(self) -> "CreateWallet":
        if (self.master_key is None) != (self.path is None):
            raise ValueError("master_key and path: give both or neither")
        algorithm = self.algorithm
        if self.master_key is not None and self.store is not Store.MPC:
            raise ValueError("master_key: only keys of store mpc have children")
        if self.master_key is not None and algorithm != ECDSA_SECP256K1:
            raise ValueError(f"master_key: keys of {algorithm} have no children")
        self._needs_group(is_derived=self.master_key is not None)
        if self.imported is not None and self.master_key is not None:
            raise ValueError("imported: a key derived from a master key is not imported")
        if self.imported is not None:
            self.imported.check(self.store, algorithm)
        return self

    @property
    def algorithm(self) -> Algorithm:
        return network_algorithm(self.network, self.address_type)


class _BareKeyRequest(NewKeyRequest):
    scheme: Scheme
    curve: Curve

    @model_validator(mode="after")
    def _is_an_algorithm(self) -> Self:
        self._needs_group(is_derived=False)
        if self.algorithm not in ALGORITHMS:
            known = ", ".join(map(str, ALGORITHMS))
            raise ValueError(
                f"{self.algorithm} is not an algorithm of this service: one of {known}"
            )
        return self

    @property
    def algorithm(self) -> Algorithm:
        return Algorithm(self.scheme, self.curve)


class CreateKey(Metadata, _BareKeyRequest):
    """Body of POST /v1/keys."""

    imported: ImportedKey | None = None
    """Import this key instead of making a new key."""

    @model_validator(mode="after")
    def _imports_such_a_key(self) -> Self:
        if self.imported is not None:
            self.imported.check(self.store, self.algorithm)
        return self


class CreateImport(_BareKeyRequest):
    """Body of POST /v1/imports: nodes make import keys for one key of this algorithm."""


class DeriveKey(Metadata, KeyRequest):
    """Body of POST /v1/keys/{id}/derive."""

    path: DerivationPath
    """Path from the key that the URL names."""


class AddWallet(Metadata):
    """Body of POST /v1/keys/{id}/wallets. Key and network make the request safe to repeat.

    No node sees this request.
    """

    network: Network
    """A network of the same family as the key's, and a test network if the key's is one; for a bare
    key one with the key's algorithm."""


class RefreshKey(KeyRequest):
    """Body of POST /v1/keys/{id}/refresh."""


class RepairShare(KeyRequest):
    """Body of POST /v1/keys/{id}/repair."""

    signer: NodeId
    """The signer that lost its share."""


class ArchiveKey(KeyRequest):
    """Body of POST /v1/keys/{id}/archive."""


class UnarchiveKey(KeyRequest):
    """Body of POST /v1/keys/{id}/unarchive."""


class CopyKey(KeyRequest):
    """Body of POST /v1/keys/{id}/copy. A signed body needs every field."""

    signer_group: GroupName
    """The signers that will hold the copy."""
    threshold: Annotated[int, Field(ge=MIN_THRESHOLD, le=MAX_SIGNERS)] | None = None
    """How many signers of that group sign together."""
    signers: Annotated[list[NodeId], Field(max_length=MAX_SIGNERS)] | None = None
    """The signers of that group, in any order."""
    held_by: KeyHolders | None = None
    """The group that holds the key now, as the key's nodes attest it."""

    def allows(self, holders: KeyHolders) -> bool:
        """Return whether the copy may go to this group. A field that is left out allows any."""
        return (
            self.signer_group == holders.group
            and self.threshold in (None, holders.threshold)
            and (self.signers is None or sorted(self.signers) == sorted(holders.signers))
        )


GROUPS_OF_A_COPY = frozenset({"threshold", "signers", "held_by"})
"""The fields of a CopyKey that say who is in the two groups. Groups never change."""


class CreateSignerGroup(Model):
    """Body of POST /v1/signer-groups. The name makes the request safe to repeat."""

    name: GroupName
    signers: Annotated[list[NodeId], Field(min_length=MIN_THRESHOLD, max_length=MAX_SIGNERS)]
    """The signers in order of their index, 1 to n."""
    threshold: Annotated[int, Field(ge=MIN_THRESHOLD, le=MAX_SIGNERS)]
    """How many signers sign together."""

    @model_validator(mode="after")
    def _parts_go_together(self) -> "CreateSignerGroup":
        if len(set(self.signers)) != len(self.signers):
            raise ValueError("signers: each once")
        if self.threshold > len(self.signers):
            raise ValueError("threshold: larger than the number of signers")
        return self


class SignHash(KeyRequest):
    """Sign a 32-byte digest without hashing it again."""

    kind: Literal["Hash"]
    hash: HexBytes
    """32 bytes."""

    @field_validator("hash")
    @classmethod
    def _is_a_digest(cls, value: bytes) -> bytes:
        if len(value) != DIGEST_SIZE:
            raise ValueError(f"must be {DIGEST_SIZE} bytes, is {len(value)}")
        return value


class SignMessage(KeyRequest):
    """Sign a message in the way the wallet's network means it.

    See docs/reference/wire-protocol/applications.md.
    """

    kind: Literal["Message"]
    message: str
    """Hex bytes if it starts with 0x, otherwise text, signed as UTF-8; at most 64 KiB."""
    hash_function: HashFunction | None = None
    """Required for a bare ECDSA or Schnorr key, not allowed otherwise."""

    @field_validator("message")
    @classmethod
    def _decodes(cls, value: str) -> str:
        if len(message_bytes(value)) > MAX_MESSAGE_SIZE:
            raise ValueError(f"must be at most {MAX_MESSAGE_SIZE} bytes")
        return value

    @property
    def content(self) -> bytes:
        return message_bytes(self.message)


class SignTransaction(KeyRequest):
    """Sign a Solana transaction with a Solana wallet's key."""

    kind: Literal["Transaction"]
    transaction: HexBytes
    """The signed message of the transaction, without the signatures; at most 64 KiB."""

    @field_validator("transaction")
    @classmethod
    def _is_not_too_long(cls, value: bytes) -> bytes:
        if len(value) > MAX_MESSAGE_SIZE:
            raise ValueError(f"must be at most {MAX_MESSAGE_SIZE} bytes")
        return value

    @property
    def content(self) -> bytes:
        return self.transaction


SignRequest = SignHash | SignMessage | SignTransaction

CreateSignature = Annotated[SignRequest, Field(discriminator="kind")]
"""Body of POST /v1/keys/{id}/signatures."""

CREATE_SIGNATURE: TypeAdapter[SignRequest] = TypeAdapter(CreateSignature)


def message_bytes(message: str) -> bytes:
    """Return a message's bytes: hex if it starts with 0x, otherwise UTF-8. Raise ValueError."""
    if message.startswith("0x"):
        return hex_to_bytes(message)
    return message.encode()
