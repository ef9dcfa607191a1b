"""Detection of a connection pooler that lets several clients share one session of the server.

PgBouncer does so with pool_mode transaction and statement. Then a session's advisory lock guards
nothing, and LISTEN receives nothing, both without an error.
"""

import asyncpg

from custody.database.causes import sqlstate
from custody.database.connection import Connection
from custody.database.pool import Pool
from custody.runtime.errors import OperatorError

ROUNDS = 20
"""A pooler gives out the most recently returned connection: an idle pooler shows in one round."""

_UNKNOWN_PREPARED, _KNOWN_PREPARED = "26000", "42P05"
"""SQLSTATE for a prepared statement that this session lacks, or has already."""


class SharedSession(OperatorError):
    """The database's URL leads to a pooler that does not keep a session for each client."""

    def __init__(self) -> None:
        super().__init__(
            "the database's URL leads to a connection pooler that shares sessions between clients, "
            "as PgBouncer does with pool_mode = transaction: locks would guard nothing there, and "
            "notifications would be lost",
            "Give the URL of PostgreSQL itself, or set pool_mode = session for this database.",
        )


async def require_own_session(pool: Pool) -> None:
    """Raise SharedSession unless each connection has its own session of the server.

    The check compares the server's process ids. Without a pooler, the process id that opened the
    connection (PostgreSQL's BackendKeyData) is the id of the process that answers. A pooler sends
    another id. A pooler keeps sessions apart if each connection keeps one process, and no two
    connections have the same process.
    """
    try:
        async with pool.connection() as one:
            first = await _process(one)
            if first == one.get_server_pid():
                return
            async with pool.connection_apart() as other:
                second = await _process(other)
                for _ in range(ROUNDS):
                    if first == second or (await _process(one), await _process(other)) != (
                        first,
                        second,
                    ):
                        raise SharedSession
    except asyncpg.PostgresError as error:
        if sqlstate(error) in (_UNKNOWN_PREPARED, _KNOWN_PREPARED):
            raise SharedSession from None
        raise


async def _process(connection: Connection) -> int:
    [row] = await connection.rows("SELECT pg_backend_pid() AS process")
    process: int = row.process
    return process
