"""Pages of a list, newest first: the cursor is the last item's place in that order."""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Select, Table, tuple_

from custody.control_plane.database import AnyRow, Database
from custody.control_plane.problems import Code, ProblemError
from custody.wire.resources import Page

DEFAULT_LIMIT = 50
MAX_LIMIT = 200

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
    limit: int
    cursor: str | None

    async def fetch(
        self,
        database: Database,
        statement: Select[*tuple[Any, ...]],
        order_by: Table,
        convert: Callable[[AnyRow], Item],
    ) -> Page[Item]:
        """One page of a select. The table ordered by, and the rows, have created_at and id."""
        place = (order_by.c.created_at, order_by.c.id)
        if self.cursor is not None:
            after = Position.parse(self.cursor)
            statement = statement.where(tuple_(*place) < tuple_(after.created_at, after.id))
        newest_first = statement.order_by(*(column.desc() for column in place))
        rows = await database.rows(newest_first.limit(self.limit + 1))
        shown = rows[: self.limit]
        last = shown[-1] if len(rows) > self.limit else None
        return Page(
            items=[convert(row) for row in shown],
            next_cursor=None if last is None else str(Position(last.created_at, last.id)),
        )
