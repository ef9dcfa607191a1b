"""Faults of a database at one statement: each is what a real server or network does there."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import pytest
from asyncpg.exceptions import ConnectionDoesNotExistError

from custody.database.connection import Connection


class Fault(StrEnum):
    """``LOST_BEFORE``: the server never gets the statement. ``LOST_AFTER``: it gives no answer.

    The others are SQLSTATEs with which the server ends the statement instead of doing it.
    """

    LOST_BEFORE = "connection lost before"
    LOST_AFTER = "connection lost after"
    SERIALIZATION = "40001"
    DISK_FULL = "53100"
    READ_ONLY = "25006"


class BrokenStatements:
    """Breaks one statement of all that our connections run from ``arm`` on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fired: str | None = None
        """The statement that was broken; None: there were fewer statements."""
        self._fault: Fault | None = None
        self._left = 0
        for name in ("rows", "run"):
            monkeypatch.setattr(Connection, name, self._breaking(getattr(Connection, name)))

    def arm(self, number: int, fault: Fault) -> None:
        """Break the statement with this number, counted from 1."""
        self._left, self._fault, self.fired = number, fault, None

    def disarm(self) -> None:
        self._fault = None

    def _breaking(self, whole: Callable[..., Any]) -> Callable[..., Any]:
        async def broken(connection: Connection, sql: str, *parameters: Any) -> Any:
            fault = self._due()
            if fault is None:
                return await whole(connection, sql, *parameters)
            self.fired = sql
            if fault is Fault.LOST_AFTER:
                await whole(connection, sql, *parameters)
            if fault in (Fault.LOST_BEFORE, Fault.LOST_AFTER):
                connection.terminate()
                raise ConnectionDoesNotExistError("the connection was lost")
            return await connection.execute(
                f"DO $$ BEGIN RAISE EXCEPTION 'broken' USING ERRCODE = '{fault.value}'; END $$"
            )

        return broken

    def _due(self) -> Fault | None:
        if self._fault is None:
            return None
        self._left -= 1
        if self._left:
            return None
        fault, self._fault = self._fault, None
        return fault
