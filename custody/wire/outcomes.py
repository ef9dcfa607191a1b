"""Outcomes of jobs."""

from enum import StrEnum
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator

from custody.wire.algorithms import Curve, Protection, Scheme, known_algorithm
from custody.wire.encoding import HexBytes, Model
from custody.wire.group_sizes import MAX_SIGNERS
from custody.wire.nodes import NodeId
from custody.wire.public_keys import check_public_key
from custody.wire.signatures import SignatureResult
from custody.wire.signed_bytes import SignedBytes

APPROVAL_PENDING = "approval_pending"
"""The code of an attempt that ended while the owner's gate had not decided."""


class OutcomeStatus(StrEnum):
    DONE = "DONE"
    """The work is done; final."""
    DENIED = "DENIED"
    """Decided against; final, never retried."""
    FAILED = "FAILED"
    """Could not; the control plane retries if ``transient``."""
    REFUSED = "REFUSED"
    """The node does not believe the job, or the job is not for it; not journalled."""


class GeneratedKey(Model):
    """Result of GenerateKey and ImportKey in HSM mode."""

    type: Literal["Key"] = "Key"
    scheme: Scheme
    curve: Curve
    public_key: HexBytes
    protection: Protection
    attestation: SignedBytes | None = None

    @model_validator(mode="after")
    def _has_a_public_key(self) -> Self:
        check_public_key(known_algorithm(self.scheme, self.curve), self.public_key)
        return self


class PreparedImport(Model):
    """Result of PrepareImport. ``statements``: signed ImportKeyStatements.

    A node reports its own statement. The outcome of a request of MPC mode has those of all signers.
    """

    type: Literal["ImportKey"] = "ImportKey"
    statements: Annotated[tuple[SignedBytes, ...], Field(min_length=1, max_length=MAX_SIGNERS)]


class MadeSignature(Model):
    type: Literal["Signature"] = "Signature"
    digest: HexBytes | None
    signature: SignatureResult


class PreparedShare(Model):
    """Result of Generate, Refresh and Import.

    ``confirmation``: a Confirmation, signed by the reporter.
    """

    type: Literal["Prepared"] = "Prepared"
    confirmation: SignedBytes


class DealtShares(Model):
    """Result of DealShares. ``dealing``: a Dealing, signed by the reporting signer."""

    type: Literal["Dealt"] = "Dealt"
    dealing: SignedBytes


class PromisedShare(Model):
    """Result of Promise. ``promise``: a Promise, signed by the reporting signer."""

    type: Literal["Promised"] = "Promised"
    promise: SignedBytes


class ActivatedShare(Model):
    type: Literal["Activated"] = "Activated"
    attestation: SignedBytes


class Approved(Model):
    """Result of Approve: the signer's owner approves the request."""

    type: Literal["Approved"] = "Approved"


class AbandonedShare(Model):
    type: Literal["Abandoned"] = "Abandoned"
    abandonment: SignedBytes


class NothingMade(Model):
    """Result without facts: of Discard, and of a helper in RepairShare."""

    type: Literal["Nothing"] = "Nothing"


Result = (
    GeneratedKey
    | PreparedImport
    | MadeSignature
    | PreparedShare
    | DealtShares
    | PromisedShare
    | ActivatedShare
    | Approved
    | AbandonedShare
    | NothingMade
)


class SetOfShares(Model):
    """A set of shares. ``ceremony``: the ceremony that made the set."""

    ceremony: UUID
    generation: int


class Outcome(Model):
    """An outcome. ``code``: stable, snake_case; ``reason``: for people. DONE has neither.

    ``culprits``: the signers that the reporting signer blames for a ceremony's end.
    ``shares``: the share set that this signer holds instead of the requested one, or the share
    set that blocks the job.
    """

    job_id: UUID
    node: NodeId | None
    """Null if the control plane itself ended the expired request."""
    status: OutcomeStatus
    code: str | None = None
    reason: str | None = None
    transient: bool = False
    culprits: tuple[NodeId, ...] = ()
    shares: SetOfShares | None = None
    result: Annotated[Result, Field(discriminator="type")] | None = None
