"""Bodies of the node API: claim, report, extend, heartbeat (mTLS, JSON)."""

from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, Field

from custody.wire.answers import Answer, Open
from custody.wire.encoding import Base64Bytes, Model
from custody.wire.envelope import SignedBytes
from custody.wire.left_in_flight import LeftInFlight
from custody.wire.public_keys import IdentityKey

MAX_BATCH = 256
"""Jobs in one claim, outcomes in one report, leases in one extend."""

MAX_BANS = 1_000
"""Bans in one heartbeat."""

MAX_LEFT_IN_FLIGHT = 256
"""Pairs in one heartbeat. The control plane reads them with every request of their signer."""

MAX_CLAIM_WAIT = 30.0
"""Seconds that a claim may wait for work."""


class ClaimRequest(Model):
    """``slots``: how many jobs fit; ``wait``: seconds to hold the request open for the first."""

    kinds: Annotated[list[str], Field(min_length=1, max_length=64)]
    slots: Annotated[int, Field(ge=1, le=MAX_BATCH)]
    wait: Annotated[float, Field(ge=0, le=MAX_CLAIM_WAIT)] = 0


class ClaimedJob(Answer):
    """A job with its lease. The lease's token proves in report and extend that it is still ours.

    ``ticket``: the signed Ticket of the ceremony that the job is to be done in; signers only.
    ``delivery_ticket``: the signed DeliveryTicket of the same ceremony.
    """

    job_id: UUID
    job: SignedBytes
    attempt: int
    lease: UUID
    lease_seconds: float
    ticket: SignedBytes | None = None
    delivery_ticket: SignedBytes | None = None


class ClaimResponse(Answer):
    jobs: list[ClaimedJob]


class Report(Model):
    """``outcome``: the exact bytes of an Outcome, as the node journalled them."""

    job_id: UUID
    lease: UUID | None
    outcome: Base64Bytes


class ReportRequest(Model):
    """``audit_head``: the signed AuditHead of the chain that records these outcomes."""

    reports: Annotated[list[Report], Field(max_length=MAX_BATCH)]
    audit_head: SignedBytes | None = None


class ReportResult(Answer):
    """The control plane has it; ``note``: recorded, duplicate, late, retried or unknown."""

    job_id: UUID
    note: str


class ReportResponse(Answer):
    results: list[ReportResult]


class Lease(Model):
    job_id: UUID
    lease: UUID


class ExtendRequest(Model):
    leases: Annotated[list[Lease], Field(min_length=1, max_length=MAX_BATCH)]


class ExtendResponse(Answer):
    """The jobs whose lease now lasts ``lease_seconds`` again; what is missing is no longer ours."""

    extended: list[UUID]
    lease_seconds: float


class HealthStatus(StrEnum):
    OK = "ok"
    DEGRADED = "degraded"
    """Something is wrong with the node: ``detail`` says what."""
    FAILING = "failing"
    """It takes no work: it was told to stop, never reported, or its audit chain does not hold."""


class NodeHealth(Model):
    status: Open[HealthStatus]
    detail: str | None = None
    """For operators: what is wrong."""
    works: bool = True
    """Whether the node takes jobs: false while a problem would have it fail every one of them."""


class HeartbeatRequest(Model):
    """``capabilities``: algorithm (``ECDSA/secp256k1``) to protection (``hsm`` or ``host``)."""

    version: str
    group: str
    kinds: list[str]
    capabilities: dict[str, str]
    health: NodeHealth
    identity_public_key: IdentityKey
    """Ed25519; it signs audit heads."""
    audit_head: SignedBytes | None = None
    slots: Annotated[int, Field(ge=1, le=MAX_BATCH)] = 1
    """Jobs at once."""
    has_gate: bool = False
    """Whether the owner's validation gate is asked before this node signs."""
    bans: Annotated[tuple[SignedBytes, ...], Field(max_length=MAX_BANS)] = ()
    """Each a Ban by this signer; newest first where there are more."""
    delivery_problems: Annotated[dict[str, str], Field(max_length=MAX_BATCH)] = Field(
        default_factory=dict
    )
    """Delivery servers that this signer cannot meet others at, by name, with why."""
    left_in_flight: Annotated[
        tuple[LeftInFlight, ...] | None, Field(max_length=MAX_LEFT_IN_FLIGHT)
    ] = None
    """All that this signer has left now, oldest first; null when it does not know."""


class HeartbeatResponse(Answer):
    """``time``: the control plane's clock, for the node to compare its own with."""

    node: str
    group: str
    time: AwareDatetime
    max_clock_offset_seconds: float | None = None
    """What the life of its tickets allows, for a signer; a node may allow less."""


class RestoreClaim(Model):
    """``restored``: a Restored, signed by the node's identity key."""

    restored: SignedBytes


class KnownRestore(Answer):
    """A Restored that the control plane has; acknowledged by an admin, or not yet."""

    restored: SignedBytes
    acknowledged_at: AwareDatetime | None = None
    acknowledged_by: str | None = None
    acknowledged_reason: str | None = None


class AuditHeads(Answer):
    """The heads that the control plane has kept of the asking node, oldest first.

    ``group`` is the one that the node is registered in.
    """

    group: str
    heads: list[SignedBytes]
    set_aside: tuple[SignedBytes, ...] = ()
    """Heads of records that an acknowledged restore has cost; still kept."""
    restores: tuple[KnownRestore, ...] = ()
    """Oldest first."""


class RestoreClaimed(Answer):
    """``is_acknowledged``: an admin has acknowledged this very statement already."""

    is_acknowledged: bool
