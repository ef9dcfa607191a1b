"""A running node: the job loop and its activities. A mode adds handlers and parts."""

import asyncio
import contextlib
import gc
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog

from custody.backup.history import BackupHistory
from custody.database.causes import is_transient
from custody.database.pool import Pool
from custody.node.approvals import Approvals
from custody.node.audit import AuditChain
from custody.node.audit_sender import AuditSender
from custody.node.authentication import Authenticator
from custody.node.clock import Clock
from custody.node.control_plane_client import ControlPlaneClient
from custody.node.freeze import Freeze
from custody.node.gate import Gate
from custody.node.gate_client import GateClient
from custody.node.handlers import Handler
from custody.node.health import Health, Part
from custody.node.heartbeat import Heartbeat
from custody.node.inventory import HeldKeys, InventoryReporter
from custody.node.journal import Journal
from custody.node.journal_retention import LongestLife
from custody.node.locks import Locks
from custody.node.loop import JobLoop, OnStage, Withdraw
from custody.node.metrics import BACKUPS, OLDEST, PURGED
from custody.node.reporter import Reporter
from custody.node.settings import HealthSection, NodeSettings
from custody.node.signed_requests import SignedRequests
from custody.node.slots import Slots
from custody.runtime.activities import Activity, keep_going
from custody.runtime.certificate_metrics import metrics_of_process
from custody.runtime.certificate_watch import CertificateWatch
from custody.runtime.job_signing_keys import LiveJobKeys, pinned_job_keys
from custody.runtime.listener import Listener, config
from custody.runtime.live_tls import LiveTls
from custody.runtime.service_manager import ServiceManager
from custody.wire.algorithms import Algorithm, Protection, Store
from custody.wire.left_in_flight import LeftInFlight
from custody.wire.signed_bytes import PinnedKeys, SignedBytes, SigningKey

log = structlog.get_logger()

DRAIN_SECONDS = 25.0
PURGE_INTERVAL = 3600.0


@dataclass(frozen=True)
class Mode:
    """The parts that a mode adds to a node: handlers, and parts whose health the node checks."""

    store: Store
    handlers: Mapping[str, Handler]
    parts: list[Part]
    capabilities: Mapping[Algorithm, Protection]
    held_keys: HeldKeys
    """The keys that this node holds, for its inventory."""
    bans: Callable[[], Awaitable[Sequence[SignedBytes]]] | None = None
    """The bans that this signer reports to the control plane."""
    clock: Clock | None = None
    """The clock, if the mode's parts use the same one."""
    delivery_problems: Callable[[], dict[str, str]] = dict
    """The delivery servers that this signer cannot use, each with the reason."""
    delivery_job_signing_keys: Callable[[], dict[str, tuple[str, ...]]] = dict
    """The ids of the job-signing keys that each delivery server pins."""
    warnings: Callable[[], Sequence[str]] = tuple
    """What an operator should do although the node works."""
    left_in_flight: Callable[[], Awaitable[Sequence[LeftInFlight] | None]] | None = None
    """The pairs that a stop of this signer left in flight, for its operator; None: not known."""
    ban_questions: Callable[[Sequence[SignedBytes]], None] = lambda _: None
    """Called after each heartbeat with the questions of restored peers."""
    require_ready: Callable[[], None] = lambda: None
    """Raises Failed while the mode must do no job. Checked with the freeze."""
    withdraw: Withdraw | None = None
    """Called for each job that was not done, with the code, before the report."""
    tls: Sequence[LiveTls] = ()
    """The mode's own uses of TLS."""


@dataclass(frozen=True)
class Node:
    """Activities of the mode, which run beside the loop."""

    journal: Journal
    reporter: Reporter
    heartbeat: Heartbeat
    loop: JobLoop
    inventory: InventoryReporter
    locks: Locks
    gate_client: GateClient | None
    health: Health
    certificates: CertificateWatch
    longest_life: LongestLife
    audit_sender: AuditSender | None
    """None unless the node's owner lets the control plane have the audit records."""

    async def run(self, settings: HealthSection, *activities: Activity) -> None:
        """Do jobs until SIGTERM or SIGINT, then finish the jobs that have begun.

        ``activities``: the mode's activities.
        """
        manager = ServiceManager()
        application = self.health.application()
        listener = Listener(config(application, settings.host, settings.port))
        log.info("node started", health_port=await listener.start())
        await self.longest_life.refresh()
        gc.collect()
        gc.freeze()  # these objects stay alive: the garbage collector need not check them again
        try:
            async with self.gate_client or contextlib.nullcontext(), manager.told():
                await _until_signalled(
                    self.certificates.run,
                    self.heartbeat.run,
                    self.reporter.report_left_over,
                    self.reporter.mark_repeatedly,
                    self.reporter.release_repeatedly,
                    self._purge_repeatedly,
                    self.longest_life.refresh_repeatedly,
                    self.inventory.answer_repeatedly,
                    self.journal.database.watch,
                    self.loop.run,
                    *([] if self.audit_sender is None else [self.audit_sender.run]),
                    *activities,
                )
                log.info("draining")
                manager.stopping()
                left, _ = await asyncio.gather(
                    self.loop.drain(DRAIN_SECONDS), self.heartbeat.say_stopping()
                )
            await self.reporter.mark()
            log.info("stopped", jobs_left=left)
        finally:
            await listener.stop()

    async def _purge_repeatedly(self) -> None:
        while True:
            try:
                await self._purge()
            except Exception as error:
                if not is_transient(error):
                    raise
            await asyncio.sleep(PURGE_INTERVAL)

    async def _purge(self) -> None:
        in_all = 0
        while purged := await self.journal.purge():
            in_all += purged
            PURGED.inc(purged)
        if in_all:
            log.info("purged the journal", rows=in_all)
        OLDEST.set(await self.journal.oldest_seconds())
        await self.locks.purge(datetime.now(UTC) - self.longest_life())


def new_clock(settings: NodeSettings) -> Clock:
    """Return a clock that has not been compared yet."""
    return Clock(timedelta(seconds=settings.loop.max_clock_offset_seconds))


def build_node(
    settings: NodeSettings,
    database: Pool,
    client: ControlPlaneClient,
    signer: SigningKey,
    mode: Mode,
    on_stage: OnStage = lambda _: None,
) -> Node:
    """Build a node from its parts. Raise ConfigurationError."""
    node, group = settings.node.id, settings.node.group
    chain = AuditChain(database, node, signer)
    journal = Journal(database, node, chain)
    longest_life = LongestLife(database)
    clock = mode.clock or new_clock(settings)

    def clock_problem() -> str | None:
        return clock.problem(datetime.now(UTC))

    slots = Slots(settings.loop.slots)
    gate_client = None if settings.gate is None else GateClient(settings.gate)
    locks = _locks(settings, database, mode.store, slots, gate_client, longest_life)
    BACKUPS.watch(BackupHistory(settings.node.state_directory))
    freeze = Freeze(settings.node.state_directory)

    def read_job_keys() -> PinnedKeys:
        keys = settings.read_again().control_plane.job_signing_keys
        return pinned_job_keys(keys, "control_plane")

    job_keys = LiveJobKeys(read_job_keys)
    certificates = CertificateWatch(
        [client.tls, *([] if gate_client is None else [gate_client.tls]), *mode.tls],
        settings.certificates,
        metrics_of_process(),
        job_keys.reload,
    )
    reporter = Reporter(client, journal, chain, freeze)
    own_parts = [
        *mode.parts,
        Part("database", journal.database.problem),
        Part("freeze", freeze.problem),
        Part("certificates", certificates.problem, stops_work=False),
        Part("job-signing keys", job_keys.problem, stops_work=False),
    ]
    compared_clock = Part("clock", lambda: clock_problem() if clock.compared.is_set() else None)
    # a control plane that receives a heartbeat is available; the first answer compares the clocks
    told = Health([*own_parts, compared_clock], mode.warnings)
    inventory = InventoryReporter(client, database, freeze, mode.held_keys)
    heartbeat = Heartbeat(
        client=client,
        journal=journal,
        chain=chain,
        clock=clock,
        health=told,
        group=group,
        kinds=sorted(mode.handlers),
        capabilities=mode.capabilities,
        bans=mode.bans,
        left_in_flight=mode.left_in_flight,
        identity_public_key=signer.public_key,
        slots=slots.total,
        has_gate=gate_client is not None,
        sends_audit_records=settings.control_plane.send_audit_records,
        delivery_problems=mode.delivery_problems,
        job_signing_keys=lambda: job_keys.ids,
        delivery_job_signing_keys=mode.delivery_job_signing_keys,
        ban_questions=mode.ban_questions,
        on_inventory=inventory.ask,
    )
    loop = JobLoop(
        node=node,
        client=client,
        authenticator=Authenticator(job_keys, group, frozenset(mode.handlers)),
        journal=journal,
        clock=clock,
        handlers=mode.handlers,
        reporter=reporter,
        slots=slots,
        longest_life=longest_life,
        health=told,
        freeze=freeze,
        locks=locks,
        on_stage=on_stage,
        withdraw=mode.withdraw,
        require_ready=mode.require_ready,
    )
    health = Health(
        [*own_parts, Part("clock", clock_problem), Part("control plane", client.problem)],
        mode.warnings,
    )
    sends_records = settings.control_plane.send_audit_records
    audit_sender = AuditSender(client, database, node, signer) if sends_records else None
    return Node(
        journal, reporter, heartbeat, loop, inventory, locks, gate_client, health, certificates,
        longest_life, audit_sender,
    )  # fmt: skip


def _locks(
    settings: NodeSettings,
    database: Pool,
    store: Store,
    slots: Slots,
    gate_client: GateClient | None,
    longest_life: LongestLife,
) -> Locks:
    node = settings.node.id
    required = settings.requests.require_signature
    signed_requests = SignedRequests(database, store, longest_life, required=required)
    approvals = Approvals(database, node)
    gate = None
    if settings.gate is not None and gate_client is not None:
        gate = Gate(settings.gate, gate_client, approvals, slots, node=node, store=store)
    return Locks(signed_requests, gate, approvals)


async def _until_signalled(*activities: Activity) -> None:
    """Run activities until a signal comes; an activity that raises is started again."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(keep_going(_name(each), each)) for each in activities]
        await stop.wait()
        for task in tasks:
            task.cancel()


def _name(activity: Activity) -> str:
    """Return an activity's name for the log."""
    function = activity.func if isinstance(activity, partial) else activity
    return getattr(function, "__qualname__", repr(function))
