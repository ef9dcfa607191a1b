"""Why a database cannot be used, by what it answered: in words for people, with what helps."""

from dataclasses import dataclass

import psycopg
from sqlalchemy.exc import DBAPIError


@dataclass(frozen=True)
class Cause:
    """``needs_room``: small writes may still work, so that they prove nothing.

    ``needs_quiet``: some statements work while others fail.
    """

    what: str
    todo: str
    needs_room: bool = False
    needs_quiet: bool = True


DOES_NOT_ANSWER = Cause(
    "it does not answer",
    "Check that PostgreSQL runs, and that this host can reach it.",
    needs_quiet=False,
)

DISK_FULL = Cause(
    "the disk of the database server is full",
    "Free or add space on the disk of the PostgreSQL server.",
    needs_room=True,
)

READ_ONLY = Cause(
    "it takes no writes: it is a standby, or was set to read-only",
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
        "its statements take too long",
        "Check pg_stat_activity: what is the PostgreSQL server busy with, or waiting for?",
    ),
    "58030": Cause(
        "the database server cannot read or write its disk",
        "See the log of the PostgreSQL server, and check its disk.",
    ),
}

_CONTENTION = ("40", "55")
"""SQLSTATE classes of conflicts between transactions; the database itself works."""

_DISCONNECTED = ("08", "57P")


def sqlstate(error: BaseException) -> str | None:
    """PostgreSQL's code for an error (appendix A); None when the server has not given one."""
    original = error.orig if isinstance(error, DBAPIError) else error
    return original.sqlstate if isinstance(original, psycopg.Error) else None


def is_read_only(error: BaseException) -> bool:
    return sqlstate(error) == "25006"


def is_contention(error: BaseException) -> bool:
    """Whether two transactions conflicted: such an error says nothing about the database."""
    return (sqlstate(error) or "").startswith(_CONTENTION)


def cause_of(error: BaseException) -> Cause:
    """Return why the database cannot be used, from an error that it raised."""
    state = sqlstate(error)
    if state is None or state.startswith(_DISCONNECTED):
        return DOES_NOT_ANSWER
    return _BY_STATE.get(state) or Cause(
        f"it refuses to work, with SQLSTATE {state}", "See the log of the PostgreSQL server."
    )
