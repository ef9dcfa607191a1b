"""A node without an HSM: does the queue's jobs with keys in memory."""

import asyncio
from datetime import UTC, datetime, timedelta

from coincurve import PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.control_plane.database import Database
from custody.control_plane.jobs.notifications import Notifications
from custody.control_plane.jobs.queue import Queue
from custody.wire.algorithms import Protection, Scheme
from custody.wire.digests import digest_of
from custody.wire.imports import ImportKeyStatement, Wrapping
from custody.wire.jobs import Job, JobKind
from custody.wire.node_api import ClaimedJob, Report
from custody.wire.outcomes import (
    GeneratedKey,
    MadeSignature,
    NothingMade,
    Outcome,
    OutcomeStatus,
    PreparedImport,
    Result,
)
from custody.wire.requests import CREATE_SIGNATURE, CreateKey, SignHash
from custody.wire.signatures import finish
from custody.wire.signed_bytes import IMPORT_KEY_TYPE, SignedBytes, SigningKey

CAPABILITIES = {"ECDSA/secp256k1": "hsm", "EdDSA/ed25519": "host"}

_REPORT_IN = """
    INSERT INTO nodes (id, node_group, version, capabilities, health, last_seen)
    VALUES (:id, :group, :version, :capabilities, :health, now())
    ON CONFLICT (id) DO UPDATE SET node_group = excluded.node_group, version = excluded.version,
        capabilities = excluded.capabilities, health = excluded.health, last_seen = now()
"""


class MemoryNode:
    """Does jobs when told to: ``await node.work()``."""

    def __init__(
        self,
        database: Database,
        queue: Queue,
        notifications: Notifications,
        name: str = "driver-1",
    ) -> None:
        self._database = database
        self._queue = queue
        self._notifications = notifications
        self._keys: dict[str, PrivateKey | Ed25519PrivateKey] = {}
        self.name = name
        self.group = "hsm"
        self.signer = SigningKey(Ed25519PrivateKey.generate())

    async def report_in(self, capabilities: dict[str, str] = CAPABILITIES) -> None:
        """Be registered, and have sent a heartbeat."""
        values = {
            "id": self.name,
            "group": self.group,
            "version": "1.2.3",
            "capabilities": capabilities,
            "health": {"status": "ok", "detail": None},
        }
        await self._database.rows(_REPORT_IN, values)

    async def claim(self) -> list[ClaimedJob]:
        kinds = [kind.value for kind in JobKind]
        return await self._queue.claim(self.name, self.group, kinds, 100)

    async def work(self) -> int:
        """Claim what there is, do it, report it; returns how many jobs."""
        claimed = await self.claim()
        await self.report([(job, self.do(job)) for job in claimed])
        return len(claimed)

    async def work_soon(self) -> int:
        """Wait for jobs, and do them."""
        with self._notifications.jobs(self.group) as waiter:
            async with asyncio.timeout(10):
                while not (done := await self.work()):
                    await waiter.wait(10)
        return done

    async def work_on(self) -> None:
        """Do what comes, until cancelled."""
        while True:
            await self.work_soon()

    async def report(self, outcomes: list[tuple[ClaimedJob, Outcome]]) -> None:
        reports = [
            Report(job_id=job.job_id, lease=job.lease, outcome=outcome.model_dump_json().encode())
            for job, outcome in outcomes
        ]
        if reports:
            await self._queue.report(self.name, self.group, reports)

    def failed(self, claimed: ClaimedJob, status: OutcomeStatus, transient: bool) -> Outcome:
        return Outcome(
            job_id=claimed.job_id,
            node=self.name,
            status=status,
            code="out_of_order",
            reason="The token is out of order.",
            transient=transient,
        )

    def with_keys_of(self, other: "MemoryNode") -> "MemoryNode":
        self._keys = other._keys
        return self

    def read(self, claimed: ClaimedJob) -> Job:
        return Job.model_validate_json(claimed.job.payload)

    def do(self, claimed: ClaimedJob) -> Outcome:
        job = self.read(claimed)
        return Outcome(
            job_id=job.id, node=self.name, status=OutcomeStatus.DONE, result=self._made(job)
        )

    def _made(self, job: Job) -> Result:
        match job.kind:
            case JobKind.GENERATE_KEY:
                return self._generate(job)
            case JobKind.PREPARE_IMPORT:
                return PreparedImport(statements=(self.statement(job),))
            case JobKind.IMPORT_KEY:
                return self._import(job)
            case JobKind.ARCHIVE_KEY | JobKind.UNARCHIVE_KEY:
                return NothingMade()
            case _:
                return self._sign(job)

    def statement(self, job: Job, **changes: object) -> SignedBytes:
        """Return this node's statement about an import key, which it does not have."""
        fields = {
            "import_id": job.id,
            "application": None,
            "scheme": job.key.scheme,
            "curve": job.key.curve,
            "protection": Protection.HSM,
            "wrapping": Wrapping.RSA_OAEP_AES_KWP_SHA256,
            "import_key": b"an RSA key",
            "expires_at": datetime.now(UTC) + timedelta(hours=1),
            "group": self.group,
            "threshold": 1,
            "signers": [self.name],
            "node": self.name,
        }
        statement = ImportKeyStatement.model_validate(fields | changes)
        return self.signer.sign(IMPORT_KEY_TYPE, statement.model_dump_json().encode())

    def _import(self, job: Job) -> GeneratedKey:
        """Take the wrapped key unchanged: applications of these tests do not encrypt it."""
        imported = CreateKey.model_validate_json(job.request).imported
        assert imported is not None
        assert imported.wrapped is not None
        key = PrivateKey(imported.wrapped)
        self._keys[str(job.key.id)] = key
        return GeneratedKey(
            scheme=job.key.scheme,
            curve=job.key.curve,
            public_key=key.public_key.format(),
            protection=Protection.HSM,
        )

    def _generate(self, job: Job) -> GeneratedKey:
        if job.key.scheme is Scheme.EDDSA:
            ed25519 = Ed25519PrivateKey.generate()
            public_key = ed25519.public_key().public_bytes_raw()
            self._keys[str(job.key.id)] = ed25519
        else:
            secp256k1 = PrivateKey()
            public_key = secp256k1.public_key.format()
            self._keys[str(job.key.id)] = secp256k1
        return GeneratedKey(
            scheme=job.key.scheme,
            curve=job.key.curve,
            public_key=public_key,
            protection=Protection.HSM,
        )

    def _sign(self, job: Job) -> MadeSignature:
        key = self._keys[str(job.key.id)]
        request = CREATE_SIGNATURE.validate_json(job.request)
        digest = digest_of(request, job.key.algorithm, job.key.network, job.key.public_key)
        if isinstance(key, Ed25519PrivateKey):
            assert not isinstance(request, SignHash)
            raw = key.sign(request.content)
        else:
            assert digest is not None
            raw = key.sign_recoverable(digest, hasher=None)[:64]
        assert job.key.public_key is not None
        result = finish(
            raw, job.key.public_key, job.key.algorithm, job.key.network, request, digest
        )
        return MadeSignature(digest=digest, signature=result)
