"""A listener with our node API's protocol, clients of it, and TLS files that tests change."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from custody.control_plane.mtls import MutualTlsProtocol, peer_of
from custody.pki.certificates import issue_crl
from custody.pki.directory import Directory
from custody.runtime import live_tls
from custody.runtime.certificate_metrics import CertificateMetrics
from custody.runtime.certificate_settings import CertificatesSection
from custody.runtime.certificate_watch import CertificateWatch
from custody.runtime.listener import Listener, config
from custody.runtime.live_tls import LiveTls
from custody.runtime.revocation import RevokedSerial
from custody.runtime.tls import TlsFiles, load_certificates
from devstack.certificates import Certificates, Leaf
from devstack.processes import LOCALHOST


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("pki") / "pki")


@pytest.fixture(scope="session")
def other_pki(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("other") / "pki")


@pytest.fixture(scope="session")
def node(pki: Certificates) -> Leaf:
    return pki.node("node-1")


@pytest.fixture(scope="session")
def other_node(pki: Certificates) -> Leaf:
    return pki.node("node-2")


@pytest.fixture(scope="session")
def servers(pki: Certificates) -> list[Leaf]:
    """Two certificates for the same server: the one in use, and its renewal."""
    return [pki.server("server-1"), pki.server("server-2")]


def copy_of(leaf: Leaf, folder: Path) -> Leaf:
    """Copy a leaf's files to a folder where a test changes them."""
    folder.mkdir()
    for path in (leaf.certificate, leaf.private_key, leaf.ca):
        shutil.copy(path, folder)
    return Leaf.of(folder)


def renew(mine: Leaf, by: Leaf) -> None:
    """Replace certificate and key by renames, as an installer does."""
    for old, new in ((mine.private_key, by.private_key), (mine.certificate, by.certificate)):
        copied = old.with_name(old.name + ".new")
        shutil.copy(new, copied)
        copied.replace(old)


def serial(path: Path) -> int:
    return load_certificates(path)[0].serial_number


def write_crl(
    path: Path,
    pki: Certificates,
    revoked: Iterable[Leaf] = (),
    number: int = 1,
    until: timedelta = timedelta(days=7),
) -> None:
    """Write a CRL of the PKI's intermediate that ends ``until`` from now."""
    now = datetime.now(UTC)
    entries = [RevokedSerial(serial(leaf.certificate), now, None) for leaf in revoked]
    made = issue_crl(Directory(pki.folder).intermediate(), entries, number, now + until)
    new = path.with_suffix(".new")
    new.write_bytes(made.public_bytes(Encoding.PEM))
    new.replace(path)


def expire(tls: LiveTls, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the CRLs expire while they are in use, by a clock that is 8 days ahead."""

    class Later(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(days=8)

    monkeypatch.setattr(live_tls, "datetime", Later)
    tls.notice_time(Later.now(UTC))


@dataclass
class Served:
    """A listener whose GET /wait answers when ``released``, and GET / at once."""

    tls: LiveTls
    requests: int = 0
    waiting: int = 0
    cut: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    @property
    def url(self) -> str:
        return f"https://{LOCALHOST}:{self.port}"

    async def answer(self, request: Request) -> JSONResponse:
        self.requests += 1
        if request.url.path == "/wait":
            self.waiting += 1
            left = asyncio.create_task(_left(request))
            released = asyncio.create_task(self.released.wait())
            await asyncio.wait([left, released], return_when=asyncio.FIRST_COMPLETED)
            self.waiting -= 1
            self.cut += left.done()
            left.cancel()
        peer = peer_of(request.scope)
        return JSONResponse({"node": None if peer is None else peer.node})


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


Serve = Callable[[TlsFiles], Any]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """``served = await serve(files)``"""
    async with contextlib.AsyncExitStack() as stack:

        async def start(files: TlsFiles) -> Served:
            served = Served(LiveTls(files))
            app = Starlette(routes=[Route("/{path:path}", served.answer)])
            listener = Listener(config(app, LOCALHOST, 0, http=MutualTlsProtocol, tls=served.tls))
            served.port = await listener.start()
            stack.push_async_callback(listener.stop)
            stack.callback(served.released.set)
            return served

        yield start


@dataclass
class Client:
    """A client as our nodes have them: the newest context at each request, connections kept."""

    tls: LiveTls
    http: aiohttp.ClientSession

    async def get(self, url: str) -> Any:
        async with self.http.get(url, ssl=self.tls.context) as answer:
            return await answer.json()

    async def shown(self, served: "Served") -> int:
        """Return the serial number of the certificate that the server shows at a handshake."""
        _, writer = await asyncio.open_connection(LOCALHOST, served.port, ssl=self.tls.context)
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return x509.load_der_x509_certificate(der).serial_number


Connect = Callable[[TlsFiles], Client]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    sessions: list[aiohttp.ClientSession] = []

    def make(files: TlsFiles) -> Client:
        sessions.append(aiohttp.ClientSession())
        return Client(LiveTls(files), sessions[-1])

    yield make
    for session in sessions:
        await session.close()


def watch(*watched: LiveTls) -> CertificateWatch:
    return CertificateWatch(watched, CertificatesSection(), CertificateMetrics(CollectorRegistry()))


def server_files(leaf: Leaf, crl: Path | None = None) -> TlsFiles:
    return replace(leaf.client("server"), is_server=True, crl=crl)
