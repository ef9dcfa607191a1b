"""A delivery server as a process. It stores nothing on disk."""

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from importlib.metadata import version

import structlog
from aiohttp import web

from custody.delivery.admission import Admission
from custody.delivery.application import Delivery
from custody.delivery.clock import ServerClock
from custody.delivery.connections import Connections, CountedProtocol
from custody.delivery.health import Health
from custody.delivery.sessions import Sessions
from custody.delivery.settings import LimitsSection, Settings
from custody.runtime.acceptor import Acceptor, Place
from custody.runtime.acceptor import Connections as Places
from custody.runtime.activities import keep_going
from custody.runtime.certificate_metrics import metrics_of_process
from custody.runtime.certificate_watch import CertificateWatch
from custody.runtime.errors import OperatorError
from custody.runtime.http_limits import HttpLimits
from custody.runtime.job_signing_keys import LiveJobKeys, pinned_job_keys
from custody.runtime.live_tls import LiveTls
from custody.runtime.service_manager import ServiceManager
from custody.wire.signed_bytes import PinnedKeys

DISTRIBUTION = "custody"
KEEPALIVE_SECONDS = 75.0
STOP_SECONDS = 5.0
BACKLOG = 512

log = structlog.get_logger()


async def run_delivery_server(settings: Settings) -> None:
    """Deliver until SIGTERM or SIGINT. Raise OperatorError."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    structlog.contextvars.bind_contextvars(server=settings.server.name)
    manager = ServiceManager()
    async with serving(settings) as ports, manager.told():
        gc.collect()
        gc.freeze()  # these objects stay alive: later collections need not check them
        log.info("delivering", ports=ports)
        await stop.wait()
        log.info("stopping")
        manager.stopping()
    log.info("stopped")


@contextlib.asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[dict[str, int]]:
    """Serve while the context is open; yield the ports. Raise OperatorError."""
    section = settings.server
    tls = LiveTls(section.tls)

    def read_job_keys() -> PinnedKeys:
        return pinned_job_keys(settings.read_again().tickets.job_signing_keys, "tickets")

    job_keys = LiveJobKeys(read_job_keys)
    watch = CertificateWatch([tls], settings.certificates, metrics_of_process(), job_keys.reload)
    sessions = Sessions(Admission(job_keys, section.name), settings.limits)
    clock = ServerClock(timedelta(seconds=settings.limits.max_clock_offset_seconds))
    delivery = Delivery(
        sessions, settings, version(DISTRIBUTION), clock, lambda: job_keys.ids
    ).application()
    health = Health(sessions, clock, watch.problem, job_keys.problem).application()
    activities = {"sweep": sessions.sweep_repeatedly, "certificates": watch.run}
    running = [asyncio.create_task(keep_going(*each), name=each[0]) for each in activities.items()]
    try:
        async with (
            _listening(health, settings.health.host, settings.health.port) as health_port,
            _listening(delivery, section.host, section.port, tls, settings.limits) as port,
        ):
            yield {"delivery": port, "health": health_port}
            sessions.end_all()
    finally:
        for task in running:
            task.cancel()


@contextlib.asynccontextmanager
async def _listening(
    app: web.Application,
    host: str,
    port: int,
    tls: LiveTls | None = None,
    limits: LimitsSection | None = None,
) -> AsyncIterator[int]:
    """Listen while the context is open; yield the port.

    ``limits``: limits of signers' connections; None for the local port, which has no limits.
    """
    # aiohttp cancels a request whose sender disconnects; the session keeps the sender's messages
    runner = web.AppRunner(
        app,
        access_log=None,
        handler_cancellation=True,
        keepalive_timeout=KEEPALIVE_SECONDS,
        shutdown_timeout=STOP_SECONDS,
        auto_decompress=False,
    )
    await runner.setup()
    make = runner.server
    assert make is not None
    try:
        listening = socket.create_server((host, port), family=_family(host), backlog=BACKLOG)
    except OSError as error:
        await runner.cleanup()
        raise OperatorError(
            f"cannot listen on {host}:{port}: {error.strerror or error}",
            "Free that port, or name another port in the configuration.",
        ) from None
    acceptor = Acceptor(listening, *_counting(make, limits), tls)
    acceptor.start()
    try:
        yield listening.getsockname()[1]
    finally:
        acceptor.close()
        await acceptor.wait_closed()
        listening.close()
        await runner.cleanup()


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _counting(
    make: Callable[[], asyncio.Protocol], limits: LimitsSection | None
) -> tuple[Places, Callable[[Place], asyncio.Protocol]]:
    """Return the counter of connections by address, and the protocol that serves each."""
    limits = limits or LimitsSection(head_seconds=3600)
    places = Places(
        HttpLimits(
            connections=limits.total_connections,
            address_connections=limits.address_connections,
            trusted_proxies=limits.trusted_proxies,
        )
    )
    connections = Connections(limits)
    return places, lambda place: CountedProtocol(connections, place, limits.head_seconds, make)
