"""What became of a job."""

from enum import StrEnum
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator

from custody.wire.algorithms import Curve, Protection, Scheme, known_algorithm
from custody.wire.encoding import HexBytes, Model
from custody.wire.envelope import SignedBytes
from custody.wire.nodes import NodeId
from custody.wire.public_keys import check_public_key
from custody.wire.signatures import SignatureResult

APPROVAL_PENDING = "approval_pending"
"""The code of an attempt that ended because the owner's gate has not decided yet."""


class OutcomeStatus(StrEnum):
    DONE = "DONE"
    """The work is done; final."""
    DENIED = "DENIED"
    """Decided against; final, never retried."""
    FAILED = "FAILED"
    """Could not; the control plane tries again when ``transient``."""
    REFUSED = "REFUSED"
    """Not a job that this node believes or is meant to do; not journalled."""


class GeneratedKey(Model):
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


class MadeSignature(Model):
    type: Literal["Signature"] = "Signature"
    digest: HexBytes | None
    signature: SignatureResult


class PreparedShare(Model):
    """``confirmation``: a Confirmation, signed by the signer that reports it."""

    type: Literal["Prepared"] = "Prepared"
    confirmation: SignedBytes


class PromisedShare(Model):
    """``promise``: a Promise, signed by the signer that reports it."""

    type: Literal["Promised"] = "Promised"
    promise: SignedBytes


class ActivatedShare(Model):
    type: Literal["Activated"] = "Activated"
    attestation: SignedBytes


class Approved(Model):
    """The signer's owner lets it take part."""

    type: Literal["Approved"] = "Approved"


class AbandonedShare(Model):
    type: Literal["Abandoned"] = "Abandoned"
    abandonment: SignedBytes


class NothingMade(Model):
    """The work leaves nothing to tell of: Discard, and a helper's part in RepairShare."""

    type: Literal["Nothing"] = "Nothing"


Result = (
    GeneratedKey
    | MadeSignature
    | PreparedShare
    | PromisedShare
    | ActivatedShare
    | Approved
    | AbandonedShare
    | NothingMade
)


class SetOfShares(Model):
    """``ceremony``: that made it."""

    ceremony: UUID
    generation: int


class Outcome(Model):
    """``code`` is stable, snake_case, for machines; ``reason`` is for people. Neither for DONE.

    ``culprits``: the signers that the reporting one blames for the end of a ceremony.
    ``shares``: what the signer has instead of the set that the job is about, or waits for an end.
    """

    job_id: UUID
    node: NodeId | None
    """Null when the control plane itself ended the request, by its expiry."""
    status: OutcomeStatus
    code: str | None = None
    reason: str | None = None
    transient: bool = False
    culprits: tuple[NodeId, ...] = ()
    shares: SetOfShares | None = None
    result: Annotated[Result, Field(discriminator="type")] | None = None
