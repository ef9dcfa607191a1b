"""The control plane whole, with signers that follow a script."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import func, insert, select, update

from custody.control_plane.audit.heads import AuditHeads
from custody.control_plane.conductor.settings import CeremoniesSection
from custody.control_plane.jobs.sweep import Sweep
from custody.control_plane.mtls import MutualTlsProtocol
from custody.control_plane.node_api.application import create_node_app
from custody.control_plane.tables import bans, jobs, keys, nodes, steps, tasks
from custody.runtime import listener
from custody.runtime.live_tls import LiveTls
from custody.wire.jobs import Job
from tests.integration.conductor.scripted_signer import ScriptedSigner, Stage
from tests.integration.control_plane.conftest import Replica
from tests.integration.node_api.certificates import Certificates
from tests.integration.node_api.nodes import Node

QUICK = CeremoniesSection(
    sign_seconds=3, keys_seconds=4, order_seconds=2, claim_seconds=0.7, alive_seconds=25
)
"""The control plane stops waiting for a silent signer within seconds."""
CALM = pytest.mark.parametrize("ceremonies", [CeremoniesSection(claim_seconds=15)], ids=["calm"])
"""For tests of a whole path: no step is tried again only because this machine is slow."""
GROUP = "mpc"


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The event loop that the control plane runs on: its TLS is not the standard library's."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("pki"))


class Conducting:
    """A replica with its node API, its conductor and its sweep."""

    def __init__(self, replica: Replica, certificates: Certificates) -> None:
        self.replica = replica
        self._certificates = certificates
        self._tasks: list[asyncio.Task[None]] = []
        app = create_node_app(
            replica.database, replica.queue, replica.mpc.tasks, replica.notifications
        )
        self._listener = listener.Listener(
            listener.config(
                app,
                "127.0.0.1",
                0,
                http=MutualTlsProtocol,
                tls=LiveTls(certificates.server_files()),
            )
        )
        self.node_url = ""

    async def start(self) -> None:
        await self.replica.start()
        self.node_url = f"https://127.0.0.1:{await self._listener.start()}"
        self.start_conducting()

    def start_conducting(self) -> None:
        replica = self.replica
        sweep = Sweep(replica.queue, AuditHeads(replica.database), replica.mpc.conductor)
        work = (sweep.run(), replica.mpc.conductor.run())
        self._tasks = [asyncio.create_task(one) for one in work]

    async def stop_conducting(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def stop(self) -> None:
        await self.stop_conducting()
        await self.replica.notifications.close()
        await self._listener.stop()
        await self.replica.stop()


@pytest.fixture
def ceremonies() -> CeremoniesSection:
    return QUICK


@pytest.fixture
async def conducting(
    control_plane_database: str, certificates: Certificates, ceremonies: CeremoniesSection
) -> AsyncIterator[Conducting]:
    conducting = Conducting(Replica(control_plane_database, ceremonies), certificates)
    await conducting.start()
    yield conducting
    await conducting.stop()


class Troupe:
    """Signers of one stage, by id; what an application and an operator do with them."""

    def __init__(
        self, conducting: Conducting, certificates: Certificates, api: httpx.AsyncClient
    ) -> None:
        self.conducting = conducting
        self.api = api
        self.stage = Stage()
        self.signers: dict[str, ScriptedSigner] = {}
        self._certificates = certificates
        self._homes: dict[str, Path] = {}

    def __getitem__(self, index: int) -> ScriptedSigner:
        return self.signers[f"signer-{index}"]

    async def add(self, count: int) -> None:
        """Register and start signers."""
        for index in range(1, count + 1):
            name = f"signer-{index}"
            async with self.conducting.replica.engine.begin() as connection:
                await connection.execute(
                    insert(nodes).values(id=name, node_group=GROUP, owner=f"owner-{index % 2}")
                )
            signer = ScriptedSigner(self._node(name, Ed25519PrivateKey.generate()), self.stage)
            self.signers[name] = signer
            await signer.start()

    def _node(self, name: str, identity: Ed25519PrivateKey) -> Node:
        ca = self._certificates.server() / "ca.pem"
        home = self._certificates.node(name)
        return Node(self.conducting.node_url, name, GROUP, ca, home, identity)

    async def group(self, threshold: int, of: int, name: str = "treasury") -> dict[str, Any]:
        body = {
            "name": name,
            "threshold": threshold,
            "signers": [f"signer-{index}" for index in range(1, of + 1)],
        }
        made = await self.api.post("/v1/signer-groups", json=body)
        assert made.status_code == 201, made.text
        shown: dict[str, Any] = made.json()
        return shown

    async def wallet(
        self, network: str = "Ethereum", wait: float = 20, **more: Any
    ) -> dict[str, Any]:
        body = {"network": network, "store": "mpc", "signer_group": "treasury", **more}
        made = await self.api.post(f"/v1/wallets?wait={wait}", json=body)
        assert made.status_code == 201, made.text
        shown: dict[str, Any] = made.json()
        return shown

    async def master(self) -> dict[str, Any]:
        """A key without a wallet, of which there may be children of every network."""
        body = {
            "scheme": "ECDSA",
            "curve": "secp256k1",
            "store": "mpc",
            "signer_group": "treasury",
        }
        made = await self.api.post("/v1/keys?wait=20", json=body)
        assert made.status_code == 201, made.text
        shown: dict[str, Any] = made.json()
        return shown

    async def key(self, key_id: str) -> dict[str, Any]:
        shown: dict[str, Any] = (await self.api.get(f"/v1/keys/{key_id}")).json()
        return shown

    async def sign(
        self, key_id: str, message: str = "hello", *, wait: float = 20, **more: Any
    ) -> dict[str, Any]:
        body = {"kind": "Message", "message": message, **more}
        made = await self.api.post(f"/v1/keys/{key_id}/signatures?wait={wait}", json=body)
        assert made.status_code == 201, made.text
        shown: dict[str, Any] = made.json()
        return shown

    async def change(
        self, key_id: str, what: str, *, wait: float = 20, **body: Any
    ) -> dict[str, Any]:
        made = await self.api.post(f"/v1/keys/{key_id}/{what}?wait={wait}", json=body)
        assert made.status_code == 201, made.text
        shown: dict[str, Any] = made.json()
        return shown

    async def derive(self, key_id: str, **body: Any) -> dict[str, Any]:
        made = await self.api.post(f"/v1/keys/{key_id}/derive", json=body)
        assert made.status_code == 201, made.text
        shown: dict[str, Any] = made.json()
        return shown

    async def rows(self, table: Any, *where: Any) -> list[Any]:
        async with self.conducting.replica.engine.connect() as connection:
            return list((await connection.execute(select(table).where(*where))).all())

    async def steps_of(self, request_id: str) -> list[tuple[str, str | None]]:
        """Kind and ending of each step, in order, once none is open."""
        of_request = steps.c.request_id == UUID(request_id)
        await self.until(lambda: self._has_no(steps, of_request, steps.c.ended_at.is_(None)))
        rows = await self.rows(steps, steps.c.request_id == UUID(request_id))
        return [(row.kind, row.ending) for row in sorted(rows, key=lambda row: row.number)]

    async def culprits_of(self, request_id: str) -> list[set[str]]:
        """The signers blamed for the end of each step, in order."""
        rows = await self.rows(steps, steps.c.request_id == UUID(request_id))
        return [set(row.culprits) for row in sorted(rows, key=lambda row: row.number)]

    async def signers_of(self, request_id: str) -> list[set[str]]:
        """Who had a task of each step, in order."""
        rows = await self.rows(steps, steps.c.request_id == UUID(request_id))
        given = await self.rows(tasks, tasks.c.step_id.in_([row.id for row in rows]))
        return [
            {task.signer for task in given if task.step_id == row.id}
            for row in sorted(rows, key=lambda row: row.number)
        ]

    async def key_row(self, key_id: str) -> Any:
        (row,) = await self.rows(keys, keys.c.id == UUID(key_id))
        return row

    async def job_row(self, request_id: str) -> Any:
        (row,) = await self.rows(jobs, jobs.c.id == UUID(request_id))
        return row

    async def has_free_slots(self) -> None:
        """Wait until no task is open."""
        await self.until(lambda: self._has_no(tasks, tasks.c.is_open))

    async def _has_no(self, table: Any, *where: Any) -> bool:
        return not await self.rows(table, *where)

    async def banned(self) -> set[tuple[str, str]]:
        return {(row.signer, row.banned) for row in await self.rows(bans)}

    @property
    def taken(self) -> list[Job]:
        """All jobs that signers have taken up."""
        return [job for signer in self.signers.values() for job in signer.taken]

    async def has_failed(self, request_id: str) -> bool:
        """Whether an attempt has failed."""
        return (await self.job_row(request_id)).last_failure is not None

    async def expire(self, request_id: str) -> None:
        """Let the request's time be over."""
        async with self.conducting.replica.engine.begin() as connection:
            statement = update(jobs).where(jobs.c.id == UUID(request_id))
            await connection.execute(statement.values(expires_at=func.now()))

    async def until(self, holds: Callable[[], Any], seconds: float = 15) -> None:
        """Wait until something holds; ``holds`` may be a coroutine function."""
        async with asyncio.timeout(seconds):
            while True:
                found = holds()
                if asyncio.iscoroutine(found):
                    found = await found
                if found:
                    return
                await asyncio.sleep(0.02)

    async def close(self) -> None:
        for signer in self.signers.values():
            await signer.stop()
            await signer.node.close()


@pytest.fixture
async def troupe(conducting: Conducting, certificates: Certificates) -> AsyncIterator[Troupe]:
    """Three signers of the group treasury, any two of which sign."""
    api = conducting.replica.client((await conducting.replica.token()).text)
    troupe = Troupe(conducting, certificates, api)
    await troupe.add(3)
    await troupe.group(2, of=3)
    yield troupe
    await troupe.close()
