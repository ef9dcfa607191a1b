"""A delivery server with mutual TLS, and signers that speak to it."""

import asyncio
import base64
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import httpx
import pytest
import uvloop

from custody.delivery.server import serving
from custody.delivery.settings import (
    HealthSection,
    LimitsSection,
    ServerSection,
    Settings,
    TicketsSection,
)
from custody.pki import names
from devstack.certificates import Certificates, Leaf
from devstack.delivery import DeliveryOptions, DeliveryServer
from devstack.launcher import Tied
from devstack.processes import LOCALHOST
from mpc.ceremonies import delivery_client
from mpc.ceremonies.delivery_client import DeliveryClient
from tests.integration.delivery.ceremonies import SERVER, ControlPlane, Party
from tests.waiting import until

Connect = Callable[..., Awaitable[Party]]

SIGNERS = ("signer-1", "signer-2", "signer-3")


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The event loop that daemons run on: its TLS is not the standard library's."""
    return {"uvloop": uvloop.new_event_loop}


class Pki:
    """Leaves, each issued once."""

    def __init__(self, folder: Path) -> None:
        self.certificates = Certificates(folder)
        self._made: dict[str, Leaf] = {}

    def server(self) -> Leaf:
        if SERVER not in self._made:
            self._made[SERVER] = self.certificates.server(SERVER)
        return self._made[SERVER]

    def node(self, name: str) -> Leaf:
        if name not in self._made:
            self._made[name] = self.certificates.node(name)
        return self._made[name]

    def nameless(self) -> Leaf:
        """A TLS client's certificate that names no node."""
        if "nameless" not in self._made:
            with patch.object(names, "node_urn", lambda name: f"urn:example:{name}"):
                self._made["nameless"] = self.certificates.node("nameless")
        return self._made["nameless"]


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """Certificates under somebody else's root."""
    return Pki(tmp_path_factory.mktemp("strangers"))


@pytest.fixture(scope="session")
def control_plane() -> ControlPlane:
    return ControlPlane()


def job_signing_key(control_plane: ControlPlane) -> str:
    return base64.b64encode(control_plane.signer.public_key).decode()


class Server:
    """A delivery server in this process."""

    def __init__(self, pki: Pki, control_plane: ControlPlane) -> None:
        self._pki = pki
        self._job_signing_key = job_signing_key(control_plane)
        self._stack = contextlib.AsyncExitStack()
        self.port = 0
        self.health_port = 0

    @property
    def url(self) -> str:
        return f"https://{LOCALHOST}:{self.port}"

    async def start(
        self, client_ca: Path | None = None, crl: Path | None = None, **limits: float
    ) -> None:
        """``client_ca``: other roots than the server's own; ``limits``: not as by default."""
        leaf = self._pki.server()
        settings = Settings(
            server=ServerSection(
                name=SERVER,
                host=LOCALHOST,
                port=self.port,
                certificate=leaf.certificate,
                private_key=leaf.private_key,
                client_ca=client_ca or leaf.ca,
                crl=crl,
            ),
            tickets=TicketsSection(job_signing_keys=[self._job_signing_key]),
            limits=LimitsSection.model_validate(limits),
            health=HealthSection(port=0),
        )
        self.settings = settings
        ports = await self._stack.enter_async_context(serving(settings))
        self.port, self.health_port = ports["delivery"], ports["health"]

    async def stop(self) -> None:
        await self._stack.aclose()

    async def health(self, path: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False) as http:
            return await http.get(f"http://{LOCALHOST}:{self.health_port}{path}")

    async def metrics(self) -> str:
        return (await self.health("/metrics")).text

    async def until_held(self, size: int) -> None:
        """Wait until the messages that are held have ``size`` bytes: a hand-in has arrived."""
        await until_held(self.health_port, size)


async def until_held(health_port: int, size: int) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:

        async def is_held() -> bool:
            answer = await http.get(f"http://{LOCALHOST}:{health_port}/metrics")
            (held,) = re.findall(r"^custody_delivery_held_bytes (.*)$", answer.text, re.MULTILINE)
            return float(held) == size

        await until(is_held)


@pytest.fixture
async def server(pki: Pki, control_plane: ControlPlane) -> AsyncIterator[Server]:
    """Not started yet: each test says with which limits."""
    server = Server(pki, control_plane)
    yield server
    await server.stop()


@pytest.fixture
def process(tmp_path: Path, pki: Pki, control_plane: ControlPlane) -> Iterator[DeliveryServer]:
    """A delivery server as a process; not started yet."""
    process = DeliveryServer(SERVER, tmp_path / SERVER, tmp_path / "log", Tied())
    process.configure(job_signing_key(control_plane), pki.server(), DeliveryOptions())
    yield process
    process.kill()


@pytest.fixture
async def connect(server: Server, pki: Pki) -> AsyncIterator[Connect]:
    """Makes a signer's client of the server.

    ``leaf``: the certificate to show; ``url``: another server; ``ca``: another root to believe.
    """
    async with contextlib.AsyncExitStack() as stack:

        async def make(
            name: str, leaf: Leaf | None = None, url: str | None = None, ca: Path | None = None
        ) -> Party:
            shown = leaf or pki.node(name)
            files = replace(shown.client(), ca=ca or pki.server().ca)
            address = delivery_client.DeliveryServer(SERVER, url or server.url, files)
            client = DeliveryClient([address])
            return Party(name, await stack.enter_async_context(client))

        yield make


@pytest.fixture
async def parties(server: Server, connect: Connect) -> list[Party]:
    """Three signers of a server with the limits that it has by default."""
    await server.start()
    return [await connect(name) for name in SIGNERS]
