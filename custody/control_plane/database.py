"""The control plane's database: one statement a round trip, or a transaction of several.

Statements are SQLAlchemy's, compiled once. custody/database/statements.py runs them.
Transactions of several statements run on SQLAlchemy's pool.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from psycopg import AsyncCursor
from sqlalchemy import ClauseElement, Executable
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.compiler import SQLCompiler

from custody.database.engine import DATABASE_ERRORS, create_engine, is_transient
from custody.database.health import DatabaseHealth
from custody.database.pool import Pool
from custody.database.statements import Connection, Statements

Result = TypeVar("Result")
AnyRow = Any
"""A row, its columns as attributes."""

NAME = "control-plane"
CONNECTIONS = 8
TRANSACTIONS = 4

_DIALECT: Dialect = PGDialect_psycopg()  # type: ignore[no-untyped-call]


class Database:
    """Use it as a context. Its parts connect when they are first used.

    ``health`` is told of every statement that fails.
    """

    def __init__(self, url: str) -> None:
        self._engine = create_engine(url, TRANSACTIONS, NAME)
        self._statements = Statements(url, CONNECTIONS, NAME)
        self._hasty = Statements(url, CONNECTIONS, NAME, durable=False)
        self._probes = Pool(url, 1, NAME)
        self.health = DatabaseHealth(self._probes)

    async def __aenter__(self) -> "Database":
        await self._statements.__aenter__()
        await self._hasty.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._statements.__aexit__()
        await self._hasty.__aexit__()
        await self._probes.__aexit__()
        await self._engine.dispose()

    async def rows(
        self, statement: Executable, parameters: dict[str, Any] | None = None
    ) -> Sequence[AnyRow]:
        """All rows of a statement, a transaction of its own; it may be run twice."""
        compiled = _compiled(statement)
        with self._noting():
            return await self._statements.rows(compiled.text, compiled.bind(parameters))

    async def row(
        self, statement: Executable, parameters: dict[str, Any] | None = None
    ) -> AnyRow | None:
        """The first row, or None."""
        return next(iter(await self.rows(statement, parameters)), None)

    async def hastily(
        self, statement: Executable, parameters: dict[str, Any] | None = None
    ) -> Sequence[AnyRow]:
        """As ``rows``, without waiting for the disk.

        What a crash of the database server loses of it must be made good by itself: a lost lease
        lapses anyway, a lost audit head is followed by the next.
        """
        compiled = _compiled(statement)
        with self._noting():
            return await self._hasty.rows(compiled.text, compiled.bind(parameters))

    @asynccontextmanager
    async def pipeline(self) -> AsyncIterator["Pipeline"]:
        """A transaction whose statements travel together: a round trip for each time of reading.

        Its commit does not wait for the disk, unless a statement in it says that it should.
        """
        with self._noting():
            async with (
                self._hasty.connection() as connection,
                connection.pipeline(),
                connection.transaction(),
            ):
                yield Pipeline(connection)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Several statements: committed at the end, rolled back by an error."""
        with self._noting():
            async with self._engine.begin() as connection:
                yield connection

    @contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except DATABASE_ERRORS as error:
            if is_transient(error):
                self.health.failed(error)
            raise


class Pipeline:
    """A transaction under way. Statements are sent at once, and awaited where rows are read."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def send(
        self, statement: Executable, parameters: dict[str, Any] | None = None
    ) -> AsyncCursor[Any]:
        """Begin a statement; its errors come with a later reading, or with the commit."""
        compiled = _compiled(statement)
        bound = compiled.bind(parameters)
        return await self._connection.execute(compiled.text, bound, prepare=True)

    async def rows(
        self, statement: Executable, parameters: dict[str, Any] | None = None
    ) -> Sequence[AnyRow]:
        """All rows of a statement of this transaction."""
        return await (await self.send(statement, parameters)).fetchall()


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A statement in psycopg's form; ``values`` are those it brings itself."""

    text: str
    values: dict[str, Any]
    processors: Mapping[str, Callable[[Any], Any]]

    def bind(self, parameters: dict[str, Any] | None) -> dict[str, Any]:
        bound = self.values if parameters is None else self.values | parameters
        if self.processors:
            bound = bound | {name: to(bound[name]) for name, to in self.processors.items()}
        return bound


@lru_cache(maxsize=256)
def _compiled(statement: Executable) -> _Compiled:
    assert isinstance(statement, ClauseElement)
    compiled = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
    assert isinstance(compiled, SQLCompiler)
    processors: dict[str, Callable[[Any], Any]] = {}
    names = set(compiled.bind_names.values())
    # each value of an IN has a name of its own
    values = {name: value for name, value in compiled.params.items() if name not in names}
    for bind, name in compiled.bind_names.items():
        process = bind.type.dialect_impl(_DIALECT).bind_processor(_DIALECT)
        if process is not None:
            processors[name] = process
        if not bind.required:
            values[name] = bind.effective_value
    return _Compiled(compiled.string, values, processors)


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
