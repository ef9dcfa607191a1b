"""Pages of a list, newest first: the cursor is the last item's place in that order."""

import base64
import binascii
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

from custody.control_plane.database import AnyRow, Database
from custody.control_plane.problems import Code, ProblemError
from custody.control_plane.tables import TRANSITIONS, JobState
from custody.wire.resources import Page

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
JOINED = "/* joined */"
"""Where a list's SQL has the tables that its conditions need."""
UNFINISHED = frozenset(state for state, later in TRANSITIONS.items() if later)

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Position:
    """An item's place among all of its kind. Opaque to applications, and not a secret."""

    created_at: datetime
    id: UUID

    def __str__(self) -> str:
        text = f"{self.created_at.isoformat()} {self.id}"
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def parse(cls, cursor: str) -> "Position":
        """Read a cursor. Raises ProblemError invalid_request."""
        try:
            text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_").decode()
            created_at, _, id_ = text.partition(" ")
            position = cls(datetime.fromisoformat(created_at), UUID(id_))
        except (binascii.Error, ValueError):
            position = None
        if position is None or position.created_at.tzinfo is None:
            raise ProblemError(
                Code.INVALID_REQUEST, "cursor: give the next_cursor of an earlier page, unchanged"
            )
        return position


@dataclass(frozen=True, slots=True)
class PageRequest:
    """How many items, and after which one. ``cursor`` is None for the first page."""

    limit: int
    cursor: str | None


@dataclass(frozen=True)
class Condition:
    """SQL of a condition, with its parameters.

    ``join``: a table that the condition needs, for the place JOINED of the select. ``order``: its
    columns with the same values as created_at and id of the list's rows. PostgreSQL then reads that
    table in the order of the list.
    """

    text: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    join: str = ""
    order: tuple[str, str] | None = None


@dataclass(frozen=True)
class Narrowing:
    """Conditions of a page that are not those of its list's filters, and how to read it.

    ``any_of``: conditions of which at most one holds for a row. Each is read in the order of the
    list, so that an index of each serves. ``looked_up``: names of filters whose index is not read.
    """

    also: Sequence[Condition] = ()
    any_of: Sequence[Condition] | None = None
    looked_up: Collection[str] = ()


@dataclass(frozen=True)
class Listing:
    """A list as applications read it, newest first.

    ``select``: SQL that ends with a condition, with JOINED where a table may be added. ``table``:
    whose created_at and id are the order; the rows have both. ``filters``: conditions by name, each
    with that name as its parameter, or a function that makes the condition of the value.
    ``indexed``: names of filters of ``table`` that have an index in the order of the list.
    """

    select: str
    table: str
    filters: Mapping[str, str | Callable[[Any], str]] = field(default_factory=dict)
    indexed: Collection[str] = ()

    async def page(
        self,
        database: Database,
        request: PageRequest,
        values: Mapping[str, Any],
        convert: Callable[[AnyRow], Item],
        given: Mapping[str, Any] | None = None,
        narrowing: Narrowing = Narrowing(),
    ) -> Page[Item]:
        """Return one page. ``values``: of the select. ``given``: of filters, None for none.

        Raises ProblemError invalid_request.
        """
        also, any_of = narrowing.also, narrowing.any_of
        if any_of is not None and not any_of:
            return Page(items=[], next_cursor=None)
        filters = self._conditions(given or {})
        for name in narrowing.looked_up:
            # PostgreSQL reads no index for it, as it would for the condition itself
            filters[name] = replace(filters[name], text=f"({filters[name].text}) IS TRUE")
        conditions = [*filters.values(), *also]
        own = (f"{self.table}.created_at", f"{self.table}.id")
        order = next((each.order for each in also if each.order is not None), own)
        if request.cursor is not None:
            conditions.append(after(request.cursor, order))
        parameters = {**values, "limit": request.limit + 1}
        for condition in (*conditions, *(any_of or ())):
            parameters.update(condition.parameters)
        rows = await database.listed(self._sql(conditions, order, any_of), parameters)
        shown = rows[: request.limit]
        last = shown[-1] if len(rows) > request.limit else None
        return Page(
            items=[convert(row) for row in shown],
            next_cursor=None if last is None else str(Position(last.created_at, last.id)),
        )

    def indexed_conditions(self, given: Mapping[str, Any]) -> dict[str, Condition]:
        """Return by name the filters with an index in the order of the list."""
        return self._conditions({name: given.get(name) for name in self.indexed})

    def _conditions(self, given: Mapping[str, Any]) -> dict[str, Condition]:
        return {
            name: self._condition(name, value) for name, value in given.items() if value is not None
        }

    def _condition(self, name: str, value: Any) -> Condition:
        condition = self.filters[name]
        if isinstance(condition, str):
            return Condition(condition, {name: value})
        return Condition(condition(value))

    def _sql(
        self,
        conditions: Sequence[Condition],
        order: tuple[str, str],
        any_of: Sequence[Condition] | None,
    ) -> str:
        if any_of is None:
            return self._select(conditions, order)
        selects = (f"({self._select([*conditions, one], order)})" for one in any_of)
        last = "AS together ORDER BY created_at DESC, id DESC LIMIT :limit"
        return " ".join(("SELECT * FROM (", " UNION ALL ".join(selects), ")", last))

    def _select(self, conditions: Sequence[Condition], order: tuple[str, str]) -> str:
        select = self.select.replace(JOINED, " ".join(each.join for each in conditions))
        newest = f"ORDER BY {order[0]} DESC, {order[1]} DESC LIMIT :limit"
        return " ".join((select, *(f"AND {each.text}" for each in conditions), newest))


def after(cursor: str, order: tuple[str, str]) -> Condition:
    """Return the condition of the rows after a cursor. ``order``: the columns of a list's order.

    Raise ProblemError invalid_request.
    """
    position = Position.parse(cursor)
    return Condition(
        f"({order[0]}, {order[1]}) < (:after_time, :after_id)",
        {"after_time": position.created_at, "after_id": position.id},
    )


def is_one_of(column: str, kind: type[StrEnum]) -> Callable[[str], str]:
    """Return the filter that a column has a value of an enumeration, as text.

    PostgreSQL then plans for this value: a rare one is found by an index, and for a frequent one
    the rows are read in the order of the list.
    """
    return lambda value: f"{column} = '{kind(value).value}'"


def in_states(states: Collection[JobState]) -> str:
    """Return the condition that a job is in one of these states, as text.

    PostgreSQL uses the partial indexes of unfinished and of failed jobs only for states that it
    sees when it plans, and not for parameters.
    """
    names = ", ".join(f"'{JobState(state).value}'" for state in states)
    unfinished = " AND jobs.finished_at IS NULL" if UNFINISHED.issuperset(states) else ""
    return f"jobs.state IN ({names}){unfinished}"


def is_archived(archived: bool) -> str:
    """Return the condition that a key is archived itself, or is not.

    As text: PostgreSQL uses the partial indexes for each only if it sees the condition.
    """
    return f"keys.archived_at IS {'NOT ' if archived else ''}NULL"
