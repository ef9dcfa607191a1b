"""One connection to PostgreSQL, with a time limit for everything that may hang."""

import asyncio
import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
from asyncpg.exceptions import ConnectionDoesNotExistError, InternalClientError

from custody.database.causes import Unavailable, UnreadableValue
from custody.database.query import parsed
from custody.database.url import KEEPALIVES, SILENCE_SECONDS

STATEMENT_SECONDS = 30
"""The server ends a statement that takes longer, also one that waits for a lock."""
ANSWER_SECONDS = STATEMENT_SECONDS + 5
"""A silent server raises TimeoutError, a transient error, after these seconds."""
IDLE_IN_TRANSACTION_SECONDS = 60
"""The server ends a transaction whose client is silent, and so releases its locks."""
CLIENT_CHECK_SECONDS = 5
"""The server ends a statement whose client has closed the connection, after at most so long."""


@contextmanager
def known_errors() -> Iterator[None]:
    """Turn network errors into Unavailable, and a value out of range into UnreadableValue."""
    try:
        yield
    except OSError as error:  # also a TimeoutError
        raise Unavailable(_said(error)) from None
    except OverflowError as error:
        raise UnreadableValue(str(error)) from None
    except InternalClientError as error:
        if type(error) is not InternalClientError:
            raise
        # the server has announced the end of an idle connection; asyncpg has not read the end yet
        raise Unavailable("the server has ended the connection") from None


def _said(error: OSError) -> str:
    """Return an error in the words of the operating system, which asyncio leaves out."""
    if error.errno is None or error.errno <= 0:
        return str(error) or "no answer in time"
    return f"{os.strerror(error.errno)}: {error.strerror}"


_SETTINGS = """
    SELECT set_config('statement_timeout', :statement, false),
        set_config('idle_in_transaction_session_timeout', :idle, false),
        set_config('client_connection_check_interval', :check, false),
        set_config('synchronous_commit', :commit, false),
        set_config('default_transaction_isolation', 'read committed', false),
        set_config('max_parallel_workers_per_gather', '0', false),
        set_config('jit', 'off', false)
"""


_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class Row(asyncpg.Record):  # type: ignore[misc]  # has no types
    """A row; its columns are attributes."""

    def __getattr__(self, name: str) -> Any:
        """Return a column's value. Raise AttributeError."""
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class Connection(asyncpg.Connection):  # type: ignore[misc]  # has no types
    """Runs SQL with parameters written as ``:name``, and prepares each text once."""

    async def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        """Return all rows; none for a statement without a result. Raise Unavailable."""
        query = parsed(sql)
        values = query.bind(parameters)
        with known_errors():
            found: list[Row] = await self.fetch(query.text, *values)
        return found

    async def row(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Row | None:
        """Return the first row, or None."""
        return next(iter(await self.rows(sql, parameters)), None)

    async def run(self, sql: str) -> str:
        """Run one or several statements without parameters. Return the last command tag.

        Raise Unavailable.
        """
        with known_errors():
            tag: str = await self.execute(sql)
        return tag

    async def ended(self) -> None:
        """Wait until the connection is lost or closed, by either side."""
        end = asyncio.Event()
        self.add_termination_listener(lambda _: end.set())
        if not self.is_closed():
            await end.wait()

    def _check_open(self) -> None:
        # asyncpg would raise InterfaceError, its error for a caller's mistake
        if self.is_closed():
            raise ConnectionDoesNotExistError("the connection is closed")

    def _cancel_current_command(self, sent: asyncio.Future[None], *_: object) -> None:
        """Close the connection of a statement that its caller stopped waiting for.

        asyncpg would send a cancel request. If the statement is a commit that waits for a
        synchronous standby, the request ends that wait: the row becomes visible, but is on the
        primary alone. A process could then report a key or a signature that is lost with the
        primary. A closed connection does not end that wait.

        This overrides a private method of asyncpg. test_replicas.py fails if asyncpg renames it.
        """
        sent.set_result(None)
        self._loop.call_soon(self.terminate)  # after asyncpg has told the caller

    def notice_silence(self) -> None:
        """Have the kernel detect a lost server host, also on an idle connection."""
        transport: Any = self._transport
        link = transport.get_extra_info("socket")
        if link is None or link.family == socket.AF_UNIX:
            return
        for option, value in (
            (socket.TCP_KEEPIDLE, KEEPALIVES["keepalives_idle"]),
            (socket.TCP_KEEPINTVL, KEEPALIVES["keepalives_interval"]),
            (socket.TCP_KEEPCNT, KEEPALIVES["keepalives_count"]),
            (socket.TCP_USER_TIMEOUT, SILENCE_SECONDS * 1000),
        ):
            link.setsockopt(socket.IPPROTO_TCP, option, value)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


_MORE_SETTINGS = """
    SELECT set_config(name, value, false)
    FROM unnest(CAST(:names AS text[]), CAST(:values AS text[])) AS settings(name, value)
"""


async def prepare(
    connection: Connection, *, durable: bool = True, settings: Mapping[str, str] | None = None
) -> None:
    """Set a new connection's timeouts, isolation level, planner settings and codecs.

    They are set by a statement: PgBouncer refuses them as startup parameters. The isolation level
    may differ at the server. Under another one, a statement that waited for a lock would not see
    what the lock's last holder has committed.

    Statements read few rows. Among millions of stored rows the planner may expect more, and have
    parallel workers or compiled code ready, which takes many times as long as the statement.

    ``settings``: further ones of PostgreSQL, by name.
    """
    connection.notice_silence()
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=_json_text, decoder=json.loads
    )
    await connection.set_type_codec(
        "timestamptz",
        schema="pg_catalog",
        encoder=_microseconds,
        decoder=_time,
        format="tuple",
    )
    await connection.rows(
        _SETTINGS,
        {
            "statement": f"{STATEMENT_SECONDS}s",
            "idle": f"{IDLE_IN_TRANSACTION_SECONDS}s",
            "check": f"{CLIENT_CHECK_SECONDS}s",
            "commit": "on" if durable else "off",
        },
    )
    if settings:
        values = {"names": list(settings), "values": list(settings.values())}
        await connection.rows(_MORE_SETTINGS, values)


def _microseconds(time: datetime) -> tuple[int]:
    """Return a time as PostgreSQL stores it: microseconds since 2000. Raise ValueError."""
    if time.tzinfo is None:
        raise ValueError("the time has no time zone")
    return ((time - _EPOCH) // timedelta(microseconds=1),)


def _time(value: tuple[int]) -> datetime:
    """Return a time in UTC. Raise OverflowError, also for infinity: asyncpg would make it naive."""
    return _EPOCH + timedelta(microseconds=value[0])


def _json_text(value: Any) -> str:
    """Return a value as JSON; a str is JSON already."""
    return value if isinstance(value, str) else json.dumps(value)
