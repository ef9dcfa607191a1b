"""The node API as it runs: PostgreSQL, uvicorn, mutual TLS with certificates made by pki."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncEngine

from custody.control_plane.audit.heads import AuditHeads
from custody.control_plane.conductor.composition import MpcOptions, build_conductor
from custody.control_plane.conductor.metrics import StepMetrics
from custody.control_plane.conductor.settings import CeremoniesSection
from custody.control_plane.database import Database
from custody.control_plane.jobs.notifications import Notifications
from custody.control_plane.jobs.queue import Queue
from custody.control_plane.jobs.sweep import Sweep
from custody.control_plane.mtls import MutualTlsProtocol
from custody.control_plane.node_api.application import create_node_app
from custody.runtime import listener
from custody.runtime.live_tls import LiveTls
from custody.wire.signed_bytes import SigningKey
from tests.engines import create_engine
from tests.integration.node_api.certificates import Certificates
from tests.integration.node_api.nodes import Node
from tests.integration.node_api.workload import Workload

LEASE_SECONDS = 0.5


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The event loop that the control plane runs on: its TLS is not the standard library's."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates under somebody else's root."""
    return Certificates(tmp_path_factory.mktemp("strangers"))


@pytest.fixture
async def engine(control_plane_database: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(control_plane_database)
    yield engine
    await engine.dispose()


@pytest.fixture
async def database(control_plane_database: str) -> AsyncIterator[Database]:
    async with Database(control_plane_database) as database:
        yield database


@pytest.fixture
async def notifications(control_plane_database: str) -> AsyncIterator[Notifications]:
    notifications = Notifications(control_plane_database)
    notifications.start()
    yield notifications
    await notifications.close()


@pytest.fixture
def queue(database: Database, notifications: Notifications) -> Queue:
    return Queue(database, notifications, lease_seconds=LEASE_SECONDS)


@pytest.fixture
async def sweeping(queue: Queue, database: Database) -> AsyncIterator[None]:
    """The periodic sweep, as it runs beside the APIs."""
    task = asyncio.create_task(Sweep(queue, AuditHeads(database)).run())
    yield
    task.cancel()


@pytest.fixture
async def url(
    database: Database, queue: Queue, notifications: Notifications, certificates: Certificates
) -> AsyncIterator[str]:
    """Where the node API listens."""

    options = MpcOptions("mpc", ["delivery-1"], CeremoniesSection(), lifetime_seconds=60)
    job_signer, metrics = SigningKey(Ed25519PrivateKey.generate()), StepMetrics(CollectorRegistry())
    mpc = build_conductor(database, notifications, queue, job_signer, options, metrics)
    app = create_node_app(database, queue, mpc.tasks, notifications)
    serving = listener.Listener(
        listener.config(
            app, "127.0.0.1", 0, http=MutualTlsProtocol, tls=LiveTls(certificates.server_files())
        )
    )
    port = await serving.start()
    yield f"https://127.0.0.1:{port}"
    await notifications.close()
    await serving.stop()


@pytest.fixture
async def workload(engine: AsyncEngine, queue: Queue) -> Workload:
    """Makes applications, keys and jobs, as the public API does."""
    return await Workload.create(engine, queue)


class Nodes:
    """Nodes of this test, with certificates; registered unless asked otherwise."""

    def __init__(self, url: str, workload: Workload, certificates: Certificates) -> None:
        self._url = url
        self._workload = workload
        self._certificates = certificates
        self._opened: list[Node] = []

    async def add(self, node_id: str, group: str = "hsm", registered: bool = True) -> Node:
        if registered:
            await self._workload.register(node_id, group)
        return self.connect(node_id, self._certificates.node(node_id), group)

    def connect(self, node_id: str, home: Path | None, group: str = "hsm") -> Node:
        """A node that shows the certificate in ``home``; None: no certificate at all."""
        ca = self._certificates.server() / "ca.pem"
        node = Node(self._url, node_id, group, ca, home, Ed25519PrivateKey.generate())
        self._opened.append(node)
        return node

    async def close(self) -> None:
        for node in self._opened:
            await node.close()


@pytest.fixture
async def nodes(url: str, workload: Workload, certificates: Certificates) -> AsyncIterator[Nodes]:
    nodes = Nodes(url, workload, certificates)
    yield nodes
    await nodes.close()


@pytest.fixture
async def node(nodes: Nodes) -> Node:
    """driver-1 of group hsm, registered."""
    return await nodes.add("driver-1")
