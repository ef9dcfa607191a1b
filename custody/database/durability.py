"""Settings of the server that decide whether a commit survives a crash."""

from dataclasses import dataclass

import structlog

from custody.database.pool import Pool

DURABILITY_TODO = (
    "Turn these on in postgresql.conf of the database server, and restart or reload it."
)

_SETTINGS = """
    SELECT coalesce(array_agg(name ORDER BY name) FILTER (WHERE reset_val = 'off'), '{}') AS off,
        current_setting('synchronous_standby_names') <> '' AS waits
    FROM pg_settings WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit')
"""
"""``reset_val`` is the server's own value: our sessions set synchronous_commit themselves."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Durability:
    """``off``: settings that are off and should be on. ``waits``: commits wait for a standby."""

    off: tuple[str, ...]
    waits: bool

    @property
    def problem(self) -> str | None:
        """Return what a crash of the server could lose; None if commits are safe."""
        if not self.off:
            return None
        return f"{', '.join(self.off)}: off, so a crash of the server can lose or damage rows"


async def read_durability(pool: Pool) -> Durability:
    """Read the server's settings. Raise an error of DATABASE_ERRORS."""
    [row] = await pool.rows(_SETTINGS)
    return Durability(tuple(row.off), row.waits)


async def warn_of_durability(pool: Pool) -> None:
    """Log the problem, if there is one."""
    problem = (await read_durability(pool)).problem
    if problem is not None:
        _log.warning("database can lose commits", problem=problem, todo=DURABILITY_TODO)
