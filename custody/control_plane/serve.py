"""The control plane as a process: public API, node API, metrics and sweep in one event loop."""

import asyncio
import contextlib
import gc
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from importlib.metadata import version
from typing import Any

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from prometheus_client import CollectorRegistry

from custody.backup.history import BackupHistory
from custody.backup.metrics import BackupMetrics
from custody.control_plane.access.tokens import Tokens
from custody.control_plane.api.application import create_application
from custody.control_plane.api.long_polls import LongPolls
from custody.control_plane.api.services import Services
from custody.control_plane.audit.heads import AuditHeads
from custody.control_plane.audit.node_records import NodeRecords
from custody.control_plane.audit.reading import AuditReader
from custody.control_plane.audit.restores import AuditRestores
from custody.control_plane.audit.space import MEGABYTE
from custody.control_plane.conductor.composition import MpcOptions, build_conductor
from custody.control_plane.conductor.groups import SignerGroups
from custody.control_plane.conductor.metrics import StepMetrics
from custody.control_plane.conductor.tasks import Tasks
from custody.control_plane.database import MIGRATE_COMMAND, NAME, TREE, Database
from custody.control_plane.jobs.new_jobs import JobMaker
from custody.control_plane.jobs.notifications import Notifications
from custody.control_plane.jobs.queue import Queue
from custody.control_plane.jobs.sweep import Sweep
from custody.control_plane.metrics import Measured, Metrics
from custody.control_plane.mtls import MutualTlsProtocol
from custody.control_plane.node_api.application import create_node_app
from custody.control_plane.resources.changes import Changes
from custody.control_plane.resources.creation import Creation
from custody.control_plane.resources.groups import Groups
from custody.control_plane.resources.imports import Imports
from custody.control_plane.resources.keys import Keys
from custody.control_plane.resources.signatures import Signatures
from custody.control_plane.resources.wallets import Wallets
from custody.control_plane.retention.pruning import Pruning, PruningMetrics
from custody.control_plane.settings import GroupsSection, Settings
from custody.database.durability import warn_of_durability
from custody.database.errors import once_reachable
from custody.database.pool import Pool
from custody.database.url import warn_of_tls
from custody.migrations.schema import check_database
from custody.runtime.activities import Activity, keep_going
from custody.runtime.certificate_metrics import CertificateMetrics
from custody.runtime.certificate_watch import CertificateWatch
from custody.runtime.listener import Listener, config
from custody.runtime.live_tls import LiveTls
from custody.runtime.service_manager import ServiceManager
from custody.runtime.tracing import start_tracing
from custody.wire.signed_bytes import SigningKey

DISTRIBUTION = "custody"

log = structlog.get_logger(__name__)


async def serve_control_plane(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT, then finish what is under way. Raises OperatorError.

    A database that is away is waited for, at the start as later; one that refuses us, or has
    another schema, ends the start.
    """
    start_tracing("control-plane")
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    public_tls, node_tls = LiveTls(settings.public_api.tls), LiveTls(settings.node_api.tls)
    signer = settings.jobs.signer()
    url = settings.database.read_url()
    if not await _schema_is_right(url, stop):
        return
    async with Database(url) as database, _listening(Notifications(url)) as notifications:
        queue = Queue(
            database, notifications, settings.jobs.lease_seconds, settings.jobs.max_lapses
        )
        registry = CollectorRegistry()
        options = MpcOptions(
            node_group=settings.groups.mpc,
            delivery_servers=settings.delivery.servers,
            ceremonies=settings.ceremonies,
            lifetime_seconds=settings.jobs.lifetime_seconds,
        )
        mpc = build_conductor(
            database, notifications, queue, signer, options, StepMetrics(registry)
        )
        certificates = CertificateWatch(
            [public_tls, node_tls], settings.certificates, CertificateMetrics(registry)
        )
        services = compose(
            database,
            notifications,
            queue,
            JobMaker(signer, settings.jobs.lifetime_seconds),
            settings.groups,
            mpc.groups,
            certificates.problem,
        )
        metrics = Metrics(database, registry)
        if settings.backup is not None:
            BackupMetrics(registry).watch(BackupHistory(settings.backup.state_directory))
        listeners = _listeners(settings, services, queue, mpc.tasks, metrics, public_tls, node_tls)
        sweep = Sweep(queue, AuditHeads(database), mpc.conductor)
        pruning = Pruning(database, PruningMetrics(registry))
        work = {
            "certificates": certificates.run,
            "sweep": sweep.run,
            "pruning": pruning.run,
            "conductor": mpc.conductor.run,
            "database watch": database.health.watch,
        }
        await _run(listeners, work, notifications, stop)


def compose(
    database: Database,
    notifications: Notifications,
    queue: Queue,
    job_maker: JobMaker,
    groups: GroupsSection,
    signer_groups: SignerGroups,
    certificate_problem: Callable[[], str | None] = lambda: None,
) -> Services:
    """The parts of the public API, put together."""
    return Services(
        database=database,
        tokens=Tokens(database, notifications),
        keys=Keys(database),
        wallets=Wallets(database),
        signatures=Signatures(database, queue),
        changes=Changes(database),
        imports=Imports(database),
        groups=Groups(database, groups),
        audit=AuditReader(database),
        audit_restores=AuditRestores(database),
        signer_groups=signer_groups,
        job_maker=job_maker,
        creation=Creation(database, queue, notifications),
        notifications=notifications,
        certificate_problem=certificate_problem,
    )


def openapi_document() -> dict[str, Any]:
    """The public API's OpenAPI document, made of parts that are never connected."""
    url = "postgresql://"
    database = Database(url)
    notifications = Notifications(url)
    services = compose(
        database,
        notifications,
        Queue(database, notifications),
        JobMaker(SigningKey(Ed25519PrivateKey.generate()), lifetime_seconds=1),
        GroupsSection(),
        SignerGroups(database, "none", has_delivery=False),
    )
    return create_application(services, version(DISTRIBUTION)).openapi()


async def _schema_is_right(url: str, stop: asyncio.Event) -> bool:
    """Wait for the database, and check its schema. False when told to stop meanwhile."""
    warn_of_tls(url)
    pool = Pool(url, 1, NAME)

    async def look() -> None:
        await check_database(pool, TREE, MIGRATE_COMMAND)
        await warn_of_durability(pool)

    check = asyncio.create_task(once_reachable(look))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([check, stopping], return_when=asyncio.FIRST_COMPLETED)
        if check.done():
            check.result()
        return check.done()
    finally:
        check.cancel()
        stopping.cancel()
        await pool.__aexit__()


@contextlib.asynccontextmanager
async def _listening(notifications: Notifications) -> AsyncIterator[Notifications]:
    notifications.start()
    try:
        yield notifications
    finally:
        await notifications.close()


def _listeners(
    settings: Settings,
    services: Services,
    queue: Queue,
    tasks: Tasks,
    metrics: Metrics,
    public_tls: LiveTls,
    node_tls: LiveTls,
) -> dict[str, Listener]:
    public_app = create_application(services, version(DISTRIBUTION))
    node_app = create_node_app(
        services.database,
        queue,
        tasks,
        services.notifications,
        NodeRecords(services.database, settings.node_api.audit_megabytes * MEGABYTE),
    )
    listeners = {
        "public API": Listener(
            config(
                Measured(LongPolls(public_app, settings.public_api.long_polls), metrics, "public"),
                settings.public_api.host,
                settings.public_api.port,
                limits=settings.public_api.limits,
                tls=public_tls,
            )
        ),
        "node API": Listener(
            config(
                Measured(node_app, metrics, "node"),
                settings.node_api.host,
                settings.node_api.port,
                limits=settings.node_api.limits,
                http=MutualTlsProtocol,
                tls=node_tls,
            )
        ),
    }
    if settings.metrics is not None:
        listeners["metrics"] = Listener(
            config(metrics.application(), settings.metrics.host, settings.metrics.port)
        )
    return listeners


async def _run(
    listeners: dict[str, Listener],
    work: Mapping[str, Activity],
    notifications: Notifications,
    stop: asyncio.Event,
) -> None:
    working = [
        asyncio.create_task(keep_going(name, activity), name=name)
        for name, activity in work.items()
    ]
    manager = ServiceManager()
    try:
        ports = {name: await listener.start() for name, listener in listeners.items()}
        gc.collect()
        gc.freeze()  # what is there now stays: later collections need not look at it
        log.info("serving", ports=ports)
        async with manager.told():
            await stop.wait()
            log.info("draining")
            manager.stopping()
            await notifications.close()  # ends the long polls
            await _stop(listeners)
    finally:
        await notifications.close()
        await _stop(listeners)
        for task in working:
            task.cancel()
    log.info("stopped")


async def _stop(listeners: dict[str, Listener]) -> None:
    await asyncio.gather(*(listener.stop() for listener in listeners.values()))
