"""The whole comparison: listen for the nodes, collect, compare with the database, and repair."""

import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from custody.control_plane.audit.own_chain import Auditor
from custody.control_plane.database import NAME, AnyRow, Database
from custody.control_plane.jobs.notifications import Notifications
from custody.control_plane.jobs.queue import Queue
from custody.control_plane.mtls import MutualTlsProtocol
from custody.control_plane.reconcile import queries
from custody.control_plane.reconcile.archived_keys import archived_differences
from custody.control_plane.reconcile.audited import record_repairs
from custody.control_plane.reconcile.collector import Collector, NodeState, registered
from custody.control_plane.reconcile.holdings import SignerGroup
from custody.control_plane.reconcile.node_api import create_reconciling_app
from custody.control_plane.reconcile.plan import (
    Adopt,
    Difference,
    Kind,
    Known,
    differences,
)
from custody.control_plane.reconcile.repair import NotRepaired, Repairs
from custody.control_plane.resources.creation import Creation
from custody.control_plane.settings import Settings
from custody.database.pool import Pool
from custody.migrations.schema import check_database
from custody.runtime.errors import OperatorError
from custody.runtime.listener import Listener, config
from custody.runtime.live_tls import LiveTls
from custody.runtime.operators import operator_name
from custody.wire.algorithms import Store
from custody.wire.derivation import format_path
from custody.wire.inventory import InventoryQuestion

PAGE = 5_000
MARGIN = timedelta(hours=1)
"""An outcome was recorded at most a request's life before its request was finished, and this."""


@dataclass(frozen=True)
class Options:
    """``keys``: adopt no others; empty: adopt all. ``groups``: newer than the backup."""

    wait_seconds: float
    apply: bool = False
    application: str | None = None
    keys: Collection[UUID] = ()
    groups: Sequence[SignerGroup] = ()


@dataclass
class Reconciled:
    """What was found, and what was repaired. ``not_asked``: nodes that did not answer in time.

    ``stopped_by_operators``: the nodes whose operators have archived keys, by root and path. The
    database never contains these archivals.
    """

    backed_up_at: datetime | None
    differences: list[Difference] = field(default_factory=list)
    repaired: list[Difference] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)
    not_asked: list[str] = field(default_factory=list)
    held_back: int = 0
    unlisted: int = 0
    stopped_by_operators: dict[str, list[str]] = field(default_factory=dict)


async def reconcile(
    settings: Settings, options: Options, on_listening: Callable[[int], None] = lambda _: None
) -> Reconciled:
    """Compare the database with the nodes that connect, and repair it. Raise OperatorError.

    ``on_listening`` is called with the port at which nodes are awaited.
    """
    url = settings.database.read_url()
    async with Pool(url, 1, NAME) as pool:
        await check_database(pool, "control_plane", "control-plane migrate")
        [others] = await pool.rows(queries.OTHERS, {})
    if others.number:
        raise OperatorError(
            f"{others.number} other connections of a control plane use this database",
            "Stop every replica: nothing may change the database while it is reconciled.",
        )
    async with Database(url) as database:
        application = await _application(database, options.application)
        groups = await _groups(database, options.groups)
        collector, backed_up_at = await _collector(database, settings)
        async with _listening(settings, collector) as port:
            on_listening(port)
            await collector.wait(options.wait_seconds)
        found = Reconciled(
            backed_up_at,
            [
                *await _compared(database, collector, groups),
                *await archived_differences(database, collector),
            ],
            answered=[name for name, node in collector.nodes.items() if node.is_complete],
            not_asked=collector.missing,
            held_back=sum(node.held_back for node in collector.nodes.values()),
            unlisted=collector.unlisted,
            stopped_by_operators=_stopped_by_operators(collector),
        )
        if options.apply:
            await _repair_all(database, settings, options, application, collector, found)
    return found


async def _application(database: Database, name: str | None) -> UUID | None:
    if name is None:
        return None
    row = await database.row(queries.APPLICATION, {"name": name})
    if row is None:
        raise OperatorError(
            f"there is no application {name!r} in this database",
            "If it was registered after the backup: control-plane token create, then run this "
            "again. The known ones: control-plane token list",
        )
    found: UUID = row.id
    return found


async def _groups(database: Database, named: Sequence[SignerGroup]) -> dict[str, SignerGroup]:
    """Return the signer groups of the database, and those that the operator names."""
    groups = {
        row.name: SignerGroup(row.name, row.threshold, tuple(row.signers))
        for row in await database.rows(queries.GROUPS)
    }
    for group in named:
        if groups.setdefault(group.name, group) != group:
            raise OperatorError(
                f"signer group {group} is named, and {groups[group.name]} is there already",
                "Name each group that the database lacks once, as your own records have it.",
            )
    return groups


async def _collector(database: Database, settings: Settings) -> tuple[Collector, datetime | None]:
    rows = await database.rows(queries.NODES)
    latest = await database.row(queries.LATEST)
    backed_up_at = None if latest is None else latest.at
    since = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
    if backed_up_at is not None:
        since = backed_up_at - timedelta(seconds=settings.jobs.lifetime_seconds) - MARGIN
    nodes: list[NodeState] = registered(rows, settings.groups)
    question = InventoryQuestion(id=uuid4(), outcomes_since=since, archived=True)
    return Collector(database, question, nodes), backed_up_at


@contextlib.asynccontextmanager
async def _listening(settings: Settings, collector: Collector) -> AsyncIterator[int]:
    section = settings.node_api
    listener = Listener(
        config(
            create_reconciling_app(collector),
            section.host,
            section.port,
            limits=section.limits,
            http=MutualTlsProtocol,
            tls=LiveTls(section.tls),
        )
    )
    port = await listener.start()
    try:
        yield port
    finally:
        await listener.stop()


async def _compared(
    database: Database, collector: Collector, groups: Mapping[str, SignerGroup]
) -> list[Difference]:
    ids = list(collector.different)
    rows: list[AnyRow] = []
    for start in range(0, len(ids), PAGE):
        rows += await database.rows(queries.KEYS, {"ids": ids[start : start + PAGE]})
    known = Known({row.id: row for row in rows}, groups)
    return differences(collector, known, await _missing(database, collector))


async def _missing(database: Database, collector: Collector) -> dict[UUID, list[str]]:
    """Return the Active keys that complete inventories lack, with the nodes that lack them."""
    by_group: dict[str, set[UUID]] = {}
    for node in collector.nodes.values():
        if node.is_complete and node.store is Store.HSM:
            by_group.setdefault(node.group, set()).update(node.keys)
    found: dict[UUID, list[str]] = {}
    after = UUID(int=0)
    while rows := await database.rows(queries.ACTIVE_KEYS, {"after": after, "limit": PAGE}):
        for row in rows:
            lacking = (
                [row.node_group]
                if row.store == Store.HSM and row.id not in by_group.get(row.node_group, {row.id})
                else [name for name in row.signers or () if _lacks(collector, name, row.id)]
            )
            if lacking:
                found[row.id] = lacking
        after = rows[-1].id
    return found


def _lacks(collector: Collector, name: str, key_id: UUID) -> bool:
    node = collector.nodes.get(name)
    return node is not None and node.is_complete and key_id not in node.keys


def _stopped_by_operators(collector: Collector) -> dict[str, list[str]]:
    return {
        f"{root_id} {format_path(path)}": sorted(nodes)
        for (root_id, path), nodes in collector.stopped_by_operators.items()
        if nodes
    }


async def _repair_all(
    database: Database,
    settings: Settings,
    options: Options,
    application: UUID | None,
    collector: Collector,
    found: Reconciled,
) -> None:
    """Apply every repair, and leave in ``found.differences`` what remains.

    Archived keys come last, and are compared again: an adopted key may be archived, and an outcome
    from a journal may un-archive a key that a later request has archived again.
    """
    notifications = Notifications(settings.database.read_url())
    queue = Queue(database, notifications)
    repairs = Repairs(
        database,
        queue,
        Creation(database, queue, notifications),
        settings.jobs.signer(),
        {store: settings.groups.serving(store) for store in Store},
        application,
    )
    auditor = Auditor(operator_name(), settings.jobs.signer())

    async def repair(listed: Sequence[Difference]) -> list[Difference]:
        wanted = [each for each in listed if _is_wanted(each, options)]
        await record_repairs(database, auditor, options.application, options.groups, wanted)
        remaining = [each for each in listed if not _is_wanted(each, options)]
        for each in sorted(wanted, key=_order):
            assert each.repair is not None
            try:
                await repairs.apply(each.repair)
                found.repaired.append(each)
            except NotRepaired as reason:
                remaining.append(each.but(str(reason)))
        return remaining

    others = [each for each in found.differences if each.kind is not Kind.ARCHIVED]
    remaining = await repair(others)
    remaining += await repair(await archived_differences(database, collector))
    found.differences = remaining


def _is_wanted(each: Difference, options: Options) -> bool:
    if not isinstance(each.repair, Adopt):
        return each.repair is not None
    return not options.keys or each.repair.key.attested.key_id in options.keys


def _order(each: Difference) -> tuple[bool, datetime | None]:
    """Return the place of a repair among others: copies come after the keys that they are of."""
    if not isinstance(each.repair, Adopt) or each.repair.key.copied_from is None:
        return False, None
    return True, each.repair.key.created_at
