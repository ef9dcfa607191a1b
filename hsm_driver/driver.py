"""The driver put together from its settings, started and stopped in order."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
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
from hsm_driver.freeze import Freeze
from hsm_driver.handlers import Handler
from hsm_driver.health import Health, Part
from hsm_driver.heartbeat import Heartbeat
from hsm_driver.hsm.hsm import Hsm
from hsm_driver.identity import load_identity, require_certificate_of
from hsm_driver.journal import Journal
from hsm_driver.key_generation import GenerateKey
from hsm_driver.loop import JobLoop, OnStep
from hsm_driver.reporter import Reporter
from hsm_driver.settings import DriverSettings, HealthSection
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
    structlog.contextvars.bind_contextvars(node=settings.node.id, group=settings.node.group)
    async with (
        open_database(settings, patient=True) as database,
        open_client(settings) as client,
        open_hsm(settings) as hsm,
    ):
        driver = await _put_together(settings, database, client, hsm, on_step)
        await driver.run(settings.health)


@dataclass(frozen=True)
class _Driver:
    """The parts that do something by themselves."""

    journal: Journal
    reporter: Reporter
    heartbeat: Heartbeat
    loop: JobLoop
    health: Health
    retention: timedelta

    async def run(self, settings: HealthSection) -> None:
        """Do jobs until a signal; then finish those under way."""
        application = self.health.application()
        listener = Listener(config(application, settings.host, settings.port))
        log.info("driver started", health_port=await listener.start())
        try:
            await _until_signalled(
                self.heartbeat.run(),
                self.reporter.report_left_over(),
                self.reporter.mark_for_ever(),
                _purge_for_ever(self.journal, self.retention),
                self.loop.run(),
            )
            log.info("draining")
            left = await self.loop.drain(DRAIN_SECONDS)
            await self.reporter.mark()
            log.info("stopped", jobs_left=left)
        finally:
            await listener.stop()


async def _put_together(
    settings: DriverSettings,
    database: Statements,
    client: ControlPlaneClient,
    hsm: Hsm,
    on_step: OnStep,
) -> _Driver:
    node, group = settings.node.id, settings.node.group
    signer = load_identity(settings.identity.private_key)
    chain = AuditChain(database, node, signer)
    journal = Journal(database, node, chain)
    reporter = Reporter(client, journal, chain)
    vault = Vault(database, hsm)
    await vault.adopt_first_master_keys()
    retention = timedelta(days=settings.loop.journal_retention_days)
    clock = Clock(timedelta(seconds=settings.loop.max_clock_offset_seconds))
    handlers: dict[str, Handler] = {
        JobKind.GENERATE_KEY.value: GenerateKey(vault),
        JobKind.SIGN.value: Sign(vault),
    }
    capabilities = await hsm.capabilities()
    log.info("hsm ready", capabilities={str(key): how.value for key, how in capabilities.items()})

    def clock_problem() -> str | None:
        return clock.problem(datetime.now(UTC))

    freeze = Freeze(settings.hsm.state_directory)
    own_parts = [
        Part("hsm", lambda: hsm.problem),
        Part("database", journal.problem),
        Part("freeze", freeze.problem),
    ]
    compared_clock = Part("clock", lambda: clock_problem() if clock.compared.is_set() else None)
    heartbeat = Heartbeat(
        client=client,
        chain=chain,
        clock=clock,
        # whoever gets a heartbeat is not away, and the first one's answer compares the clocks
        health=Health([*own_parts, compared_clock]),
        group=group,
        kinds=sorted(handlers),
        capabilities=capabilities,
        identity_public_key=signer.public_key,
    )
    loop = JobLoop(
        node=node,
        client=client,
        authenticator=Authenticator(pinned_job_keys(settings), group, frozenset(handlers)),
        journal=journal,
        clock=clock,
        handlers=handlers,
        reporter=reporter,
        slots=settings.loop.slots,
        longest_life=retention,
        freeze=freeze,
        on_step=on_step,
    )
    health = Health(
        [*own_parts, Part("clock", clock_problem), Part("control plane", client.problem)]
    )
    return _Driver(journal, reporter, heartbeat, loop, health, retention)


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
