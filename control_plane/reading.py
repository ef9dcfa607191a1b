"""Reads: one statement, one round trip, and a second try when a pooled connection was dead."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Executable, Row
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

Result = TypeVar("Result")
AnyRow = Row[*tuple[Any, ...]]


async def once_more_if_disconnected(work: Callable[[], Awaitable[Result]]) -> Result:
    """Run something that may be run twice; again when its pooled connection turned out dead.

    After PostgreSQL was restarted every pooled connection is dead; the pool notices at the first
    use and replaces them all, so one more try is enough. What fails again is raised.
    """
    try:
        return await work()
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
    return await work()


class Reader:
    """Reads outside of transactions: no BEGIN and no COMMIT to wait for."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")

    async def rows(
        self, statement: Executable, parameters: dict[str, Any] | None = None
    ) -> Sequence[AnyRow]:
        """All rows of a statement."""

        async def read() -> Sequence[AnyRow]:
            async with self._engine.connect() as connection:
                return (await connection.execute(statement, parameters)).all()

        return await once_more_if_disconnected(read)

    async def row(
        self, statement: Executable, parameters: dict[str, Any] | None = None
    ) -> AnyRow | None:
        """The first row, or None."""
        return next(iter(await self.rows(statement, parameters)), None)
