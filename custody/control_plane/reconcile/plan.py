"""What to do about each difference between a restored database and the nodes. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from custody.control_plane.database import AnyRow
from custody.control_plane.reconcile.collector import (
    Collector,
    Place,
    Recorded,
    is_same_key,
)
from custody.control_plane.reconcile.holdings import (
    Agreed,
    Disagreement,
    Held,
    SignerGroup,
    agreed_by_drivers,
    agreed_by_signers,
)
from custody.control_plane.tables import JobState
from custody.wire.algorithms import Store
from custody.wire.inventory import Holding


class Kind(StrEnum):
    """The kinds of differences."""

    UNKNOWN_KEY = "unknown_key"
    """Nodes hold a key that the database does not know."""
    UNFINISHED_KEY = "unfinished_key"
    """All signers use a key whose request is not finished in the database."""
    SHARE_SET = "share_set"
    """All signers use another set of shares than the database says."""
    OUTCOME = "outcome"
    """A node's journal has the outcome of a request that is not finished in the database."""
    ARCHIVED = "archived"
    """A key is archived at nodes and not in the database, or the other way round."""
    CONTRADICTION = "contradiction"
    """Node and database have different facts of a key, or different ends of a request."""
    MISSING_KEY = "missing_key"
    """A node does not hold a key that the database lists as Active."""
    WAITING_SHARE = "waiting_share"
    """A share of a key that the database does not know, and that was never taken into use."""
    UNKNOWN_SIGNATURE = "unknown_signature"
    """A node signed for a request that the database does not know."""
    UNKNOWN_NODE = "unknown_node"
    """A node that is not registered, or not as it was."""


REPAIRED = (
    Kind.UNKNOWN_KEY,
    Kind.UNFINISHED_KEY,
    Kind.SHARE_SET,
    Kind.OUTCOME,
    Kind.ARCHIVED,
)
"""The kinds that ``--apply`` repairs, where nothing else is in the way."""


@dataclass(frozen=True)
class Difference:
    """``id``: of the key or request, or a node's name. ``todo``: what the operator does about it.

    ``repair``: what ``--apply`` writes; None if it cannot repair this difference.
    """

    kind: Kind
    id: str
    nodes: tuple[str, ...]
    what: str
    todo: str
    repair: "Repair | None" = None

    def but(self, reason: str) -> "Difference":
        """Return the difference, not repaired for this reason."""
        return replace(self, what=f"{self.what}; not repaired: {reason}")

    def shown(self) -> dict[str, Any]:
        """Return the difference as JSON."""
        return {
            "kind": self.kind.value,
            "id": self.id,
            "nodes": list(self.nodes),
            "what": self.what,
            "todo": self.todo,
            "is_repaired_by_apply": self.repair is not None,
        }


@dataclass(frozen=True)
class Adopt:
    """Add a key, with its wallet and finished request, as its holders attest it."""

    key: Agreed


@dataclass(frozen=True)
class Finish:
    """Finish the request for a key that its signers use already."""

    key: Agreed


@dataclass(frozen=True)
class UseShareSet:
    """Name the set of shares that all signers use."""

    key: Agreed


@dataclass(frozen=True)
class Return:
    """Give a request the outcome that a node recorded."""

    recorded: Recorded
    group: str


@dataclass(frozen=True)
class Archive:
    """Show the keys at a place as archived, as their nodes have them."""

    place: Place
    archived_at: datetime


Repair = Adopt | Finish | UseShareSet | Return | Archive


@dataclass(frozen=True)
class Known:
    """The rows of the database that the plan needs.

    ``keys``: by id, those that differ. ``groups``: by name, those of the database, and those that
    the operator names.
    """

    keys: Mapping[UUID, AnyRow]
    groups: Mapping[str, SignerGroup]


def differences(
    collector: Collector, known: Known, missing: Mapping[UUID, Sequence[str]]
) -> list[Difference]:
    """Return everything that differs, the repairable differences first."""
    found = [
        *_of_keys(collector, known),
        *_of_requests(collector),
        *_of_missing(missing),
        *_of_nodes(collector),
    ]
    return sorted(found, key=lambda each: (each.repair is None, list(Kind).index(each.kind)))


def _of_keys(collector: Collector, known: Known) -> list[Difference]:
    complete = {name for name, node in collector.nodes.items() if node.is_complete}
    found = []
    for key_id in collector.different | collector.not_in_use:
        stated = collector.different.get(key_id, {})
        in_use = {name: held for name, held in stated.items() if name in complete}
        not_in_use = {
            name: holding
            for name, holding in collector.not_in_use.get(key_id, {}).items()
            if name in complete and name not in in_use
        }
        row = known.keys.get(key_id)
        difference = None
        if row is None and (in_use or not_in_use):
            difference = _unknown_key(key_id, in_use, not_in_use, known)
        elif row is not None and in_use:
            difference = _known_key(row, in_use, known)
        if difference is not None:
            found.append(difference)
    return found


def _unknown_key(
    key_id: UUID, in_use: Mapping[str, Held], not_in_use: Mapping[str, Holding], known: Known
) -> Difference | None:
    nodes = (*in_use, *not_in_use)
    erased = [name for name, holding in not_in_use.items() if holding is Holding.ERASED]
    if len(erased) == len(nodes):
        return None  # its operators have erased all shares that these nodes had
    if not in_use and all(holding is Holding.WAITING for holding in not_in_use.values()):
        return Difference(
            Kind.WAITING_SHARE,
            str(key_id),
            nodes,
            "a share of a set that was never taken into use; its key never signed for anybody",
            "On each of these hosts, once nobody needs it: mpc-signer shares discard",
        )
    todo = "Start the missing nodes, or compare the key on the nodes' hosts, and run this again."
    try:
        if not_in_use:
            uncertain = [each for each in not_in_use if not_in_use[each] is Holding.UNCERTAIN]
            if uncertain:
                todo = (
                    f"{', '.join(uncertain)} was restored: let the control plane serve until "
                    "mpc-signer shares list there shows no uncertain share, and run this again."
                )
            if erased:
                todo = (
                    f"{', '.join(erased)}: an operator has erased the share there, as the signer "
                    "says. Ask that operator. Only if the key is retired, the others erase theirs."
                )
            raise Disagreement(f"the share of {', '.join(not_in_use)} is not in use")
        first = next(iter(in_use.values()))
        if first.attested.store is Store.HSM:
            key = agreed_by_drivers(in_use)
        else:
            key = agreed_by_signers(in_use, known.groups.get(first.group.name, first.group))
            if first.group.name not in known.groups:
                todo = f"If your records have exactly this group: --signer-group {first.group}"
                raise Disagreement(f"the database has no signer group {first.group.name}")
    except Disagreement as reason:
        return Difference(Kind.UNKNOWN_KEY, str(key_id), nodes, f"not adopted: {reason}", todo)
    said = key.attested
    name = key.made_for.external_id if key.made_for else None
    return Difference(
        Kind.UNKNOWN_KEY,
        str(key_id),
        key.nodes,
        f"{said.network or 'bare key'} {said.scheme}/{said.curve} {said.public_key.hex()}, "
        f"external id {name or 'unknown'}",
        "Adopt it with --apply --application NAME.",
        Adopt(key),
    )


def _known_key(row: AnyRow, in_use: Mapping[str, Held], known: Known) -> Difference | None:
    state = JobState(row.state)
    if state in (JobState.QUEUED, JobState.LEASED):
        return _unfinished(row, in_use, known)
    key_id = str(row.id)
    contradicting = tuple(name for name, held in in_use.items() if not is_same_key(row, held))
    if contradicting:
        what = (
            f"the database says {state.value} of its request, and nodes hold the key"
            if state is not JobState.DONE
            else "the database has other facts of it than these nodes attest"
        )
        todo = "Compare both with the signed addresses that applications have; nothing is changed."
        return Difference(Kind.CONTRADICTION, key_id, contradicting, what, todo)
    try:
        # a signer that agrees with the database is not in ``in_use``, and so stops the change
        key = agreed_by_signers(in_use, _group_of(row, known))
    except Disagreement as reason:
        todo = "Start the missing signers and run this again, or finish the refresh: refresh-keys."
        return Difference(Kind.SHARE_SET, key_id, tuple(in_use), f"not changed: {reason}", todo)
    generation = key.held[0].generation
    what = f"its signers use generation {generation}, and the database says {row.generation}"
    if (generation or 0) < (row.generation or 0):
        todo = "The signers' databases are older than this one: see restore-a-database."
        return Difference(Kind.CONTRADICTION, key_id, key.nodes, what, todo)
    return Difference(Kind.SHARE_SET, key_id, key.nodes, what, "--apply", UseShareSet(key))


def _group_of(row: AnyRow, known: Known) -> SignerGroup:
    """Return the signer group that the database names for a key. Raise Disagreement."""
    group = known.groups.get(row.signer_group)
    if group is None:
        raise Disagreement("the database names no signer group for it")
    return group


def _unfinished(row: AnyRow, in_use: Mapping[str, Held], known: Known) -> Difference | None:
    key_id, nodes = str(row.id), tuple(in_use)
    if row.store == Store.HSM:
        if any(held.outcome is not None for held in in_use.values()):
            return None  # the journal has its outcome, which goes back to the request
        return Difference(
            Kind.CONTRADICTION,
            key_id,
            nodes,
            "a node holds the key, its request is not finished, and the journal has no outcome",
            "Keep the wrapped key, and ask for another key.",
        )
    try:
        key = agreed_by_signers(in_use, _group_of(row, known))
        said = key.attested
        if (row.scheme, row.curve, row.network) != (said.scheme, said.curve, said.network):
            raise Disagreement("the request asks for another key than its signers attest")
    except Disagreement as reason:
        todo = "Nothing: the signers finish or abandon it after the start."
        return Difference(Kind.UNFINISHED_KEY, key_id, nodes, f"not finished: {reason}", todo)
    what = "all of its signers use it, and its request is not finished"
    return Difference(Kind.UNFINISHED_KEY, key_id, key.nodes, what, "--apply", Finish(key))


def _of_requests(collector: Collector) -> list[Difference]:
    found = []
    for recorded in collector.to_return.values():
        group = collector.nodes[recorded.node].group
        what = "its journal has the outcome, and the request is not finished here"
        found.append(
            Difference(
                Kind.OUTCOME,
                str(recorded.job_id),
                (recorded.node,),
                what,
                "--apply",
                Return(recorded, group),
            )
        )
    for recorded in collector.contradicting.values():
        what = "the node's journal has another outcome than the request has here"
        todo = "An admin reads both: the one here stays, as a final request never changes."
        found.append(_listed(Kind.CONTRADICTION, recorded, what, todo))
    for recorded in collector.unknown.values():
        what = "a signature of a request that is not in the database"
        todo = (
            "Find it in the application's own books; the node's audit chain says what was signed."
        )
        found.append(_listed(Kind.UNKNOWN_SIGNATURE, recorded, what, todo))
    return found


def _listed(kind: Kind, recorded: Recorded, what: str, todo: str) -> Difference:
    return Difference(kind, str(recorded.job_id), (recorded.node,), what, todo)


def _of_missing(missing: Mapping[UUID, Sequence[str]]) -> list[Difference]:
    return [
        Difference(
            Kind.MISSING_KEY,
            str(key_id),
            tuple(nodes),
            "Active here, and these do not hold it",
            "Restore that node's database from its newest backup, or repair the share.",
        )
        for key_id, nodes in missing.items()
    ]


def _of_nodes(collector: Collector) -> list[Difference]:
    faulty = {name: node.fault for name, node in collector.nodes.items() if node.fault is not None}
    return [
        Difference(
            Kind.UNKNOWN_NODE,
            name,
            (name,),
            reason,
            "If it is yours: control-plane node remove and node add, then run this again.",
        )
        for name, reason in {**collector.strangers, **faulty}.items()
    ]
