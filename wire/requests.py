"""What an application asks for. These bytes reach the node exactly as the application sent them."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field, TypeAdapter, field_validator, model_validator

from wire.algorithms import (
    ALGORITHMS,
    NETWORK_ALGORITHM,
    Algorithm,
    Curve,
    HashFunction,
    Network,
    Scheme,
    Store,
)
from wire.encoding import HexBytes, Model, hex_to_bytes

DIGEST_SIZE = 32
MAX_MESSAGE_SIZE = 65_536
"""Bytes of a message to sign, after decoding."""

ExternalId = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")]
"""An application's own name for a request: printable ASCII without spaces."""


class Request(Model):
    """What every body may have; one that is signed needs both (docs/wire-protocol.md)."""

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


class CreateWallet(Request):
    """Body of POST /v1/wallets."""

    network: Network
    store: Store
    """Which nodes are to hold the key."""

    @property
    def algorithm(self) -> Algorithm:
        return NETWORK_ALGORITHM[self.network]


class CreateKey(Request):
    """Body of POST /v1/keys."""

    scheme: Scheme
    curve: Curve
    store: Store
    """Which nodes are to hold the key."""

    @model_validator(mode="after")
    def _scheme_goes_with_curve(self) -> "CreateKey":
        if self.algorithm not in ALGORITHMS:
            known = ", ".join(map(str, ALGORITHMS))
            raise ValueError(f"{self.algorithm} is no algorithm of this service: one of {known}")
        return self

    @property
    def algorithm(self) -> Algorithm:
        return Algorithm(self.scheme, self.curve)


class SignHash(KeyRequest):
    """Sign a 32-byte digest as it is."""

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
    """Sign a message in the way the wallet's network means it; see docs/wire-protocol.md."""

    kind: Literal["Message"]
    message: str
    """Bytes as hex where it starts with 0x, else text, of which the UTF-8 is signed; 64 KiB."""
    hash_function: HashFunction | None = None
    """For a bare ECDSA key, and only there."""

    @field_validator("message")
    @classmethod
    def _decodes(cls, value: str) -> str:
        if len(message_bytes(value)) > MAX_MESSAGE_SIZE:
            raise ValueError(f"must be at most {MAX_MESSAGE_SIZE} bytes")
        return value

    @property
    def content(self) -> bytes:
        return message_bytes(self.message)


CreateSignature = Annotated[SignHash | SignMessage, Field(discriminator="kind")]
"""Body of POST /v1/keys/{id}/signatures."""

CREATE_SIGNATURE: TypeAdapter[SignHash | SignMessage] = TypeAdapter(CreateSignature)


def message_bytes(message: str) -> bytes:
    """Bytes of a message: hex when it starts with 0x, else its UTF-8. ValueError on bad hex."""
    if message.startswith("0x"):
        return hex_to_bytes(message)
    return message.encode()
