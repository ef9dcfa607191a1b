"""Jobs, which the control plane signs and a node does."""

import hashlib
import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import (
    AwareDatetime,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from custody.wire.algorithms import (
    ALGORITHMS,
    NETWORK_ALGORITHMS,
    Algorithm,
    Curve,
    Network,
    Scheme,
)
from custody.wire.encoding import Base64Bytes, HexBytes, Model
from custody.wire.framing import Domain, tagged_hash
from custody.wire.group_sizes import MAX_SIGNERS, MIN_THRESHOLD
from custody.wire.nodes import NodeId
from custody.wire.public_keys import check_public_key
from custody.wire.signed_bytes import DetachedSignature, SignedBytes

MAX_DEPTH = 10
CHILD_KEY_VERSION = 8
ChildNumber = Annotated[int, Field(ge=0, lt=2**31)]
"""A child number of a derivation path; from 2**31 on it would be hardened (BIP-32)."""


class JobKind(StrEnum):
    GENERATE_KEY = "GenerateKey"
    SIGN = "Sign"
    PREPARE_IMPORT = "PrepareImport"
    """Make a one-time import key, to which an application encrypts a private key."""
    IMPORT_KEY = "ImportKey"
    """Take in a private key, encrypted to an import key."""
    ARCHIVE_KEY = "ArchiveKey"
    """Sign nothing with a key, and with the keys derived from it, until it is un-archived."""
    UNARCHIVE_KEY = "UnarchiveKey"
    COPY_KEY = "CopyKey"
    """Take in a copy of a key, from the dealings of the signers that hold it."""
    # the following kinds are for signers only, as is CopyKey
    DEAL_SHARES = "DealShares"
    """Deal this signer's part of a key to the signers of another group."""
    APPROVE = "Approve"
    """Decide about a request, before any ceremony for it."""
    PROVE_KEY = "ProveKey"
    """Sign the signers' own message with a set of shares that is not in use yet."""
    PROMISE = "Promise"
    """State permanently that this signer keeps a set of shares that all n have confirmed."""
    ACTIVATE_KEY = "ActivateKey"
    """Take a set of shares into use, and erase the previous set."""
    REFRESH_KEY = "RefreshKey"
    REPAIR_SHARE = "RepairShare"
    ABANDON = "Abandon"
    """Erase a share that is not promised, and state permanently that it never will be."""
    DISCARD = "Discard"
    """Erase a promised share of a set that t other signers have abandoned."""


CHILD_KINDS = frozenset({JobKind.SIGN, JobKind.APPROVE, JobKind.ARCHIVE_KEY, JobKind.UNARCHIVE_KEY})
"""The job kinds for derived keys. All other kinds are for root keys only."""


class Endpoint(StrEnum):
    """The API's endpoints for requests. An external id is unique per endpoint."""

    WALLETS = "wallets"
    KEYS = "keys"
    SIGNATURES = "signatures"
    DERIVATIONS = "derivations"
    REFRESHES = "refreshes"
    REPAIRS = "repairs"
    IMPORTS = "imports"
    ARCHIVALS = "archivals"
    UNARCHIVALS = "unarchivals"
    COPIES = "copies"


def child_key_id(root: UUID, path: Sequence[int], network: Network | None) -> UUID:
    """Return a derived key's id: a UUID of version 8 (RFC 9562, section 5.8), a hash of its facts.

    No node stores derived keys. The hash makes an id in a signature, an approval or a pin mean one
    key only, whatever the control plane says.
    """
    numbers = b"".join(number.to_bytes(4, "big") for number in path)
    name = b"" if network is None else network.value.encode()
    return _uuid_of(tagged_hash(Domain.CHILD_KEY, root.bytes, numbers, name))


def wallet_id_of(key_id: UUID, added: Network | None = None) -> UUID:
    """Return the id of a key's wallet: a UUID of version 8, a hash of the key's id.

    ``added``: the network of a further wallet of the key. None for the wallet on the key's own
    network. Nodes know keys and no wallets. A control plane that has lost a wallet gives it the
    same id again when it adopts the key, or when the application adds the wallet again.
    """
    network = () if added is None else (added.value.encode(),)
    return _uuid_of(tagged_hash(Domain.WALLET, key_id.bytes, *network))


def _uuid_of(digest: bytes) -> UUID:
    value = int.from_bytes(digest[:16], "big")
    value &= ~(0xF << 76 | 0x3 << 62)
    return UUID(int=value | CHILD_KEY_VERSION << 76 | 0x2 << 62)


def check_key_id(
    key_id: UUID, root: UUID | None, path: Sequence[int], network: Network | None
) -> None:
    """Raise ValueError if a derived key has a wrong id, or a root has a derived key's id."""
    if (root or key_id).version == CHILD_KEY_VERSION:
        raise ValueError("a key that is not derived has a derived key's id")
    if root is not None and key_id != child_key_id(root, path, network):
        raise ValueError("a derived key's id does not follow from its root and path")


class KeyReference(Model):
    """The key of a job. ``public_key`` is null only in the job that generates or imports the key.

    The key of a PrepareImport job does not exist: ``id`` is the import's.

    A derived key names its ``root`` and the ``path`` from there (BIP-32, unhardened); its ``id``
    follows from them.
    """

    id: UUID
    root: UUID | None = None
    path: Annotated[tuple[ChildNumber, ...], Field(max_length=MAX_DEPTH)] = ()
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
            raise ValueError("a derived key has a root and a path, other keys have neither")
        check_key_id(self.id, self.root, self.path, self.network)
        if self.public_key is not None:
            check_public_key(self.algorithm, self.public_key)
        return self

    @property
    def algorithm(self) -> Algorithm:
        return Algorithm(self.scheme, self.curve)


ShareIndex = Annotated[int, Field(ge=1, le=MAX_SIGNERS)]


class KeyHolders(Model):
    """The signer group that holds a key, or that is to hold it: ``signers`` by their index."""

    group: str
    threshold: Annotated[int, Field(ge=MIN_THRESHOLD, le=MAX_SIGNERS)]
    signers: Annotated[tuple[NodeId, ...], Field(min_length=MIN_THRESHOLD, max_length=MAX_SIGNERS)]

    @model_validator(mode="after")
    def _parts_go_together(self) -> "KeyHolders":
        if len(set(self.signers)) != len(self.signers):
            raise ValueError("a signer is in the group twice")
        if self.threshold > len(self.signers):
            raise ValueError("the threshold is larger than the number of signers")
        return self


class Job(Model):
    """A job's signed payload: the same bytes at each attempt, without lease and attempt.

    ``id`` is the request's id: in HSM mode the key's for GenerateKey and ImportKey and the import's
    for PrepareImport, in both modes the signature's for Sign.
    Other steps of signers have their own id: the id of the ceremony or of the order. Then
    ``step_of`` is the request's id. ``evidence``: signers' statements that justify the job, for
    example all promises under ActivateKey. ``kind`` is a plain string, so that a node can refuse
    an unknown kind by name.
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
    """The application's signature over ``request``, with signed_requests.payload_type."""
    evidence: Annotated[tuple[SignedBytes, ...], Field(max_length=MAX_SIGNERS)] = ()
    ceremony: UUID | None = None
    """The set of shares for ProveKey, Promise, ActivateKey, Abandon and Discard."""
    created_at: AwareDatetime
    expires_at: AwareDatetime
    holders: KeyHolders | None = None
    """The signer group that will hold the key: of PrepareImport for signers, and of each job of a
    copy."""
    copied_from: UUID | None = None
    """The key that ``key`` becomes a copy of. In a copy the id of the new key is the request's."""
    dealers: Annotated[tuple[ShareIndex, ...], Field(max_length=MAX_SIGNERS)] | None = None
    """The indices of the signers that deal together, of DealShares."""

    @model_serializer(mode="wrap")
    def _as_before_without_new_fields(
        self, serialize: SerializerFunctionWrapHandler
    ) -> dict[str, object]:
        """Leave out fields that are null, where nodes of earlier versions do not know the field."""
        fields: dict[str, object] = serialize(self)
        for name in ("holders", "copied_from", "dealers"):
            if getattr(self, name) is None:
                fields.pop(name, None)
        return fields

    @model_validator(mode="after")
    def _a_signature_is_its_own_request(self) -> "Job":
        if self.kind == JobKind.SIGN and self.step_of is not None:
            raise ValueError("a Sign job must have its request's id")
        return self

    @property
    def request_id(self) -> UUID:
        """Return the request's id, the same at each step and attempt."""
        return self.step_of or self.id

    @property
    def request_digest(self) -> bytes:
        """Return a hash of the request and its key, the same at each step and attempt.

        Of a copy it is a hash of the copied key and the new group, at the signers of both groups.
        """
        key = self.key
        if self.copied_from is not None:
            key = key.model_copy(update={"id": self.copied_from})
        content: dict[str, object] = {
            "request_id": str(self.request_id),
            "endpoint": self.endpoint,
            "key": key.model_dump(mode="json"),
            "request": self.request.hex(),
        }
        if self.endpoint is Endpoint.COPIES and self.holders is not None:
            content["holders"] = self.holders.model_dump(mode="json")
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return tagged_hash(Domain.REQUEST, canonical.encode())


def job_digest(payload: bytes) -> bytes:
    """Return SHA-256 of a job's signed payload: id and digest identify a job in the journal."""
    return hashlib.sha256(payload).digest()
