"""What an application asks for. These bytes reach the node exactly as the application sent them."""

from typing import Annotated, Literal
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
from custody.wire.nodes import NodeId

DIGEST_SIZE = 32
MAX_MESSAGE_SIZE = 65_536
"""Bytes of a message to sign, after decoding."""

ExternalId = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")]
"""An application's own name for a request: printable ASCII without spaces."""


class Request(Model):
    """What every body may have. A signed body needs both.

    See docs/reference/wire-protocol/applications.md.
    """

    external_id: ExternalId | None = None
    """Your own name for this request: repeating the request with it is safe."""
    expires_at: AwareDatetime | None = None
    """Nothing is done for the request from then on."""


class KeyRequest(Request):
    """What a body about a key may say of it again; one that is signed must say both."""

    key_id: UUID | None = None
    """The key in the path."""
    store: Store | None = None
    """That key's."""


GroupName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$")]
"""Name of a signer group: 1 to 63 of a-z, 0-9, '.', '_' and '-'."""

DerivationPath = Annotated[str, Field(pattern=r"^m(/[0-9]{1,10}){1,10}$")]
"""From a key to a child, unhardened (BIP-32), as in ``m/0/5``."""


class NewKeyRequest(Request):
    """What every body that asks for a key says."""

    store: Store
    """Which nodes are to hold the key."""
    signer_group: GroupName | None = None
    """The signers that are to hold it; store mpc alone, and needed there for a new key."""

    def _needs_group(self, is_derived: bool) -> None:
        """Raises ValueError."""
        needs = self.store is Store.MPC and not is_derived
        if needs != (self.signer_group is not None):
            raise ValueError(
                "signer_group: name the group that is to hold the key"
                if needs
                else "signer_group: a new key of store mpc has one, no other"
            )


class CreateWallet(NewKeyRequest):
    """Body of POST /v1/wallets."""

    network: Network
    address_type: AddressType | None = None
    """Of a Bitcoin wallet alone: p2wpkh, unless you ask for p2tr (Taproot), which only store mpc
    has."""
    master_key: UUID | None = None
    """Derive the wallet's key from this one instead of making a new one; store mpc alone."""
    path: DerivationPath | None = None
    """From the master key."""

    @model_validator(mode="after")
    def _parts_go_together(self) -> "CreateWallet":
        if (self.master_key is None) != (self.path is None):
            raise ValueError("master_key and path: give both or neither")
        algorithm = self.algorithm
        if self.master_key is not None and self.store is not Store.MPC:
            raise ValueError("master_key: keys of store mpc alone have children")
        if self.master_key is not None and algorithm != ECDSA_SECP256K1:
            raise ValueError(f"master_key: there are no children of {algorithm}")
        self._needs_group(is_derived=self.master_key is not None)
        return self

    @property
    def algorithm(self) -> Algorithm:
        return network_algorithm(self.network, self.address_type)


class CreateKey(NewKeyRequest):
    """Body of POST /v1/keys."""

    scheme: Scheme
    curve: Curve

    @model_validator(mode="after")
    def _parts_go_together(self) -> "CreateKey":
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


class DeriveKey(KeyRequest):
    """Body of POST /v1/keys/{id}/derive."""

    path: DerivationPath
    """From the key in the path of the URL."""


class RefreshKey(KeyRequest):
    """Body of POST /v1/keys/{id}/refresh."""


class RepairShare(KeyRequest):
    """Body of POST /v1/keys/{id}/repair."""

    signer: NodeId
    """The one that lost its share."""


class CreateSignerGroup(Model):
    """Body of POST /v1/signer-groups. The name makes it safe to repeat."""

    name: GroupName
    signers: Annotated[list[NodeId], Field(min_length=MIN_THRESHOLD, max_length=MAX_SIGNERS)]
    """Their order is that of their index: 1 to n."""
    threshold: Annotated[int, Field(ge=MIN_THRESHOLD, le=MAX_SIGNERS)]
    """How many it takes to sign."""

    @model_validator(mode="after")
    def _parts_go_together(self) -> "CreateSignerGroup":
        if len(set(self.signers)) != len(self.signers):
            raise ValueError("signers: each once")
        if self.threshold > len(self.signers):
            raise ValueError("threshold: more than there are signers")
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
    """Bytes as hex where it starts with 0x, else text, of which the UTF-8 is signed; 64 KiB."""
    hash_function: HashFunction | None = None
    """For a bare ECDSA or Schnorr key, and only there."""

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
    """Bytes of a message: hex when it starts with 0x, else its UTF-8. ValueError on bad hex."""
    if message.startswith("0x"):
        return hex_to_bytes(message)
    return message.encode()
