"""A job: what the control plane signs and a node does."""

import hashlib
from enum import StrEnum
from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime, model_validator

from wire.algorithms import (
    ALGORITHMS,
    NETWORK_ALGORITHM,
    PUBLIC_KEY_SIZE,
    Algorithm,
    Curve,
    Network,
    Scheme,
)
from wire.encoding import Base64Bytes, HexBytes, Model


class JobKind(StrEnum):
    GENERATE_KEY = "GenerateKey"
    SIGN = "Sign"


class Endpoint(StrEnum):
    """The request that an external id is unique within, and that a job's request is a body of."""

    WALLETS = "wallets"
    KEYS = "keys"
    SIGNATURES = "signatures"


class KeyReference(Model):
    """The key a job is about. ``public_key`` is null only in the job that generates it."""

    id: UUID
    scheme: Scheme
    curve: Curve
    network: Network | None
    public_key: HexBytes | None

    @model_validator(mode="after")
    def _parts_go_together(self) -> "KeyReference":
        if self.algorithm not in ALGORITHMS:
            raise ValueError(f"{self.algorithm} is no algorithm of this service")
        if self.network is not None and NETWORK_ALGORITHM[self.network] != self.algorithm:
            raise ValueError(f"{self.network.value} has no keys of {self.algorithm}")
        size = PUBLIC_KEY_SIZE[self.algorithm]
        if self.public_key is not None and len(self.public_key) != size:
            raise ValueError(f"a public key of {self.algorithm} has {size} bytes")
        return self

    @property
    def algorithm(self) -> Algorithm:
        return Algorithm(self.scheme, self.curve)


class Job(Model):
    """The signed payload, the same bytes at every attempt: no lease, no attempt in it.

    ``id`` is the request's: the key's for GenerateKey, the signature's for Sign.
    ``kind`` is a plain string, so that a node can refuse by name a kind it does not know.
    """

    version: Literal[1] = 1
    id: UUID
    kind: str
    group: str
    key: KeyReference
    endpoint: Endpoint
    request: Base64Bytes
    created_at: AwareDatetime
    expires_at: AwareDatetime


def job_digest(payload: bytes) -> bytes:
    """What the journal knows a job by, beside its id: SHA-256 of the signed payload."""
    return hashlib.sha256(payload).digest()
