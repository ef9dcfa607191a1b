"""Which index a page of a list with several filters is read by.

Each tag has an index in the order of lists. So has each group with a node of the owner, and so have
filters such as the name. A page reads one of them, and checks the other filters for each row that
it reads. So it reads the sparsest: the one whose next rows reach furthest into the past. PostgreSQL
cannot tell. It takes the filters for independent, but old rows often have tags, names and networks
in common that new ones do not have.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any
from uuid import UUID

from custody.control_plane.database import Database
from custody.control_plane.resources.holders import groups_of, in_each, in_one_of
from custody.control_plane.resources.metadata import ResourceMetadata
from custody.control_plane.resources.pages import Condition, Narrowing, PageRequest, after

COMPARED = 2_000
"""How many rows of each filter are compared. It costs about as much as a page of a list."""

# the number as text: for a parameter, PostgreSQL might read and sort all rows
_NEXT = """
    (SELECT * FROM ({rows}) AS every WHERE {place}
        ORDER BY created_at DESC, id DESC LIMIT {compared})
"""
_REACH = """
    (SELECT count(*) AS number, min(created_at) AS oldest FROM (
        SELECT created_at FROM ({nexts}) AS each_next
        ORDER BY created_at DESC, id DESC LIMIT {compared}) AS next) AS source_{number}
"""
_ROWS = """
    SELECT {table}.created_at, {table}.id FROM {table}
    WHERE {table}.application_id = :application AND {condition}
"""
_BEFORE_ALL = datetime.min.replace(tzinfo=UTC)


class _Kind(Enum):
    TAG = auto()
    OWNER = auto()
    OTHER = auto()


@dataclass(frozen=True, slots=True)
class _Source:
    """The rows that a filter leaves: those of any of ``selects``, SQL of created_at and id.

    ``name``: the tag, the owner, or the name of another filter.
    """

    kind: _Kind
    name: str
    selects: Sequence[str]
    parameters: Mapping[str, Any]


async def narrow(
    database: Database,
    metadata: ResourceMetadata,
    application_id: UUID,
    request: PageRequest,
    tags: Collection[str] | None,
    owner: str | None,
    others: Mapping[str, Condition],
) -> Narrowing:
    """Return the conditions that a row has all tags, and that a node of the owner holds its key.

    ``tags``, ``owner``: None for any. ``others``: by name, filters of the page that have an index
    in the order of the list. :application is the application's id in all conditions.

    Raise ProblemError invalid_request.
    """
    table = metadata.table
    groups = [] if owner is None else await groups_of(database, owner)
    if owner is not None and not groups:
        return Narrowing(any_of=[])
    held = in_each(table, groups)
    sources = [
        _Source(_Kind.TAG, tag, [metadata.rows_of_tag(f"tag_{number}")], {f"tag_{number}": tag})
        for number, tag in enumerate(sorted(set(tags or ())))
    ]
    if not sources and not groups:
        return Narrowing()
    sources += [_source(_Kind.OTHER, name, table, [other]) for name, other in others.items()]
    if groups:
        sources.append(_source(_Kind.OWNER, owner or "", table, held))
    if len(sources) > 1:
        sources = await _sparsest_first(database, application_id, sources, request)
    names = [source.name for source in sources if source.kind is _Kind.TAG]
    first = sources[0].kind
    tagged = metadata.have_tags(names) if first is _Kind.TAG else metadata.are_tagged(names)
    looked_up = {source.name for source in sources[1:] if source.kind is _Kind.OTHER}
    if first is _Kind.OWNER or not groups:
        return Narrowing([tagged], held if groups else None, looked_up)
    return Narrowing([tagged, in_one_of(table, groups)], looked_up=looked_up)


def _source(kind: _Kind, name: str, table: str, any_of: Sequence[Condition]) -> _Source:
    selects = [_ROWS.format(table=table, condition=each.text) for each in any_of]
    return _Source(kind, name, selects, _parameters(any_of))


def _parameters(all_of: Iterable[Condition | _Source]) -> dict[str, Any]:
    return {name: value for each in all_of for name, value in each.parameters.items()}


async def _sparsest_first(
    database: Database, application_id: UUID, sources: Sequence[_Source], request: PageRequest
) -> list[_Source]:
    """Return the sources: first those with the fewest rows, then those that reach furthest back.

    It reads at most COMPARED rows of each select, however many there are.
    """
    place = Condition("true")
    if request.cursor is not None:
        place = after(request.cursor, ("created_at", "id"))
    values = {"application": application_id, **place.parameters, **_parameters(sources)}
    texts = [_reach(number, source, place.text) for number, source in enumerate(sources)]
    (row,) = await database.listed(" ".join(("SELECT * FROM", ", ".join(texts))), values)

    def distance(index: int) -> tuple[int, datetime]:
        number, oldest = row[2 * index : 2 * index + 2]
        return number, oldest or _BEFORE_ALL

    return [sources[index] for index in sorted(range(len(sources)), key=distance)]


def _reach(number: int, source: _Source, place: str) -> str:
    nexts = (_NEXT.format(rows=rows, place=place, compared=COMPARED) for rows in source.selects)
    return _REACH.format(nexts=" UNION ALL ".join(nexts), compared=COMPARED, number=number)
