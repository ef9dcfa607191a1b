"""Bodies of the node API: claim, report, extend, heartbeat (mTLS, JSON)."""

from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, Field

from custody.wire.answers import Answer, Open
from custody.wire.audit import AuditPlace
from custody.wire.ban_questions import MAX_PARTS
from custody.wire.encoding import Base64Bytes, Model
from custody.wire.inventory import InventoryQuestion
from custody.wire.left_in_flight import LeftInFlight
from custody.wire.nodes import NodeId
from custody.wire.public_keys import IdentityKey
from custody.wire.signed_bytes import SignedBytes, SigningKeyIds

MAX_BATCH = 256
"""Limit of jobs in one claim, outcomes in one report, leases in one extend."""

MAX_BANS = 1_000
"""Limit of bans in one heartbeat."""

MAX_LEFT_IN_FLIGHT = 256
"""Limit of pairs in one heartbeat: the control plane reads them with each request of the signer."""

MAX_WARNINGS = 32
"""Limit of warnings in one heartbeat."""

MAX_BAN_QUESTIONS = 64
"""Limit of open ban questions in one answer to a heartbeat."""

MAX_WANTED_PARTS = 4
"""Limit of parts of answers in one response: each part may fill a request."""

MAX_CLAIM_WAIT = 30.0
"""Seconds that a claim may wait for work."""


MAX_AUDIT_RECORD = 256 * 1024
"""Bytes of one audit record; nodes write records of a few thousand bytes at most."""

MAX_AUDIT_RECORDS = 500
"""Limit of audit records in one request."""

MAX_AUDIT_BYTES = 1024 * 1024
"""Bytes of all audit records in one request; a request may have one record in any case."""


class ClaimRequest(Model):
    """Body of a claim. ``slots``: most jobs; ``wait``: seconds to wait for the first job."""

    kinds: Annotated[list[str], Field(min_length=1, max_length=64)]
    slots: Annotated[int, Field(ge=1, le=MAX_BATCH)]
    wait: Annotated[float, Field(ge=0, le=MAX_CLAIM_WAIT)] = 0


class ClaimedJob(Answer):
    """A job with its lease. In report and extend, the token proves that the node has the lease.

    ``ticket``: the signed Ticket of the job's ceremony; signers only.
    ``delivery_ticket``: the signed DeliveryTicket of the same ceremony.
    ``traceparent``: the W3C trace context of the request. Nothing is decided from it.
    """

    job_id: UUID
    job: SignedBytes
    attempt: int
    lease: UUID
    lease_seconds: float
    ticket: SignedBytes | None = None
    delivery_ticket: SignedBytes | None = None
    traceparent: str | None = None


class ClaimResponse(Answer):
    jobs: list[ClaimedJob]


class Report(Model):
    """An outcome to report. ``outcome``: the exact bytes that the node journalled."""

    job_id: UUID
    lease: UUID | None
    outcome: Base64Bytes


class ReportRequest(Model):
    """Body of a report. ``audit_head``: the signed AuditHead of the chain with these outcomes."""

    reports: Annotated[list[Report], Field(max_length=MAX_BATCH)]
    audit_head: SignedBytes | None = None


class ReportResult(Answer):
    """Confirms one outcome; ``note``: recorded, duplicate, late, retried or unknown."""

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
    """The jobs with an extended lease of ``lease_seconds``; the other leases are lost."""

    extended: list[UUID]
    lease_seconds: float


class HealthStatus(StrEnum):
    OK = "ok"
    DEGRADED = "degraded"
    """The node has a problem, which ``detail`` names."""
    FAILING = "failing"
    """The node takes no work: it stops, it never reported, or its audit chain is invalid."""


class NodeHealth(Model):
    status: Open[HealthStatus]
    detail: str | None = None
    """The problem, for operators."""
    works: bool = True
    """True if the node takes jobs; false while a problem would make every job fail."""
    warnings: Annotated[tuple[str, ...], Field(max_length=MAX_WARNINGS)] = ()
    """What an operator should do although the node works, such as confirm a backup."""


class HeartbeatRequest(Model):
    """Body of a heartbeat. ``capabilities``: algorithm (``ECDSA/secp256k1``) to protection."""

    version: str
    group: str
    kinds: list[str]
    capabilities: dict[str, str]
    health: NodeHealth
    identity_public_key: IdentityKey
    """The node's Ed25519 identity key, which signs audit heads."""
    audit_head: SignedBytes | None = None
    slots: Annotated[int, Field(ge=1, le=MAX_BATCH)] = 1
    """Jobs at once."""
    has_gate: bool = False
    """True if the node asks the owner's validation gate before it signs."""
    sends_audit_records: bool = False
    """True if the node sends its audit records (its setting ``send_audit_records``)."""
    bans: Annotated[tuple[SignedBytes, ...], Field(max_length=MAX_BANS)] = ()
    """This signer's signed Bans; the newest ones if there are more than the limit."""
    delivery_problems: Annotated[dict[str, str], Field(max_length=MAX_BATCH)] = Field(
        default_factory=dict
    )
    """Delivery servers that this signer cannot use: name to reason."""
    left_in_flight: Annotated[
        tuple[LeftInFlight, ...] | None, Field(max_length=MAX_LEFT_IN_FLIGHT)
    ] = None
    """All pairs that this signer has left in flight, oldest first; null if it does not know."""
    job_signing_keys: SigningKeyIds = ()
    """The job-signing keys that this node pins."""
    delivery_job_signing_keys: Annotated[dict[str, SigningKeyIds], Field(max_length=MAX_BATCH)] = (
        Field(default_factory=dict)
    )
    """The job-signing keys that delivery servers pin, as each server told this signer."""


class HeartbeatResponse(Answer):
    """Answer to a heartbeat. ``time``: the control plane's clock, for comparison."""

    node: str
    group: str
    time: AwareDatetime
    max_clock_offset_seconds: float | None = None
    """The clock offset that tickets allow a signer; a node may allow less."""
    ban_questions: Annotated[tuple[SignedBytes, ...], Field(max_length=MAX_BAN_QUESTIONS)] = ()
    """The open BanQuestions of other signers of the node's group."""
    inventory: InventoryQuestion | None = None
    """Asks for the node's inventory, while the control plane's restored database is reconciled."""


class WantedPart(Model):
    """One part of a signer's answer."""

    signer: NodeId
    part: Annotated[int, Field(ge=1, le=MAX_PARTS)]


class BanQuestionRequest(Model):
    """A restored signer's question, sent until it has all answers.

    ``question``: a BanQuestion, signed by the sender's identity key; null withdraws the question.
    ``wanted``: the parts of answers that the response is to contain.
    """

    question: SignedBytes | None
    wanted: Annotated[tuple[WantedPart, ...], Field(max_length=MAX_WANTED_PARTS)] = ()


class LeftPair(Answer):
    """A pair that the asking signer has left in flight."""

    key_id: UUID
    signer: str
    """The counterparty."""
    since: AwareDatetime


class ArrivedPart(Answer):
    """A part of another signer's answer to the question.

    ``received_at`` changes when another part takes its place. ``answer``: the BanAnswer as that
    signer signed it, if the request wanted the part.
    """

    signer: str
    part: int
    received_at: AwareDatetime
    answer: SignedBytes | None = None


class BanQuestionResponse(Answer):
    """What has arrived for the question so far."""

    answers: tuple[ArrivedPart, ...]
    """All parts that have arrived, by signer and part. The asking signer fetches them by number:
    an answer about many keys is too large for one response."""
    bans: tuple[SignedBytes, ...] = ()
    """The Bans that the control plane keeps in which the sender bans or is banned, as signed."""
    left_in_flight: Annotated[tuple[LeftPair, ...], Field(max_length=MAX_LEFT_IN_FLIGHT)] = ()
    """The pairs that the sender has left in flight, by its last heartbeat that said so."""


class BanAnswerRequest(Model):
    """One part of an answer to another signer. ``answer``: a BanAnswer, signed by the sender."""

    answer: SignedBytes


class BanAnswerResponse(Answer):
    """``is_wanted``: false if the question is not open any more."""

    is_wanted: bool


class RestoreClaim(Model):
    """A stated restore. ``restored``: a Restored, signed by the node's identity key."""

    restored: SignedBytes


class KnownRestore(Answer):
    """A Restored at the control plane, with an admin's acknowledgement if there is one."""

    restored: SignedBytes
    acknowledged_at: AwareDatetime | None = None
    acknowledged_by: str | None = None
    acknowledged_reason: str | None = None


class AuditHeads(Answer):
    """The heads that the control plane has kept of the asking node, oldest first.

    ``group``: the group in which the node is registered.
    """

    group: str
    heads: list[SignedBytes]
    set_aside: tuple[SignedBytes, ...] = ()
    """Heads of records that an acknowledged restore has lost; still kept."""
    restores: tuple[KnownRestore, ...] = ()
    """Oldest first."""


class ChangedKey(Answer):
    """A key that was made, refreshed or repaired since the asked time."""

    key_id: UUID
    generation: int | None = None
    """Of the set of shares in use; null for a key in an HSM."""
    changed_at: AwareDatetime


class ArchivedSince(Answer):
    """A key that is archived, or being archived, by a request since the asked time.

    ``path``: from the root, and empty for the root itself. ``request_id``: null if the control
    plane does not know the request.
    """

    root_id: UUID
    path: list[int]
    request_id: UUID | None
    archived_at: AwareDatetime


class ChangedKeys(Answer):
    """The newest keys first. ``is_complete``: False if there are more than one answer has."""

    keys: list[ChangedKey]
    is_complete: bool
    archived: tuple[ArchivedSince, ...] = ()


class RestoreClaimed(Answer):
    """``is_acknowledged``: an admin has already acknowledged this statement."""

    is_acknowledged: bool


class AuditRecordsRequest(Model):
    """Records of the sender's audit chain. Without records it only asks for the kept place.

    ``after``: the place that the first record follows. ``head``: the AuditHead of the last record,
    signed by the sender's identity key. ``checkpoint``: the signed Checkpoint at ``after``, if the
    node has pruned the records between the place that the control plane keeps and ``after``.
    """

    after: AuditPlace
    records: Annotated[
        tuple[Annotated[Base64Bytes, Field(max_length=MAX_AUDIT_RECORD)], ...],
        Field(max_length=MAX_AUDIT_RECORDS),
    ] = ()
    head: SignedBytes | None = None
    checkpoint: SignedBytes | None = None


class AuditRecordsResponse(Answer):
    """``kept``: the place after the last record of the node that the control plane keeps."""

    kept: AuditPlace
