"""The driver put together from its settings, started and stopped in order."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Coroutine
from datetime import UTC, datetime, timedelta

import structlog

from daemon.database import check_schema, create_engine, is_transient
from daemon.database_errors import database_errors, once_reachable
from daemon.listener import Listener, config
from daemon.statements import Statements
from hsm_driver.audit import AuditChain
from hsm_driver.configuration import hsm_settings, pinned_job_keys
from hsm_driver.control_plane_client import ControlPlaneClient
from hsm_driver.decisions import Authenticator, Clock
from hsm_driver.handlers import Handler
from hsm_driver.health import Health, Part
from hsm_driver.heartbeat import Heartbeat
from hsm_driver.hsm.hsm import Hsm
from hsm_driver.identity import load_identity, require_certificate_of
from hsm_driver.journal import Journal
from hsm_driver.key_generation import GenerateKey
from hsm_driver.loop import JobLoop, OnStep
from hsm_driver.reporter import Reporter
from hsm_driver.settings import DriverSettings
from hsm_driver.signing import Sign
from hsm_driver.vault import Vault
from wire.jobs import JobKind

log = structlog.get_logger()

DRAIN_SECONDS = 25.0
PURGE_INTERVAL = 3600.0
CONNECTIONS = 8
MIGRATE = "hsm-driver migrate"


@contextlib.asynccontextmanager
async def open_database(
    settings: DriverSettings, *, patient: bool = False
) -> AsyncIterator[Statements]:
    """The group's database, with the schema that this version needs. Raises OperatorError.

    ``patient``: one that is away is waited for.
    """
    url, name = settings.database.read_url(), f"hsm-driver {settings.node.id}"
    engine = create_engine(url, name=name)
    try:
        with database_errors():
            if patient:
                await once_reachable(lambda: check_schema(engine, "hsm_driver", MIGRATE))
            else:
                await check_schema(engine, "hsm_driver", MIGRATE)
    finally:
        await engine.dispose()
    async with Statements(url, CONNECTIONS, name) as statements:
        yield statements


@contextlib.asynccontextmanager
async def open_hsm(settings: DriverSettings, workers: int | None = None) -> AsyncIterator[Hsm]:
    """The HSM, logged in. Raises OperatorError."""
    hsm = Hsm(hsm_settings(settings, workers))
    try:
        await hsm.start()
        yield hsm
    finally:
        await hsm.close()


@contextlib.asynccontextmanager
async def open_client(settings: DriverSettings) -> AsyncIterator[ControlPlaneClient]:
    """A client of the control plane under this node's certificate. Raises OperatorError."""
    section = settings.control_plane
    require_certificate_of(settings.node.id, section.certificate)
    async with ControlPlaneClient(
        section.url, section.ca, section.certificate, section.private_key
    ) as client:
        yield client


async def run(settings: DriverSettings, on_step: OnStep = lambda _: None) -> None:
    """Run until SIGTERM or SIGINT; then finish what is under way. Raises OperatorError."""
    async with (
        open_database(settings, patient=True) as database,
        open_client(settings) as client,
        open_hsm(settings) as hsm,
    ):
        await _run(settings, database, client, hsm, on_step)


async def _run(
    settings: DriverSettings,
    database: Statements,
    client: ControlPlaneClient,
    hsm: Hsm,
    on_step: OnStep,
) -> None:
    node = settings.node.id
    signer = load_identity(settings.identity.private_key)
    chain = AuditChain(database, node, signer)
    journal = Journal(database, node, chain)
    reporter = Reporter(client, journal, chain)
    vault = Vault(database, hsm)
    await vault.adopt_first_master_keys()
    capabilities = await hsm.capabilities()
    retention = timedelta(days=settings.loop.journal_retention_days)
    clock = Clock(timedelta(seconds=settings.loop.max_clock_offset_seconds))
    handlers: dict[str, Handler] = {
        JobKind.GENERATE_KEY.value: GenerateKey(vault),
        JobKind.SIGN.value: Sign(vault),
    }
    own_parts = [
        Part("hsm", lambda: hsm.problem),
        Part("database", journal.problem),
        Part("clock", lambda: clock.problem(datetime.now(UTC))),
    ]
    health = Health([*own_parts, Part("control plane", client.problem)])
    heartbeat = Heartbeat(
        client=client,
        chain=chain,
        clock=clock,
        health=Health(own_parts),  # whoever gets a heartbeat is not away
        group=settings.node.group,
        kinds=sorted(handlers),
        capabilities=capabilities,
        identity_public_key=signer.public_key,
    )
    loop = JobLoop(
        node=node,
        client=client,
        authenticator=Authenticator(
            pinned_job_keys(settings), settings.node.group, frozenset(handlers)
        ),
        journal=journal,
        clock=clock,
        handlers=handlers,
        reporter=reporter,
        slots=settings.loop.slots,
        longest_life=retention,
        on_step=on_step,
    )
    listener = Listener(config(health.application(), settings.health.host, settings.health.port))
    port = await listener.start()
    log.info(
        "driver started",
        node=node,
        group=settings.node.group,
        health_port=port,
        capabilities={str(key): value.value for key, value in capabilities.items()},
    )
    try:
        await _until_signalled(
            heartbeat.run(),
            reporter.report_left_over(),
            reporter.mark_for_ever(),
            _purge_for_ever(journal, retention),
            loop.run(),
        )
        log.info("draining")
        left = await loop.drain(DRAIN_SECONDS)
        await reporter.mark()
        log.info("stopped", jobs_left=left)
    finally:
        await listener.stop()


async def _until_signalled(*activities: Coroutine[None, None, None]) -> None:
    """Run activities until a signal comes; one that ends by an error ends the driver with it."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(activity) for activity in activities]
        await stop.wait()
        for task in tasks:
            task.cancel()


async def _purge_for_ever(journal: Journal, retention: timedelta) -> None:
    while True:
        try:
            if purged := await journal.purge(retention):
                log.info("purged the journal", rows=purged)
        except Exception as error:
            if not is_transient(error):
                raise
        await asyncio.sleep(PURGE_INTERVAL)
