"""The archived keys of the nodes, compared with those of a restored database.

Nothing here lets a key sign again: a difference in that direction is shown, and an application
sends its request again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from custody.control_plane.database import AnyRow, Database
from custody.control_plane.reconcile import queries
from custody.control_plane.reconcile.collector import Collector, Place
from custody.control_plane.reconcile.plan import Archive, Difference, Kind
from custody.wire.algorithms import Network, Store
from custody.wire.derivation import format_path
from custody.wire.jobs import child_key_id

PAGE = 1_000

_SEND_AGAIN = "The application archives or un-archives it again: archive-a-key."


@dataclass(frozen=True)
class Said:
    """What nodes say of one key. ``archived``: when, by node; ``spoke``: the nodes that said it.

    ``holders``: all nodes that hold the key. ``needed``: if that many holders have archived the
    key, the others cannot sign.
    """

    archived: Mapping[str, datetime]
    spoke: frozenset[str]
    holders: Sequence[str]
    needed: int

    @property
    def lacking(self) -> tuple[str, ...]:
        """Return the holders that say that they have not archived the key."""
        return tuple(
            name for name in self.holders if name in self.spoke and name not in self.archived
        )


async def archived_differences(database: Database, collector: Collector) -> list[Difference]:
    """Return the keys that are archived here and not at the nodes, or there and not here."""
    complete = {name for name, node in collector.nodes.items() if node.is_complete}
    found = []
    for places in _parts(collector.archived):
        rows = await _rows_at(database, places)
        for place in places:
            by_node = _only(collector.archived[place], complete)
            if by_node:
                found.append(_compared(place, rows.get(place, []), by_node, collector))
    after = UUID(int=0)
    while page := await database.rows(queries.ARCHIVED, {"after": after, "limit": PAGE}):
        for row in page:
            place = _place_of(row)
            if not _only(collector.archived.get(place, {}), complete):
                found.append(_compared(place, [row], {}, collector))
        after = page[-1].id
    return [each for each in found if each is not None]


def _compared(
    place: Place, rows: Sequence[AnyRow], by_node: Mapping[str, datetime], collector: Collector
) -> Difference | None:
    if any(row.is_changing for row in rows):
        return None  # its request is open here, and ends as the nodes have done it
    if not rows:
        return _unknown(place, by_node)
    first = rows[0]
    said = _said(first, by_node, collector)
    if said is None:
        return None
    if any(row.archived_at is not None for row in rows):
        return archived_here(first.id, said)
    if not said.archived:  # by nodes that do not hold it
        return None
    return archived_at_nodes(place, first.id, said)


def archived_here(key_id: UUID, said: Said) -> Difference | None:
    """Return the difference of a key that is archived in the database."""
    if not said.lacking:
        return None
    what = "archived here, and not at these nodes"
    return Difference(Kind.ARCHIVED, str(key_id), said.lacking, what, _SEND_AGAIN)


def archived_at_nodes(place: Place, key_id: UUID, said: Said) -> Difference:
    """Return the difference of a key that nodes have archived, and the database has not.

    It can be repaired if so many nodes have archived the key that the others cannot sign. Liars of
    that number could stop the key anyway.
    """
    nodes = tuple(said.archived)
    others = f", and not at {', '.join(said.lacking)}" if said.lacking else ""
    what = f"a request has archived it at these nodes{others}; not here"
    if len(said.archived) < said.needed:
        return Difference(Kind.ARCHIVED, str(key_id), nodes, what, _SEND_AGAIN)
    archive = Archive(place, max(said.archived.values()))
    return Difference(Kind.ARCHIVED, str(key_id), nodes, what, "--apply", archive)


def _unknown(place: Place, by_node: Mapping[str, datetime]) -> Difference:
    root_id, path = place
    what = f"archived at these nodes (path {format_path(path)}), and the database has no such key"
    todo = "Adopt the key, or derive it again, and run this again: it is then archived here too."
    return Difference(Kind.ARCHIVED, str(root_id), tuple(by_node), what, todo)


def _said(row: AnyRow, by_node: Mapping[str, datetime], collector: Collector) -> Said | None:
    """Return what the key's own holders say; None if none of them states its archived keys."""
    spoke = frozenset(
        name
        for name, node in collector.nodes.items()
        if node.is_complete and node.states_archived and node.group == row.node_group
    )
    if row.store == Store.HSM:  # one driver speaks for its group
        holders, needed = tuple(spoke), 1
    else:
        holders = tuple(row.signers or ())
        needed = len(holders) - (row.threshold or 0) + 1
    own = _only(by_node, set(holders))
    if not own and not spoke.intersection(holders):
        return None
    return Said(own, spoke, holders, needed)


async def _rows_at(database: Database, places: Sequence[Place]) -> dict[Place, list[AnyRow]]:
    """Return the keys at places: one for each network that has been asked for."""
    ids = [key_id for place in places for key_id in ids_at(place)]
    found: dict[Place, list[AnyRow]] = {}
    for row in await database.rows(queries.ARCHIVABLE, {"ids": ids}):
        found.setdefault(_place_of(row), []).append(row)
    return found


def ids_at(place: Place) -> list[UUID]:
    """Return the ids that keys at a place can have."""
    root_id, path = place
    if not path:
        return [root_id]
    return [child_key_id(root_id, path, network) for network in (None, *Network)]


def _place_of(row: AnyRow) -> Place:
    return row.root_id or row.id, tuple(row.path or ())


def _only(by_node: Mapping[str, datetime], nodes: set[str]) -> dict[str, datetime]:
    return {name: at for name, at in by_node.items() if name in nodes}


def _parts(places: Iterable[Place]) -> Iterable[list[Place]]:
    all_places = list(places)
    return [all_places[start : start + PAGE] for start in range(0, len(all_places), PAGE)]
