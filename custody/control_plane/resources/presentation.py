"""Rows into what the public API shows. Pure: every state of a request can be shown from here."""

from dataclasses import dataclass
from typing import Any

from custody.control_plane.jobs.reasons import reason_of
from custody.control_plane.tables import JobState
from custody.wire.algorithms import Curve, Network, Protection, Scheme, Store
from custody.wire.derivation import format_path
from custody.wire.digests import digest_of
from custody.wire.jobs import Endpoint, Job, JobKind
from custody.wire.node_api import HealthStatus, NodeHealth
from custody.wire.outcomes import MadeSignature, Outcome
from custody.wire.requests import (
    CREATE_SIGNATURE,
    RepairShare,
    SignMessage,
    SignRequest,
    SignTransaction,
)
from custody.wire.resources import (
    ChangeStatus,
    Key,
    KeyChange,
    KeyStatus,
    Node,
    Reason,
    Signature,
    SignatureStatus,
    Wallet,
)
from custody.wire.signatures import SignatureResult

KEY_STATUS = {
    JobState.QUEUED: KeyStatus.PENDING,
    JobState.LEASED: KeyStatus.PENDING,
    JobState.DONE: KeyStatus.ACTIVE,
    JobState.DENIED: KeyStatus.FAILED,
    JobState.FAILED: KeyStatus.FAILED,
}

SIGNATURE_STATUS = {
    JobState.QUEUED: SignatureStatus.PENDING,
    JobState.LEASED: SignatureStatus.EXECUTING,
    JobState.DONE: SignatureStatus.SIGNED,
    JobState.DENIED: SignatureStatus.REJECTED,
    JobState.FAILED: SignatureStatus.FAILED,
}

CHANGE_STATUS = {
    JobState.QUEUED: ChangeStatus.PENDING,
    JobState.LEASED: ChangeStatus.EXECUTING,
    JobState.DONE: ChangeStatus.DONE,
    JobState.DENIED: ChangeStatus.REJECTED,
    JobState.FAILED: ChangeStatus.FAILED,
}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is: its state, and the exact bytes of the Outcomes there are."""

    state: JobState
    outcome: bytes | None = None
    last_failure: bytes | None = None

    @classmethod
    def of(cls, row: Any) -> "Progress":
        return cls(JobState(row.state), row.outcome, row.last_failure)

    @property
    def is_final(self) -> bool:
        return self.outcome is not None


QUEUED = Progress(JobState.QUEUED)


@dataclass(frozen=True, slots=True)
class SignatureRequest:
    """A Sign job, read: what is to be signed, and the digest that it comes to."""

    job: Job
    body: SignRequest
    digest: bytes | None

    @classmethod
    def read(cls, payload: bytes) -> "SignatureRequest":
        """From the payload that this control plane signed; so it fits its models."""
        job = Job.model_validate_json(payload)
        body = CREATE_SIGNATURE.validate_json(job.request)
        key = job.key
        return cls(job, body, digest_of(body, key.algorithm, key.network, key.public_key))


def key_of(row: Any, sees_details: bool) -> Key:
    """A key from its row and the row of the job that made it."""
    progress = Progress.of(row)
    return Key(
        id=row.id,
        status=KEY_STATUS[progress.state],
        store=Store(row.store),
        scheme=Scheme(row.scheme),
        curve=Curve(row.curve),
        network=None if row.network is None else Network(row.network),
        public_key=row.public_key,
        protection=None if row.protection is None else Protection(row.protection),
        signer_group=row.signer_group,
        threshold=row.threshold,
        signers=row.signers,
        generation=row.generation,
        root=row.root_id,
        path=None if row.path is None else format_path(row.path),
        chain_code=row.chain_code,
        attestations=row.attestations,
        external_id=row.external_id if row.endpoint in (Endpoint.KEYS, Endpoint.COPIES) else None,
        name=row.name,
        tags=row.tags,
        reason=shown_reason(progress, sees_details),
        created_at=row.created_at,
        imported=row.imported,
        archived_at=row.archived_at,
        copied_from=row.copied_from,
        copies=row.copies,
    )


def wallet_of(row: Any, sees_details: bool) -> Wallet:
    """A wallet from its row, its key's, and that of the job that made the key."""
    progress = Progress.of(row)
    return Wallet(
        id=row.id,
        status=KEY_STATUS[progress.state],
        store=Store(row.store),
        network=Network(row.network),
        signer_group=row.signer_group,
        key_id=row.key_id,
        address=row.address,
        external_id=row.external_id,
        name=row.name,
        tags=row.tags,
        reason=shown_reason(progress, sees_details),
        created_at=row.created_at,
        imported=row.imported,
        archived_at=row.archived_at,
        copies=row.copies,
    )


def signature_of(request: SignatureRequest, progress: Progress, sees_details: bool) -> Signature:
    """A signature from its Sign job."""
    body = request.body
    return Signature(
        id=request.job.id,
        key_id=request.job.key.id,
        status=SIGNATURE_STATUS[progress.state],
        kind=body.kind,
        message=body.message if isinstance(body, SignMessage) else None,
        transaction=body.transaction if isinstance(body, SignTransaction) else None,
        digest=request.digest,
        signature=_result_of(progress),
        external_id=body.external_id,
        reason=shown_reason(progress, sees_details),
        created_at=request.job.created_at,
        expires_at=request.job.expires_at,
    )


CHANGE_KIND = {
    JobKind.REFRESH_KEY: "Refresh",
    JobKind.REPAIR_SHARE: "Repair",
    JobKind.ARCHIVE_KEY: "Archive",
    JobKind.UNARCHIVE_KEY: "Unarchive",
}


def change_of(row: Any, sees_details: bool) -> KeyChange:
    """A change of a key from its job."""
    progress = Progress.of(row)
    job = Job.model_validate_json(row.payload)
    is_repair = job.kind == JobKind.REPAIR_SHARE
    return KeyChange(
        id=row.id,
        key_id=job.key.id,
        kind=CHANGE_KIND[JobKind(job.kind)],
        signer=RepairShare.model_validate_json(job.request).signer if is_repair else None,
        status=CHANGE_STATUS[progress.state],
        external_id=row.external_id,
        reason=shown_reason(progress, sees_details),
        created_at=job.created_at,
        expires_at=job.expires_at,
    )


def node_of(row: Any, sees_details: bool) -> Node:
    """A node from its row."""
    return Node(
        id=row.id,
        group=row.node_group,
        version=row.version if sees_details else None,
        capabilities=row.capabilities,
        health=health_of(row, sees_details),
        last_seen=row.last_seen if sees_details else None,
        restores=(),
    )


def health_of(row: Any, sees_details: bool) -> NodeHealth:
    """What a node last said of itself; one that never sent a heartbeat is failing."""
    health = (
        NodeHealth(status=HealthStatus.FAILING, detail="has never reported", works=False)
        if row.health is None
        else NodeHealth.model_validate(row.health)
    )
    return health if sees_details else NodeHealth(status=health.status, works=health.works)


def shown_reason(progress: Progress, sees_details: bool) -> Reason | None:
    """Why a job was denied or failed; while it is not final, why its last attempt failed."""
    recorded = progress.outcome or progress.last_failure
    if progress.state is JobState.DONE or recorded is None:
        return None
    return reason_of(recorded, progress.is_final, sees_details)


def _result_of(progress: Progress) -> SignatureResult | None:
    if progress.state is not JobState.DONE or progress.outcome is None:
        return None
    made = Outcome.model_validate_json(progress.outcome).result
    return made.signature if isinstance(made, MadeSignature) else None
