"""What became of a job."""

from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from wire.algorithms import Curve, Protection, Scheme
from wire.encoding import HexBytes, Model
from wire.signatures import SignatureResult


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


class MadeSignature(Model):
    type: Literal["Signature"] = "Signature"
    digest: HexBytes | None
    signature: SignatureResult


class Outcome(Model):
    """``code`` is stable, snake_case, for machines; ``reason`` is for people. Neither for DONE."""

    job_id: UUID
    node: str | None
    """Null when the control plane itself ended the request, by its expiry."""
    status: OutcomeStatus
    code: str | None = None
    reason: str | None = None
    transient: bool = False
    result: Annotated[GeneratedKey | MadeSignature, Field(discriminator="type")] | None = None
