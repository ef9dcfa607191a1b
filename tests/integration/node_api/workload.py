"""Keys and jobs in the control plane's database, and the results that nodes would bring."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from coincurve import PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from custody.control_plane.jobs.queue import NewJob, Queue
from custody.control_plane.tables import applications, jobs, keys, nodes, wallets
from custody.wire.algorithms import Algorithm, Network, Protection
from custody.wire.digests import digest_of
from custody.wire.encoding import Model
from custody.wire.jobs import Endpoint, Job, JobKind, KeyReference
from custody.wire.outcomes import GeneratedKey, MadeSignature
from custody.wire.requests import CreateWallet, SignMessage
from custody.wire.signatures import finish
from custody.wire.signed_bytes import JOB_TYPE, SigningKey


@dataclass(frozen=True)
class TestKey:
    """A key in the tables. ``private_key`` is this test's, in place of an HSM's."""

    __test__ = False

    id: UUID
    algorithm: Algorithm
    network: Network | None
    private_key: PrivateKey

    @property
    def public_key(self) -> bytes:
        return self.private_key.public_key.format()


class Workload:
    """Fills the database through the queue, and reads back what became of it."""

    def __init__(self, engine: AsyncEngine, queue: Queue) -> None:
        self._engine = engine
        self._queue = queue
        self._signer = SigningKey(Ed25519PrivateKey.generate())
        self.application_id = uuid4()

    @classmethod
    async def create(cls, engine: AsyncEngine, queue: Queue) -> "Workload":
        workload = cls(engine, queue)
        async with engine.begin() as connection:
            await connection.execute(
                insert(applications).values(id=workload.application_id, name="shop")
            )
        return workload

    async def register(self, node_id: str, group: str) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(insert(nodes).values(id=node_id, node_group=group))

    async def seen(self, node_id: str, seconds_ago: float = 0) -> None:
        """As if the node had sent a heartbeat."""
        at = datetime.now(UTC) - timedelta(seconds=seconds_ago)
        statement = update(nodes).where(nodes.c.id == node_id).values(last_seen=at)
        async with self._engine.begin() as connection:
            await connection.execute(statement)

    async def wallet(
        self, network: Network = Network.ETHEREUM, group: str = "hsm"
    ) -> tuple[TestKey, UUID]:
        """A wallet whose key is still to be made; the job's id is the key's."""
        body = CreateWallet(network=network, store="hsm")
        key = TestKey(uuid4(), body.algorithm, network, PrivateKey())
        await self._insert_key(key, group, None)
        async with self._engine.begin() as connection:
            await connection.execute(
                insert(wallets).values(
                    id=uuid4(),
                    application_id=self.application_id,
                    network=network.value,
                    key_id=key.id,
                    node_group=group,
                    store="hsm",
                )
            )
        await self._add(key, JobKind.GENERATE_KEY, Endpoint.WALLETS, body, key.id, group)
        return key, key.id

    async def key(self, network: Network | None = Network.ETHEREUM, group: str = "hsm") -> TestKey:
        """A secp256k1 key that is active."""
        key = TestKey(uuid4(), Algorithm.parse("ECDSA/secp256k1"), network, PrivateKey())
        await self._insert_key(key, group, key.public_key)
        return key

    async def signature(
        self,
        key: TestKey,
        message: str = "hello",
        group: str = "hsm",
        lifetime: float = 900,
        external_id: str | None = None,
    ) -> UUID:
        body = SignMessage(kind="Message", message=message, external_id=external_id)
        return await self._add(
            key, JobKind.SIGN, Endpoint.SIGNATURES, body, uuid4(), group, lifetime
        )

    def signed(self, key: TestKey, message: str = "hello") -> MadeSignature:
        """What a node makes of a job for this message."""
        request = SignMessage(kind="Message", message=message)
        digest = digest_of(request, key.algorithm, key.network, key.public_key)
        assert digest is not None
        raw = key.private_key.sign_recoverable(digest, hasher=None)[:64]
        result = finish(raw, key.public_key, key.algorithm, key.network, request, digest)
        return MadeSignature(digest=digest, signature=result)

    def generated(self, key: TestKey) -> GeneratedKey:
        return GeneratedKey(
            scheme=key.algorithm.scheme,
            curve=key.algorithm.curve,
            public_key=key.public_key,
            protection=Protection.HSM,
        )

    async def job(self, job_id: UUID) -> Any:
        """The job's row."""
        return await self._one(select(jobs).where(jobs.c.id == job_id))

    async def key_row(self, key_id: UUID) -> Any:
        return await self._one(select(keys).where(keys.c.id == key_id))

    async def wallet_row(self, key_id: UUID) -> Any:
        return await self._one(select(wallets).where(wallets.c.key_id == key_id))

    async def node_row(self, node_id: str) -> Any:
        return await self._one(select(nodes).where(nodes.c.id == node_id))

    async def due_now(self, job_id: UUID) -> None:
        """Let the time of a retry's pause have passed."""
        async with self._engine.begin() as connection:
            await connection.execute(
                update(jobs).where(jobs.c.id == job_id).values(run_after=datetime.now(UTC))
            )

    async def _one(self, statement: Any) -> Any:
        async with self._engine.connect() as connection:
            return (await connection.execute(statement)).one()

    async def _insert_key(self, key: TestKey, group: str, public_key: bytes | None) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(
                insert(keys).values(
                    id=key.id,
                    application_id=self.application_id,
                    node_group=group,
                    store="hsm",
                    scheme=key.algorithm.scheme.value,
                    curve=key.algorithm.curve.value,
                    network=key.network and key.network.value,
                    public_key=public_key,
                    protection=public_key and "hsm",
                )
            )

    async def _add(
        self,
        key: TestKey,
        kind: JobKind,
        endpoint: Endpoint,
        body: Model,
        job_id: UUID,
        group: str,
        lifetime: float = 900,
    ) -> UUID:
        job = self._new_job(key, kind, endpoint, body, job_id, group, lifetime)
        assert await self._queue.add([job]) == {job_id}
        return job_id

    def _new_job(
        self,
        key: TestKey,
        kind: JobKind,
        endpoint: Endpoint,
        body: Model,
        job_id: UUID,
        group: str,
        lifetime: float,
    ) -> NewJob:
        now = datetime.now(UTC)
        payload = Job(
            id=job_id,
            kind=kind,
            group=group,
            key=KeyReference(
                id=key.id,
                scheme=key.algorithm.scheme,
                curve=key.algorithm.curve,
                network=key.network,
                public_key=key.public_key if kind is JobKind.SIGN else None,
            ),
            endpoint=endpoint,
            request=body.model_dump_json().encode(),
            created_at=now,
            expires_at=now + timedelta(seconds=lifetime),
        )
        signed = self._signer.sign(JOB_TYPE, payload.model_dump_json().encode())
        return NewJob(
            id=job_id,
            kind=kind,
            endpoint=endpoint,
            application_id=self.application_id,
            key_id=key.id,
            node_group=group,
            external_id=getattr(body, "external_id", None),
            body_digest=b"digest",
            payload=signed.payload,
            signature=signed.signature,
            signing_key_id=signed.signing_key_id,
            created_at=now,
            expires_at=payload.expires_at,
        )
