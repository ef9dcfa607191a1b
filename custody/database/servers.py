"""The servers that a URL names: which of them to connect to."""

from typing import Any

import asyncpg

from custody.database import connection as kept
from custody.database.causes import DATABASE_ERRORS, is_refused, is_transient
from custody.database.connection import Connection, Row
from custody.database.url import CONNECT_SECONDS, asyncpg_dsns


class Servers:
    """Tries one server after the other, and begins with the one that was connected to last.

    Each server has CONNECT_SECONDS. asyncpg has one time limit for all servers of a URL: a host
    that is switched off would use it up before the standby is tried.
    """

    def __init__(self, url: str, name: str) -> None:
        self._dsns = asyncpg_dsns(url)
        self._last = 0
        self._options: dict[str, Any] = {
            "timeout": CONNECT_SECONDS,
            "command_timeout": kept.ANSWER_SECONDS,
            "connection_class": Connection,
            "record_class": Row,
            "max_cached_statement_lifetime": 0,
            "server_settings": {"application_name": name},
        }

    async def connect(self) -> Connection:
        """Connect to the first server that accepts. Raise an error of DATABASE_ERRORS, OSError.

        If no server accepts, the error is one that may pass by itself, if there is such an error.
        """
        failures: list[Exception] = []
        for index in self._order():
            try:
                connection: Connection = await asyncpg.connect(self._dsns[index], **self._options)
            except (OSError, *DATABASE_ERRORS) as error:
                failures.append(error)
            else:
                self._last = index
                return connection
        raise min(failures, key=_rank)

    def _order(self) -> list[int]:
        others = [index for index in range(len(self._dsns)) if index != self._last]
        return [self._last, *others]


def _rank(error: Exception) -> int:
    """Return 0 for the error that says most about why no server accepts.

    During a failover the primary does not answer and the standby takes no writes: the first of
    these is the cause. A refusal by one server comes later: the other may accept again.
    """
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return 2
    return 1 if is_refused(error) or not is_transient(error) else 0
