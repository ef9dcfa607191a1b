"""Pages of a list, newest first: the cursor is the last item's place in that order."""

import base64
import binascii
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
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
class Listing:
    """A list as applications read it, newest first.

    ``select``: SQL that ends with a condition. ``table``: whose created_at and id are the order;
    the rows have both. ``filters``: conditions by name, each with that name as its parameter, or a
    function that makes the condition of the value.
    """

    select: str
    table: str
    filters: Mapping[str, str | Callable[[Any], str]] = field(default_factory=dict)

    async def page(
        self,
        database: Database,
        request: PageRequest,
        values: Mapping[str, Any],
        convert: Callable[[AnyRow], Item],
        given: Mapping[str, Any] | None = None,
    ) -> Page[Item]:
        """Return one page. ``values``: of the select. ``given``: of filters, None for none.

        Raises ProblemError invalid_request.
        """
        filters = {name: value for name, value in (given or {}).items() if value is not None}
        parts = [self.select, *(f"AND {self._condition(name, filters)}" for name in filters)]
        place: dict[str, Any] = {}
        if request.cursor is not None:
            after = Position.parse(request.cursor)
            place = {"after_time": after.created_at, "after_id": after.id}
            parts.append(
                f"AND ({self.table}.created_at, {self.table}.id) < (:after_time, :after_id)"
            )
        parts.append(f"ORDER BY {self.table}.created_at DESC, {self.table}.id DESC LIMIT :limit")
        parameters = {
            name: value for name, value in filters.items() if not callable(self.filters[name])
        }
        rows = await database.rows(
            " ".join(parts), {**values, **parameters, **place, "limit": request.limit + 1}
        )
        shown = rows[: request.limit]
        last = shown[-1] if len(rows) > request.limit else None
        return Page(
            items=[convert(row) for row in shown],
            next_cursor=None if last is None else str(Position(last.created_at, last.id)),
        )

    def _condition(self, name: str, filters: Mapping[str, Any]) -> str:
        condition = self.filters[name]
        return condition if isinstance(condition, str) else condition(filters[name])


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
