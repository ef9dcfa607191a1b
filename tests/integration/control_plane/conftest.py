"""The public API as it runs: PostgreSQL, uvicorn, HTTP. Only TLS is left to other tests."""

from collections.abc import AsyncIterator, Collection
from uuid import UUID

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncEngine

from custody.control_plane.access.scopes import Scope
from custody.control_plane.access.tokens import NewToken, create_token
from custody.control_plane.api.application import create_application
from custody.control_plane.api.services import Services
from custody.control_plane.conductor.composition import MpcOptions, build_conductor
from custody.control_plane.conductor.metrics import StepMetrics
from custody.control_plane.conductor.settings import CeremoniesSection
from custody.control_plane.database import Database
from custody.control_plane.jobs.new_jobs import JobMaker
from custody.control_plane.jobs.notifications import Notifications
from custody.control_plane.jobs.queue import Queue
from custody.control_plane.serve import compose
from custody.control_plane.settings import GroupsSection
from custody.runtime import listener
from custody.wire.signed_bytes import SigningKey
from tests.engines import create_engine
from tests.integration.control_plane.node import MemoryNode

LIFETIME_SECONDS = 60
GROUPS = GroupsSection()
CEREMONIES = CeremoniesSection()
PROBLEM = "application/problem+json"


class Replica:
    """One control plane over a database, without its process."""

    def __init__(
        self,
        database_url: str,
        ceremonies: CeremoniesSection = CEREMONIES,
        lifetime_seconds: int = LIFETIME_SECONDS,
    ) -> None:
        self.engine: AsyncEngine = create_engine(database_url)
        self.notifications = Notifications(database_url)
        self.database = Database(database_url)
        self.queue = Queue(self.database, self.notifications)
        self.signer = SigningKey(Ed25519PrivateKey.generate())
        options = MpcOptions(
            node_group=GROUPS.mpc,
            delivery_servers=["delivery-1", "delivery-2"],
            ceremonies=ceremonies,
            lifetime_seconds=lifetime_seconds,
        )
        self.mpc = build_conductor(
            self.database,
            self.notifications,
            self.queue,
            self.signer,
            options,
            StepMetrics(CollectorRegistry()),
        )
        self.services: Services = compose(
            self.database,
            self.notifications,
            self.queue,
            JobMaker(self.signer, lifetime_seconds),
            GROUPS,
            self.mpc.groups,
        )
        self.application = create_application(self.services, "0.0.0")
        self._listener = listener.Listener(listener.config(self.application, "127.0.0.1", 0))
        self._clients: list[httpx.AsyncClient] = []
        self.url = ""

    async def start(self) -> None:
        await self.database.__aenter__()
        self.notifications.start()
        self.url = f"http://127.0.0.1:{await self._listener.start()}"

    async def stop(self) -> None:
        for client in self._clients:
            await client.aclose()
        await self.notifications.close()
        await self._listener.stop()
        await self.database.__aexit__()
        await self.engine.dispose()

    async def token(
        self, scopes: Collection[Scope] = (Scope.ADMIN,), application: str = "shop"
    ) -> NewToken:
        async with self.database.transaction() as connection:
            return await create_token(connection, application, scopes)

    def client(self, token: str | None) -> httpx.AsyncClient:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        client = httpx.AsyncClient(base_url=self.url, headers=headers, timeout=70)
        self._clients.append(client)
        return client


@pytest.fixture
async def replica(control_plane_database: str) -> AsyncIterator[Replica]:
    replica = Replica(control_plane_database)
    await replica.start()
    yield replica
    await replica.stop()


@pytest.fixture
async def other_replica(control_plane_database: str) -> AsyncIterator[Replica]:
    """A second one over the same database."""
    replica = Replica(control_plane_database)
    await replica.start()
    yield replica
    await replica.stop()


@pytest.fixture
async def api(replica: Replica) -> httpx.AsyncClient:
    """A client with every scope."""
    return replica.client((await replica.token()).text)


@pytest.fixture
async def node(replica: Replica) -> MemoryNode:
    """A node that has reported and does secp256k1 and Ed25519."""
    node = MemoryNode(replica.database, replica.queue, replica.notifications)
    await node.report_in()
    return node


@pytest.fixture
async def key(api: httpx.AsyncClient, node: MemoryNode) -> UUID:
    """An Active secp256k1 key of no network."""
    body = {"scheme": "ECDSA", "curve": "secp256k1", "store": "hsm"}
    made = await api.post("/v1/keys", json=body)
    assert made.status_code == 201, made.text
    assert await node.work() == 1
    return UUID(made.json()["id"])


def assert_problem(response: httpx.Response, status: int, code: str) -> str:
    """The answer is this problem and nothing else; returns its detail."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == PROBLEM
    problem = response.json()
    assert problem.keys() == {"type", "title", "status", "code", "detail"}
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["type"] == f"urn:custody:problem:{code}"
    detail: str = problem["detail"]
    return detail
