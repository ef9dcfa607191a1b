"""Forgets the tickets that were used, long after nobody could use them again."""

import asyncio
from datetime import timedelta

import structlog

from daemon.database import is_transient
from daemon.statements import Statements

log = structlog.get_logger()

INTERVAL = 3600.0

_FORGET = """
    DELETE FROM used_tickets WHERE used_at < now() - %(older_than)s RETURNING ceremony
"""


async def forget(statements: Statements, older_than: timedelta) -> int:
    """How many were forgotten. ``older_than``: longer than any ticket holds, by far."""
    return len(await statements.rows(_FORGET, {"older_than": older_than}))


async def forget_for_ever(statements: Statements, older_than: timedelta) -> None:
    """Forget now and then, until cancelled."""
    while True:
        try:
            if forgotten := await forget(statements, older_than):
                log.info("forgot used tickets", rows=forgotten)
        except Exception as error:
            if not is_transient(error):
                raise
        await asyncio.sleep(INTERVAL)
