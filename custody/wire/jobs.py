"""A job: what the control plane signs and a node does."""

import hashlib
import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field, model_validator

from custody.wire.algorithms import (
    ALGORITHMS,
    NETWORK_ALGORITHMS,
    Algorithm,
    Curve,
    Network,
    Scheme,
)
from custody.wire.encoding import Base64Bytes, HexBytes, Model
from custody.wire.envelope import DetachedSignature, SignedBytes
from custody.wire.framing import Domain, tagged_hash
from custody.wire.group_sizes import MAX_SIGNERS
from custody.wire.public_keys import check_public_key

MAX_DEPTH = 10
CHILD_KEY_VERSION = 8
PathIndex = Annotated[int, Field(ge=0, lt=2**31)]
"""A step of a derivation path; from 2**31 on it would be hardened (BIP-32)."""


class JobKind(StrEnum):
    GENERATE_KEY = "GenerateKey"
    SIGN = "Sign"
    # of signers alone
    APPROVE = "Approve"
    """Decide about a request, before any ceremony for it."""
    PROVE_KEY = "ProveKey"
    """Sign a message of the signers' own with a set of shares that is not in use yet."""
    PROMISE = "Promise"
    """Say for good that a set of shares is kept here, now that all n have confirmed it."""
    ACTIVATE_KEY = "ActivateKey"
    """Use a set of shares from now on, and erase the one before it."""
    REFRESH_KEY = "RefreshKey"
    REPAIR_SHARE = "RepairShare"
    ABANDON = "Abandon"
    """Erase a share and say for good that it will not be promised, unless it was."""
    DISCARD = "Discard"
    """Erase a share that was promised, of a set that t others have abandoned."""


CHILD_KINDS = frozenset({JobKind.SIGN, JobKind.APPROVE})
"""The kinds of job that a node does for a derived key. All others are about a root key alone."""


class Endpoint(StrEnum):
    """The request that an external id is unique within, and that a job's request is a body of."""

    WALLETS = "wallets"
    KEYS = "keys"
    SIGNATURES = "signatures"
    DERIVATIONS = "derivations"
    REFRESHES = "refreshes"
    REPAIRS = "repairs"


def child_key_id(root: UUID, path: Sequence[int], network: Network | None) -> UUID:
    """The id of a derived key: a UUID of version 8 (RFC 9562, section 5.8) of what it is.

    No node has a row of a derived key. A signature, an approval or a pin that names an id must mean
    one key, whatever a control plane says about that id.
    """
    steps = b"".join(step.to_bytes(4, "big") for step in path)
    name = b"" if network is None else network.value.encode()
    number = int.from_bytes(tagged_hash(Domain.CHILD_KEY, root.bytes, steps, name)[:16], "big")
    number &= ~(0xF << 76 | 0x3 << 62)
    return UUID(int=number | CHILD_KEY_VERSION << 76 | 0x2 << 62)


def check_key_id(
    key_id: UUID, root: UUID | None, path: Sequence[int], network: Network | None
) -> None:
    """Raises ValueError for a derived key with another id than its own, and for a root with one."""
    if (root or key_id).version == CHILD_KEY_VERSION:
        raise ValueError("a key that is not derived has the id of one that is")
    if root is not None and key_id != child_key_id(root, path, network):
        raise ValueError("a derived key has another id than follows from its root and path")


class KeyReference(Model):
    """The key a job is about. ``public_key`` is null only in the job that generates it.

    A derived key names its ``root`` and the ``path`` from there (BIP-32, unhardened); its ``id``
    follows from them.
    """

    id: UUID
    root: UUID | None = None
    path: Annotated[tuple[PathIndex, ...], Field(max_length=MAX_DEPTH)] = ()
    scheme: Scheme
    curve: Curve
    network: Network | None
    public_key: HexBytes | None

    @model_validator(mode="after")
    def _parts_go_together(self) -> "KeyReference":
        if self.algorithm not in ALGORITHMS:
            raise ValueError(f"{self.algorithm} is not an algorithm of this service")
        if self.network is not None and self.algorithm not in NETWORK_ALGORITHMS[self.network]:
            raise ValueError(f"{self.network.value} has no keys of {self.algorithm}")
        if (self.root is not None) != bool(self.path):
            raise ValueError("a derived key has a root and a path, another key neither")
        check_key_id(self.id, self.root, self.path, self.network)
        if self.public_key is not None:
            check_public_key(self.algorithm, self.public_key)
        return self

    @property
    def algorithm(self) -> Algorithm:
        return Algorithm(self.scheme, self.curve)


class Job(Model):
    """The signed payload, the same bytes at every attempt: no lease, no attempt in it.

    ``id`` is the request's: the key's for GenerateKey in HSM mode, the signature's for Sign. The
    steps that signers take for a request (all kinds but Sign) have an id of their own each time:
    that of their ceremony, or of the order; ``step_of`` is the request's then.
    ``evidence``: statements of signers that the job rests on, as promises under ActivateKey.
    ``kind`` is a plain string, so that a node can refuse by name a kind it does not know.
    """

    version: Literal[1] = 1
    id: UUID
    step_of: UUID | None = None
    kind: str
    group: str
    key: KeyReference
    endpoint: Endpoint
    request: Base64Bytes
    request_signature: DetachedSignature | None = None
    """The application's own, over ``request`` as its signed_requests.payload_type."""
    evidence: Annotated[tuple[SignedBytes, ...], Field(max_length=MAX_SIGNERS)] = ()
    ceremony: UUID | None = None
    """The set of shares that ProveKey, Promise, ActivateKey, Abandon or Discard is about."""
    created_at: AwareDatetime
    expires_at: AwareDatetime

    @model_validator(mode="after")
    def _a_signature_is_its_own_request(self) -> "Job":
        if self.kind == JobKind.SIGN and self.step_of is not None:
            raise ValueError("a Sign job has its request's id")
        return self

    @property
    def request_id(self) -> UUID:
        """The same at every step and attempt."""
        return self.step_of or self.id

    @property
    def request_digest(self) -> bytes:
        """Hash of what is asked for, of which key; the same at every step and attempt."""
        content = {
            "request_id": str(self.request_id),
            "endpoint": self.endpoint,
            "key": self.key.model_dump(mode="json"),
            "request": self.request.hex(),
        }
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return tagged_hash(Domain.REQUEST, canonical.encode())


def job_digest(payload: bytes) -> bytes:
    """What the journal knows a job by, beside its id: SHA-256 of the signed payload."""
    return hashlib.sha256(payload).digest()
