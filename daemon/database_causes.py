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
    "See that PostgreSQL runs, and that this host reaches it.",
    needs_quiet=False,
)

DISK_FULL = Cause(
    "the disk of the database server is full",
    "Free or add space on the disk of the PostgreSQL server.",
    needs_room=True,
)

READ_ONLY = Cause(
    "it takes no writes: it is a standby, or was set to read-only",
    "Point the database URL to the primary, or see why default_transaction_read_only is on.",
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
        "Raise max_connections of the PostgreSQL server, or end clients that it has too many of.",
    ),
    "57014": Cause(
        "its statements take too long",
        "See in pg_stat_activity what the PostgreSQL server is busy with, or waits for.",
    ),
    "58030": Cause(
        "the database server cannot read or write its disk",
        "See the log of the PostgreSQL server, and check its disk.",
    ),
}

_CONTENTION = ("40", "55")
"""Classes of what two transactions do to each other; the database itself is well."""

_DISCONNECTED = ("08", "57P")


def sqlstate(error: BaseException) -> str | None:
    """PostgreSQL's code for an error (appendix A); None when the server has not given one."""
    original = error.orig if isinstance(error, DBAPIError) else error
    return original.sqlstate if isinstance(original, psycopg.Error) else None


def is_read_only(error: BaseException) -> bool:
    return sqlstate(error) == "25006"


def is_contention(error: BaseException) -> bool:
    """Whether an error says that two transactions met: it tells nothing of the database."""
    return (sqlstate(error) or "").startswith(_CONTENTION)


def cause_of(error: BaseException) -> Cause:
    """Why the database cannot be used, by an error of it."""
    state = sqlstate(error)
    if state is None or state.startswith(_DISCONNECTED):
        return DOES_NOT_ANSWER
    return _BY_STATE.get(state) or Cause(
        f"it refuses to work, with SQLSTATE {state}", "See the log of the PostgreSQL server."
    )
