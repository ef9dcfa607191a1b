"""A database that goes away and comes back, while the server and all else runs on."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

_END = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"


class Outage:
    """Of one database, for everybody."""

    def __init__(self, url: str) -> None:
        server, _, self._name = url.rpartition("/")
        self._admin = f"{server}/postgres"

    def begin(self) -> None:
        """End every connection, and let nobody connect."""
        self._allow(False)
        self.cut()

    def end(self) -> None:
        self._allow(True)

    def cut(self) -> None:
        """End every connection of the moment."""
        with psycopg.connect(self._admin, autocommit=True) as connection:
            connection.execute(_END, (self._name,))

    def _allow(self, is_allowed: bool) -> None:
        statement = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(
            sql.Identifier(self._name), sql.Literal(is_allowed)
        )
        with psycopg.connect(self._admin, autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def away(url: str) -> Iterator[None]:
    outage = Outage(url)
    outage.begin()
    try:
        yield
    finally:
        outage.end()
