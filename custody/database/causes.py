"""Causes of an unusable database, from its errors: the reason and the remedy, for operators."""

from dataclasses import dataclass

import asyncpg
import psycopg
from asyncpg.exceptions import InternalClientError, TargetServerAttributeNotMatched


class Unavailable(ConnectionError):
    """The database did not answer in time, or there is no connection to it."""


class UnreadableValue(Exception):
    """A row has a value that Python cannot hold, for example an infinite time."""


DATABASE_ERRORS = (
    psycopg.Error,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    InternalClientError,
    Unavailable,
)
"""The errors that statements raise; migrations raise psycopg's."""


@dataclass(frozen=True)
class Cause:
    """Reason and remedy. ``needs_room``: small writes may still work, so they prove nothing.

    ``needs_quiet``: some statements work while others fail.
    """

    what: str
    todo: str
    needs_room: bool = False
    needs_quiet: bool = True


DOES_NOT_ANSWER = Cause(
    "the database server does not answer",
    "Check that PostgreSQL runs, and that this host can reach it.",
    needs_quiet=False,
)

DISK_FULL = Cause(
    "the disk of the database server is full",
    "Free or add space on the disk of the PostgreSQL server.",
    needs_room=True,
)

READ_ONLY = Cause(
    "the database takes no writes: it is a standby, or was set to read-only",
    "Point the database URL to the primary, or turn default_transaction_read_only off.",
)

_BY_STATE = {
    "25006": READ_ONLY,
    "53100": DISK_FULL,
    "53200": Cause(
        "the database server has run out of memory",
        "See the log of the PostgreSQL server; lower its work_mem, or give it more memory.",
    ),
    "53300": Cause(
        "the database server takes no more connections",
        "Raise max_connections of the PostgreSQL server, or close connections of other clients.",
    ),
    "57014": Cause(
        "statements take too long",
        "Check pg_stat_activity for statements that run long or wait for locks.",
    ),
    "58030": Cause(
        "the database server cannot read or write its disk",
        "See the log of the PostgreSQL server, and check its disk.",
    ),
}

_CONTENTION = ("40", "55")
"""SQLSTATE classes of conflicts between transactions; the database itself works."""

_DISCONNECTED = ("08", "57P", "25P03", "25P04", "25006")
"""SQLSTATE classes that end a connection. 25006: the server is not the primary."""

_TRANSIENT = ("08", "25006", "25P03", "25P04", "28", "3D", "40", "53", "55", "57", "58")
"""SQLSTATE classes of an unusable database. An operator may correct a refusal (28, 3D)."""

_REFUSED = ("28", "3D")


_LOST = (psycopg.OperationalError, psycopg.InterfaceError)
"""The errors that psycopg raises without a code from the server."""


def sqlstate(error: BaseException) -> str | None:
    """Return PostgreSQL's code for an error (appendix A); None if the server has not given one."""
    if isinstance(error, psycopg.Error | asyncpg.PostgresError):
        state: str | None = error.sqlstate
        return state
    return None


def is_transient(error: BaseException) -> bool:
    """Return whether the database cannot be used now.

    True for a database that is unavailable, has a full disk or takes no writes. False if the
    statement itself was wrong.
    """
    if isinstance(error, OSError | TargetServerAttributeNotMatched):
        return True
    state = sqlstate(error)
    if state is not None:
        return state.startswith(_TRANSIENT)
    return isinstance(error, _LOST)


def is_disconnected(error: BaseException) -> bool:
    """Return whether the connection is lost, or its server is not the primary."""
    if isinstance(error, Unavailable):
        return True
    return (sqlstate(error) or "").startswith(_DISCONNECTED)


def is_refused(error: BaseException) -> bool:
    """Return whether the server refuses this user, password, host or database name."""
    return (sqlstate(error) or "").startswith(_REFUSED)


def is_contention(error: BaseException) -> bool:
    """Return whether two transactions conflicted: the database itself works."""
    return (sqlstate(error) or "").startswith(_CONTENTION)


def cause_of(error: BaseException) -> Cause:
    """Return why the database cannot be used, from an error that it raised."""
    if isinstance(error, TargetServerAttributeNotMatched):
        return READ_ONLY
    state = sqlstate(error)
    if state is None or state.startswith(("08", "57P", "25P")):
        return DOES_NOT_ANSWER
    return _BY_STATE.get(state) or Cause(
        f"the database server refuses to work, with SQLSTATE {state}",
        "See the log of the PostgreSQL server.",
    )
