"""Receives the inventories of nodes by pages, and keeps what differs from the database."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from pydantic import ValidationError

from custody.control_plane.database import AnyRow, Database
from custody.control_plane.jobs.results import FINAL
from custody.control_plane.reconcile import queries
from custody.control_plane.reconcile.holdings import (
    BadInventory,
    Held,
    open_held,
    require_not_in_use,
)
from custody.control_plane.reconcile.proofs import ShareSets, is_proof_for
from custody.control_plane.settings import GroupsSection
from custody.control_plane.tables import JobState
from custody.wire.algorithms import Store
from custody.wire.inventory import (
    ArchivedKey,
    Holding,
    InventoryPage,
    InventoryQuestion,
    RecordedOutcome,
)
from custody.wire.jobs import JobKind
from custody.wire.outcomes import MadeSignature, Outcome, OutcomeStatus

Place = tuple[UUID, tuple[int, ...]]
"""A key's place: the id of its root, and its path from there."""

MAX_LISTED = 100_000
"""Requests of one kind that are kept to be shown; more are counted."""


@dataclass
class NodeState:
    """How far one node is. ``keys``: the ids of the keys that it holds.

    ``states_archived``: it has said which keys are archived there. Earlier versions do not.
    """

    id: str
    group: str
    store: Store
    identity: bytes | None
    next_page: int = 0
    is_complete: bool = False
    held_back: int = 0
    states_archived: bool = False
    fault: str | None = None
    certificates_from: datetime | None = None
    keys: set[UUID] = field(default_factory=set)
    share_sets: ShareSets = field(default_factory=ShareSets)
    taking: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True)
class Recorded:
    """The outcome of a job that ``node`` handed in, byte for byte."""

    job_id: UUID
    node: str
    raw: bytes


class Collector:
    """Compares each page when it comes: what agrees with the database is dropped at once."""

    def __init__(
        self,
        database: Database,
        question: InventoryQuestion,
        nodes: Iterable[NodeState],
    ) -> None:
        self._database = database
        self.question = question
        self.nodes: dict[str, NodeState] = {each.id: each for each in nodes}
        self.strangers: dict[str, str] = {}
        """Nodes that came and are not registered, with the reason."""
        self.different: dict[UUID, dict[str, Held]] = {}
        """Keys that the database does not know as their holders do, by id, then by node."""
        self.not_in_use: dict[UUID, dict[str, Holding]] = {}
        """Shares that are not in use, of keys that the database does not know, likewise."""
        self.to_return: dict[UUID, Recorded] = {}
        """Final outcomes of requests that are not final in the database."""
        self.contradicting: dict[UUID, Recorded] = {}
        """Final outcomes of requests that have another final outcome in the database."""
        self.unknown: dict[UUID, Recorded] = {}
        """Signatures of requests that the database does not know, without proofs of share sets."""
        self.archived: dict[Place, dict[str, datetime]] = {}
        """When requests have archived keys, by place, then by node."""
        self.stopped_by_operators: dict[Place, set[str]] = {}
        """The nodes whose operators have archived keys, by place."""
        self.unlisted = 0
        """More of these, beyond MAX_LISTED."""
        self._changed = asyncio.Event()

    def wants(self, node: str) -> bool:
        """Return True while this node's inventory is needed: one driver answers for its group."""
        state = self.nodes.get(node)
        if state is None or state.is_complete or state.fault is not None:
            return False
        if state.store is Store.MPC:
            return True
        begun = [
            each
            for each in self.nodes.values()
            if each.group == state.group and (each.next_page or each.is_complete)
        ]
        return not any(each.is_complete for each in begun) and (not begun or state in begun)

    @property
    def missing(self) -> list[str]:
        """Return the nodes whose inventory is not complete, and is needed."""
        answered = {
            each.group
            for each in self.nodes.values()
            if each.is_complete and each.store is Store.HSM
        }
        return [
            each.id
            for each in self.nodes.values()
            if not each.is_complete and each.group not in answered
        ]

    async def wait(self, seconds: float) -> None:
        """Return when every needed inventory is complete, or after so many seconds."""
        with_fault = {each.id for each in self.nodes.values() if each.fault}
        try:
            async with asyncio.timeout(seconds):
                while set(self.missing) - with_fault:
                    self._changed.clear()
                    await self._changed.wait()
                    with_fault = {each.id for each in self.nodes.values() if each.fault}
        except TimeoutError:
            return

    def refuse(self, node: str, reason: str) -> None:
        """Note a node that is not registered, or has another identity key than it had."""
        if node in self.nodes:
            self.nodes[node].fault = reason
            self._changed.set()
        else:
            self.strangers[node] = reason

    async def take(self, node: str, page: InventoryPage) -> bool:
        """Compare a page. Return whether more pages are wanted."""
        state = self.nodes.get(node)
        if state is None:
            return False
        async with state.taking:  # a node that starts again sends page 0 beside its last page
            return await self._take(state, page)

    async def _take(self, state: NodeState, page: InventoryPage) -> bool:
        if page.question != self.question.id or state.is_complete:
            return False
        if page.number == 0:
            self._begin(state)
        if page.number != state.next_page:
            return False
        try:
            await self._take_keys(state, page)
            await self._take_outcomes(state, page.outcomes)
            self._take_archived(state, page.archived)
        except BadInventory as bad:
            self.refuse(state.id, str(bad))
            return False
        state.next_page += 1
        state.held_back += page.held_back
        state.is_complete = page.is_last
        self._changed.set()
        return not page.is_last

    def _begin(self, state: NodeState) -> None:
        state.next_page, state.held_back, state.states_archived = 0, 0, False
        state.keys.clear()
        state.share_sets = ShareSets()
        for by_node in self.different.values():
            by_node.pop(state.id, None)
        for holdings in self.not_in_use.values():
            holdings.pop(state.id, None)
        for at in self.archived.values():
            at.pop(state.id, None)
        for nodes in self.stopped_by_operators.values():
            nodes.discard(state.id)

    async def _take_keys(self, state: NodeState, page: InventoryPage) -> None:
        if state.identity is None:
            raise BadInventory(f"node {state.id} has not said which identity key it has")
        held, not_in_use = [], []
        for said in page.keys:
            if said.holding is Holding.IN_USE:
                held.append(open_held(state.id, state.group, state.store, state.identity, said))
            else:
                require_not_in_use(state.id, state.store, said)
                not_in_use.append(said)
        ids = {each.key_id for each in page.keys}
        if not ids:
            return
        rows = await self._database.rows(queries.KEYS, {"ids": list(ids)})
        known = {row.id: row for row in rows}
        state.keys.update(ids)
        facts = known | {each.key_id: each.attested for each in held}
        state.share_sets.note(page.keys, facts, self.question.outcomes_since)
        for share in not_in_use:
            if share.key_id not in known:
                self.not_in_use.setdefault(share.key_id, {})[state.id] = share.holding
        for each in held:
            row = known.get(each.key_id)
            if row is None or not (is_same_key(row, each) and is_same_set(row, each)):
                self.different.setdefault(each.key_id, {})[state.id] = each

    async def _take_outcomes(self, state: NodeState, said: Sequence[RecordedOutcome]) -> None:
        if not said:
            return
        ids = {"ids": [each.job_id for each in said]}
        known = {row.id: row for row in await self._database.rows(queries.JOBS, ids)}
        proofs = {row.job_id: row for row in await self._database.rows(queries.PROOFS, ids)}
        for each in said:
            outcome = _parsed(each)
            recorded = Recorded(each.job_id, state.id, each.outcome)
            row = known.get(each.job_id)
            if row is None:
                made, wanted = _signature_of(outcome), proofs.get(each.job_id)
                if made and not (
                    (wanted is not None and is_proof_for(wanted.payload, made))
                    or state.share_sets.is_proof(made, each.committed_at)
                ):
                    self._list(self.unknown, recorded)
            elif row.node_group == state.group:
                self._compare(state, row, recorded, outcome)

    def _take_archived(self, state: NodeState, said: Sequence[ArchivedKey] | None) -> None:
        if said is None:
            return
        state.states_archived = True
        for each in said:
            place = each.root_id, each.path
            if each.by == "request":
                self.archived.setdefault(place, {})[state.id] = each.archived_at
            else:
                self.stopped_by_operators.setdefault(place, set()).add(state.id)

    def _compare(self, state: NodeState, row: AnyRow, recorded: Recorded, outcome: Outcome) -> None:
        # one signer's DENIED is not the end of a request, and only Sign has its request's id
        if state.store is Store.MPC and not (row.kind == JobKind.SIGN and _signature_of(outcome)):
            return
        if not row.is_final:
            self.to_return.setdefault(recorded.job_id, recorded)
        elif row.outcome != recorded.raw and not _is_same_result(row.outcome, outcome):
            self._list(self.contradicting, recorded)

    def _list(self, listed: dict[UUID, Recorded], recorded: Recorded) -> None:
        if recorded.job_id in listed:
            return
        if len(listed) < MAX_LISTED:
            listed[recorded.job_id] = recorded
        else:
            self.unlisted += 1


def is_same_key(row: AnyRow, held: Held) -> bool:
    """Return whether a row of KEYS says of an active key what its holder attests."""
    said = held.attested
    group = row.node_group if said.store is Store.HSM else row.signer_group
    # a signer with a repaired share may not know the request, so not that the key was imported
    is_imported = row.imported if said.made_for is None else said.imported
    return row.state == JobState.DONE and (
        row.store,
        row.scheme,
        row.curve,
        row.network,
        row.public_key,
        row.protection,
        row.chain_code,
        row.imported,
        group,
    ) == (
        said.store,
        said.scheme,
        said.curve,
        said.network,
        said.public_key,
        said.protection,
        said.chain_code,
        is_imported,
        said.group,
    )


def is_same_set(row: AnyRow, held: Held) -> bool:
    """Return whether a row of KEYS names the set of shares that its holder uses."""
    return (row.generation, row.share_set_id) == held.share_set


def registered(rows: Sequence[AnyRow], groups: GroupsSection) -> list[NodeState]:
    """Return the nodes of the groups that serve a store."""
    stores: Mapping[str, Store] = {groups.serving(store): store for store in Store}
    return [
        NodeState(
            row.id,
            row.node_group,
            stores[row.node_group],
            row.identity_public_key,
            certificates_from=row.certificates_from,
        )
        for row in rows
        if row.node_group in stores
    ]


def _parsed(said: RecordedOutcome) -> Outcome:
    try:
        outcome = Outcome.model_validate_json(said.outcome)
    except ValidationError:
        raise BadInventory(f"the outcome of job {said.job_id} cannot be read") from None
    if outcome.job_id != said.job_id or outcome.status not in FINAL:
        raise BadInventory(f"the outcome of job {said.job_id} is not final, or another job's")
    return outcome


def _signature_of(outcome: Outcome) -> MadeSignature | None:
    is_done = outcome.status is OutcomeStatus.DONE
    return outcome.result if is_done and isinstance(outcome.result, MadeSignature) else None


def _is_same_result(stored: bytes | None, outcome: Outcome) -> bool:
    """Return whether a request's final outcome has the result that a signer recorded."""
    if stored is None or outcome.result is None:
        return False
    try:
        return Outcome.model_validate_json(stored).result == outcome.result
    except ValidationError:  # the control plane's own, of a request that expired
        return False
