"""A delivery server as a process. Nothing it has outlives it."""

import asyncio
import contextlib
import gc
import signal
import ssl
from collections.abc import AsyncIterator
from datetime import timedelta
from importlib.metadata import version

import structlog
from aiohttp import web

from daemon.errors import OperatorError
from daemon.job_signing_keys import pinned_job_keys
from daemon.tls import server_context
from mpc.delivery.admission import Admission
from mpc.delivery.application import Delivery
from mpc.delivery.clock import ServerClock
from mpc.delivery.connections import Connections, CountedProtocol
from mpc.delivery.health import Health
from mpc.delivery.sessions import Sessions
from mpc.delivery.settings import Settings

DISTRIBUTION = "custody"
KEEPALIVE_SECONDS = 75.0
STOP_SECONDS = 5.0
BACKLOG = 512
HANDSHAKE_SECONDS = 10.0

log = structlog.get_logger()


async def run(settings: Settings) -> None:
    """Deliver until SIGTERM or SIGINT. Raises OperatorError."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    structlog.contextvars.bind_contextvars(server=settings.server.name)
    async with serving(settings) as ports:
        gc.collect()
        gc.freeze()  # what is there now stays: later collections need not look at it
        log.info("delivering", ports=ports)
        await stop.wait()
        log.info("going down")
    log.info("stopped")


@contextlib.asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[dict[str, int]]:
    """Serve inside; yields the ports. Raises OperatorError."""
    section = settings.server
    tls = server_context(section.certificate, section.private_key, section.client_ca)
    job_keys = pinned_job_keys(settings.tickets.job_signing_keys, "tickets")
    sessions = Sessions(Admission(job_keys, section.name), settings.limits)
    clock = ServerClock(timedelta(seconds=settings.limits.max_clock_offset_seconds))
    delivery = Delivery(sessions, settings, version(DISTRIBUTION), clock).application()
    health = Health(sessions, clock).application()
    connections = Connections(settings.limits)
    sweeping = asyncio.create_task(sessions.sweep_for_ever(), name="sweep")
    try:
        async with (
            _listening(health, settings.health.host, settings.health.port) as health_port,
            _listening(delivery, section.host, section.port, tls, connections) as port,
        ):
            yield {"delivery": port, "health": health_port}
            sessions.end_all()
    finally:
        sweeping.cancel()


@contextlib.asynccontextmanager
async def _listening(
    app: web.Application,
    host: str,
    port: int,
    tls: ssl.SSLContext | None = None,
    connections: Connections | None = None,
) -> AsyncIterator[int]:
    # a request whose sender is gone is given up; its messages stay for the others
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
        listener = await asyncio.get_running_loop().create_server(
            make if connections is None else lambda: CountedProtocol(connections, make),
            host,
            port,
            ssl=tls,
            backlog=BACKLOG,
            ssl_handshake_timeout=None if tls is None else HANDSHAKE_SECONDS,
        )
    except OSError as error:
        await runner.cleanup()
        raise OperatorError(
            f"cannot listen on {host}:{port}: {error.strerror or error}",
            "Free that port, or name another one in the configuration.",
        ) from None
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        await runner.cleanup()
