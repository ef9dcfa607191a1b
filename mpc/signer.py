"""mpc-signer: a node that has one share of each key."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import structlog

from custody.database.pool import Pool
from custody.node.applications import Applications
from custody.node.archivals import Archivals
from custody.node.archiving import archiving_handlers
from custody.node.audited_changes import AuditedChanges
from custody.node.connections import open_client, open_database
from custody.node.freeze import Freeze
from custody.node.handlers import Handler
from custody.node.health import Part
from custody.node.identity import load_identity
from custody.node.key_age import watch_age
from custody.node.key_backups import BackupWarnings
from custody.node.loop import OnStage
from custody.node.node import Mode, build_node, new_clock
from custody.node.only_process import OnlyProcess
from custody.runtime.operators import operator_name
from custody.runtime.tracing import start_tracing
from custody.wire.algorithms import Protection, Store
from custody.wire.jobs import JobKind
from custody.wire.left_in_flight import LeftInFlight
from custody.wire.node_api import MAX_BANS
from custody.wire.signed_bytes import SigningKey
from custody.wire.tickets import PROTOCOL
from mpc.backup_warnings import backup_warnings
from mpc.bans.ban_locks import BanLocks
from mpc.bans.bans import Bans
from mpc.ceremonies.admission import Admission
from mpc.ceremonies.ceremony import Ceremonies
from mpc.ceremonies.ceremony_ends import withdraw
from mpc.ceremonies.delivery_client import DeliveryClient, DeliveryServer
from mpc.ceremonies.used_tickets import forget_repeatedly
from mpc.delivery_clocks import DeliveryClocks
from mpc.handlers.copying import CopyKey
from mpc.handlers.dealing import DealShares
from mpc.handlers.import_preparation import PrepareImport
from mpc.handlers.importing import ImportKey
from mpc.handlers.key_generation import GenerateKey
from mpc.handlers.orders import Abandon, ActivateKey, Approve, Discard, Promise
from mpc.handlers.preparation import Preparation
from mpc.handlers.refreshing import RefreshKey, RepairShare
from mpc.handlers.signing import ProveKey, QuorumSigning, Sign
from mpc.held_keys import SignerKeys
from mpc.imports.import_keys import ImportKeys
from mpc.key_rotation import encryption_key_age
from mpc.metrics import count_repeatedly
from mpc.peers import Peers
from mpc.repair_approvals import RepairApprovals
from mpc.restored.guard import new_restore_guard
from mpc.restored.needed_repairs import NeededRepairs
from mpc.restored.watch import RestoreWatch
from mpc.settings import SignerSettings
from mpc.shares.encryption_keys import open_encryption_keys
from mpc.shares.shares import Shares

if TYPE_CHECKING:
    from custody.runtime.activities import Activity
    from mpc.layer4.copies import ShareCopies

log = structlog.get_logger()


async def run_signer(settings: SignerSettings, on_stage: OnStage = lambda _: None) -> None:
    """Run until SIGTERM or SIGINT, then finish the jobs that have begun. Raise OperatorError."""
    structlog.contextvars.bind_contextvars(node=settings.node.id)
    start_tracing("mpc-signer")
    signer = load_identity(settings.identity.private_key)
    async with (
        open_database(settings, patient=True) as database,
        OnlyProcess(database, settings.node.id) as only,
        open_client(settings) as client,
        open_encryption_keys(settings, database) as keys,
        open_delivery_client(settings) as delivery,
    ):
        await keys.adopt_first(database)
        await keys.record_proofs(
            database, AuditedChanges(database, settings.node.id), operator_name()
        )
        shares, import_keys = Shares(database, keys), ImportKeys(database, keys)
        guard = new_restore_guard(settings, database, signer, client)
        repairs = NeededRepairs(database)
        clock = new_clock(settings)
        names = [each.name for each in settings.delivery]
        delivery_clocks = DeliveryClocks(delivery, names, clock)
        copies, layer4_parts, layer4_activities = open_layer4(settings, database, signer, shares)
        backups = BackupWarnings(partial(backup_warnings, database, keys))
        await backups.refresh()
        aged = watch_age(await encryption_key_age(database, settings.encryption))
        await guard.start()
        async with BanLocks(database, settings.node.id, guard.bans) as locks:
            by_kind = handlers(
                settings, database, signer, shares, import_keys, guard.bans, locks, delivery,
                guard.watch, copies,
            )  # fmt: skip
            mode = Mode(
                store=Store.MPC,
                handlers=by_kind,
                parts=[
                    Part("process", only.problem),
                    Part("encryption key", keys.problem),
                    Part("hsm workers", keys.shortage, stops_work=False),
                    *guard.parts(),
                    Part("shares", shares.problem, stops_work=False),
                    Part("repairs", repairs.problem, stops_work=False),
                    Part("delivery servers", delivery_clocks.problem, stops_work=False),
                    Part("in flight", locks.left.problem, stops_work=False),
                    *layer4_parts,
                ],
                clock=clock,
                delivery_problems=delivery_clocks.problems,
                delivery_job_signing_keys=delivery_clocks.job_signing_keys,
                capabilities=dict.fromkeys(PROTOCOL, Protection.MPC),
                held_keys=SignerKeys(database, settings.node.id, signer),
                bans=lambda: guard.bans.own(MAX_BANS),
                warnings=lambda: [*backups.warnings(), *aged()],
                left_in_flight=partial(left_if_known, locks, guard.watch),
                ban_questions=guard.answering.asked,
                require_ready=guard.watch.require_whole,
                withdraw=partial(withdraw, delivery, settings.node.id),
                tls=(*delivery.tls, *([] if copies is None else copies.tls)),
            )
            node = build_node(settings, database, client, signer, mode, on_stage)
            await node.run(
                settings.health,
                partial(forget_repeatedly, database, node.longest_life),
                partial(count_repeatedly, database),
                import_keys.erase_expired_repeatedly,
                *guard.activities(),
                repairs.count_repeatedly,
                delivery_clocks.compare_repeatedly,
                *layer4_activities,
                backups.refresh_repeatedly,
            )


def open_layer4(
    settings: SignerSettings, database: Pool, signer: SigningKey, shares: Shares
) -> tuple[ShareCopies | None, list[Part], list[Activity]]:
    """Return what Layer 4 adds to a signer. A signer without Layer 4 imports nothing of it."""
    if settings.layer4 is None:
        return None, [], []
    from mpc.layer4.copies import ShareCopies
    from mpc.layer4.putting import Putter

    putter = Putter(database, settings.layer4)
    copies = ShareCopies(database, signer, shares, settings.layer4, putter)
    return copies, [Part("layer 4", putter.problem, stops_work=False)], [putter.run]


async def left_if_known(locks: BanLocks, restore_watch: RestoreWatch) -> list[LeftInFlight] | None:
    """Return the pairs left in flight; None while a restored database may lack some."""
    found = await locks.left.read()
    return None if restore_watch.problem() is not None else found


def open_delivery_client(settings: SignerSettings) -> DeliveryClient:
    """Return a client of the configured delivery servers."""
    files = settings.delivery_tls
    servers = [DeliveryServer(each.name, each.url, files[each.name]) for each in settings.delivery]
    return DeliveryClient(servers)


def handlers(
    settings: SignerSettings,
    database: Pool,
    signer: SigningKey,
    shares: Shares,
    import_keys: ImportKeys,
    bans: Bans,
    locks: BanLocks,
    delivery: DeliveryClient,
    restore_watch: RestoreWatch,
    copies: ShareCopies | None = None,
) -> dict[str, Handler]:
    """Return a signer's handlers by job kind. ``copies``: None while Layer 4 is off."""
    me = settings.node.id
    peers = Peers(database)
    admission = Admission(
        me, signer.public_key, peers, bans, restore_watch, settings.quorum.min_threshold
    )
    ceremonies = Ceremonies(
        pool=database,
        signer=signer,
        delivery=delivery,
        bans=bans,
        locks=locks,
        freeze=Freeze(settings.node.state_directory),
        restore_watch=restore_watch,
    )
    signing = QuorumSigning(ceremonies, shares)
    preparation = Preparation(me, signer, shares, copies)
    return {
        JobKind.APPROVE.value: Approve(shares),
        JobKind.PREPARE_IMPORT.value: PrepareImport(admission, import_keys, signer),
        JobKind.GENERATE_KEY.value: GenerateKey(admission, ceremonies, preparation),
        JobKind.IMPORT_KEY.value: ImportKey(admission, ceremonies, preparation, import_keys),
        JobKind.DEAL_SHARES.value: DealShares(
            admission,
            shares,
            signer,
            Applications(database),
            settings.quorum.min_unsigned_copy_threshold,
        ),
        JobKind.COPY_KEY.value: CopyKey(admission, ceremonies, preparation, import_keys),
        JobKind.PROVE_KEY.value: ProveKey(admission, shares, signing),
        JobKind.PROMISE.value: Promise(admission, shares, preparation, restore_watch, copies),
        JobKind.ACTIVATE_KEY.value: ActivateKey(
            admission, shares, preparation, signer, import_keys, copies
        ),
        JobKind.SIGN.value: Sign(admission, shares, signing),
        JobKind.REFRESH_KEY.value: RefreshKey(admission, ceremonies, shares, preparation),
        JobKind.REPAIR_SHARE.value: RepairShare(
            admission, ceremonies, shares, RepairApprovals(database), restore_watch
        ),
        JobKind.ABANDON.value: Abandon(me, shares, preparation, signer, restore_watch),
        JobKind.DISCARD.value: Discard(admission, shares, preparation),
        **archiving_handlers(Archivals(database), shares.require_key),
    }
