"""New jobs: drafted from a request, then signed once. Every attempt sends the same bytes."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from custody.control_plane.jobs.queue import NewJob
from custody.control_plane.resources.external_ids import body_digest
from custody.runtime.tracing import current_traceparent
from custody.wire.jobs import Endpoint, Job, JobKind, KeyReference
from custody.wire.outcomes import GeneratedKey, Outcome, OutcomeStatus
from custody.wire.requests import (
    ArchiveKey,
    CopyKey,
    CreateImport,
    CreateKey,
    CreateWallet,
    DeriveKey,
    RefreshKey,
    RepairShare,
    SignRequest,
    UnarchiveKey,
)
from custody.wire.signed_bytes import JOB_TYPE, DetachedSignature, SigningKey

KeyChangeRequest = RefreshKey | RepairShare | ArchiveKey | UnarchiveKey

CHANGES: dict[type[KeyChangeRequest], tuple[JobKind, Endpoint]] = {
    RefreshKey: (JobKind.REFRESH_KEY, Endpoint.REFRESHES),
    RepairShare: (JobKind.REPAIR_SHARE, Endpoint.REPAIRS),
    ArchiveKey: (JobKind.ARCHIVE_KEY, Endpoint.ARCHIVALS),
    UnarchiveKey: (JobKind.UNARCHIVE_KEY, Endpoint.UNARCHIVALS),
}
"""The job kind and the endpoint of each change of a key."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A request with its application: ``text`` is the body, byte for byte."""

    application_id: UUID
    node_group: str
    text: bytes
    signature: DetachedSignature | None = None
    """The application's own, of ``text``."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A job before the control plane signs it.

    ``body_digest`` and ``external_id`` identify a repeated request. ``outcome``: set for a job that
    is done as soon as it is stored.
    """

    job: Job
    application_id: UUID
    external_id: str | None
    body_digest: bytes
    outcome: bytes | None = None

    @property
    def id(self) -> UUID:
        """Return the job's id."""
        return self.job.id

    @property
    def endpoint(self) -> str:
        """Return the endpoint of the request: external ids are unique within it."""
        return self.job.endpoint


class JobMaker:
    """Drafts jobs and signs them. Pure, except for the clock and fresh ids."""

    def __init__(self, signer: SigningKey, lifetime_seconds: int) -> None:
        self._signer = signer
        self._lifetime = timedelta(seconds=lifetime_seconds)

    def generate_key(self, submission: Submission, body: CreateKey | CreateWallet) -> Draft:
        """Draft the job that makes or imports a wallet's key or a bare key.

        The job's id is the key's id.
        """
        key_id = uuid4()
        is_wallet = isinstance(body, CreateWallet)
        key = KeyReference(
            id=key_id,
            scheme=body.algorithm.scheme,
            curve=body.algorithm.curve,
            network=body.network if isinstance(body, CreateWallet) else None,
            public_key=None,
        )
        job = self._job(
            key_id,
            JobKind.GENERATE_KEY if body.imported is None else JobKind.IMPORT_KEY,
            Endpoint.WALLETS if is_wallet else Endpoint.KEYS,
            submission,
            key,
            body.expires_at,
        )
        return Draft(job, submission.application_id, body.external_id, body_digest(body))

    def prepare_import(self, submission: Submission, body: CreateImport) -> Draft:
        """Draft the job that makes import keys. The job's id is the import's id."""
        import_id = uuid4()
        scheme, curve = body.algorithm
        key = KeyReference(id=import_id, scheme=scheme, curve=curve, network=None, public_key=None)
        job = self._job(
            import_id, JobKind.PREPARE_IMPORT, Endpoint.IMPORTS, submission, key, body.expires_at
        )
        return Draft(job, submission.application_id, body.external_id, body_digest(body))

    def derive_key(
        self,
        submission: Submission,
        key: KeyReference,
        body: CreateWallet | DeriveKey,
        master_id: UUID,
        result: GeneratedKey,
    ) -> Draft:
        """Draft the job of a derived key. The job is done already, and no node gets it."""
        endpoint = Endpoint.WALLETS if isinstance(body, CreateWallet) else Endpoint.DERIVATIONS
        job = self._job(key.id, JobKind.GENERATE_KEY, endpoint, submission, key, body.expires_at)
        outcome = Outcome(job_id=key.id, node=None, status=OutcomeStatus.DONE, result=result)
        digest = body_digest(body, None if isinstance(body, CreateWallet) else master_id)
        return Draft(
            job,
            submission.application_id,
            body.external_id,
            digest,
            outcome.model_dump_json().encode(),
        )

    def change(self, submission: Submission, key: KeyReference, body: KeyChangeRequest) -> Draft:
        """Draft the job of a change of a key. Signers do the job in steps."""
        kind, endpoint = CHANGES[type(body)]
        job = self._job(uuid4(), kind, endpoint, submission, key, body.expires_at)
        return Draft(job, submission.application_id, body.external_id, body_digest(body, key.id))

    def copy_key(self, submission: Submission, key: KeyReference, body: CopyKey) -> Draft:
        """Draft the job that makes a copy of a key. The job's id is the copy's id."""
        job = self._job(
            uuid4(), JobKind.COPY_KEY, Endpoint.COPIES, submission, key, body.expires_at
        )
        return Draft(job, submission.application_id, body.external_id, body_digest(body, key.id))

    def make_signature(self, submission: Submission, key: KeyReference, body: SignRequest) -> Draft:
        """Draft the job that makes a signature. The job's id is the signature's id."""
        job = self._job(
            uuid4(), JobKind.SIGN, Endpoint.SIGNATURES, submission, key, body.expires_at
        )
        return Draft(job, submission.application_id, body.external_id, body_digest(body, key.id))

    def signed(self, draft: Draft) -> NewJob:
        """Sign a draft with the control plane's job-signing key."""
        job = draft.job
        signed = self._signer.sign(JOB_TYPE, job.model_dump_json().encode())
        return NewJob(
            id=job.id,
            kind=job.kind,
            endpoint=job.endpoint,
            application_id=draft.application_id,
            key_id=_key_id(job),
            node_group=job.group,
            external_id=draft.external_id,
            body_digest=draft.body_digest,
            payload=signed.payload,
            signature=signed.signature,
            signing_key_id=signed.signing_key_id,
            created_at=job.created_at,
            expires_at=job.expires_at,
            outcome=draft.outcome,
            traceparent=current_traceparent(),
        )

    def _job(
        self,
        id_: UUID,
        kind: JobKind,
        endpoint: Endpoint,
        submission: Submission,
        key: KeyReference,
        expires_at: datetime | None,
    ) -> Job:
        now = datetime.now(UTC)
        latest = now + self._lifetime
        return Job(
            id=id_,
            kind=kind,
            group=submission.node_group,
            key=key,
            endpoint=endpoint,
            request=submission.text,
            request_signature=submission.signature,
            created_at=now,
            expires_at=latest if expires_at is None else min(latest, expires_at),
        )


def _key_id(job: Job) -> UUID | None:
    """Return the key of a request: for a copy the new key, which the request's id names."""
    match job.kind:
        case JobKind.PREPARE_IMPORT:
            return None
        case JobKind.COPY_KEY:
            return job.id
        case _:
            return job.key.id
