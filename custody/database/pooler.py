"""Finds a connection pooler that lets several clients share one session of the server.

PgBouncer does so with pool_mode transaction and statement. Then a session's advisory lock guards
nothing, and LISTEN hears nothing, both without an error.
"""

import asyncpg

from custody.database.causes import sqlstate
from custody.database.connection import Connection
from custody.database.pool import Pool
from custody.runtime.errors import OperatorError

ROUNDS = 20
"""A pooler hands out the connection that came back last, so one round shows it on an idle one."""

_UNKNOWN_PREPARED, _KNOWN_PREPARED = "26000", "42P05"
"""SQLSTATE of a prepared statement that another session has, and ours has not; and vice versa."""


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
    """Raise SharedSession unless each connection has a session of the server for itself.

    The server's process id says so: without a pooler, the one that the connection was opened with
    (PostgreSQL's BackendKeyData) is the one that answers. A pooler sends an id of its own. It keeps
    sessions apart if no process answers on two connections, and each connection keeps its process.
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
