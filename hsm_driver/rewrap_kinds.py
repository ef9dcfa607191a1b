"""The kinds of stored keys that a rewrap moves: one algorithm under one older master key."""

from collections.abc import Mapping
from dataclasses import dataclass

from custody.database.pool import Pool
from custody.wire.algorithms import Protection
from hsm_driver.vault import retired_master_keys

_KINDS = """
    SELECT master_key, scheme, curve, protection, count(*) AS number,
        master_key = ANY(:retired::varchar[]) AS is_retired
    FROM wrapped_keys WHERE master_key <> ALL(:newest::varchar[])
    GROUP BY master_key, scheme, curve, protection ORDER BY master_key, scheme, curve, protection
"""


@dataclass(frozen=True)
class Kind:
    """The stored keys of one algorithm under one older master key. ``to``: the newest one.

    ``why_not``: why none of them can be put under it; None if they can.
    """

    master_key: str
    to: str
    scheme: str
    curve: str
    protection: str
    keys: int
    why_not: str | None = None

    @property
    def algorithm(self) -> str:
        return f"{self.scheme}/{self.curve}"

    @property
    def facts(self) -> tuple[str, str, str, str]:
        """Return what tells the kind from others: not how many keys it has."""
        return self.master_key, self.scheme, self.curve, self.protection


async def older_kinds(pool: Pool, newest: Mapping[Protection, str]) -> list[Kind]:
    """Return the kinds under older master keys. ``newest``: where each protection's keys go."""
    retired = sorted(await retired_master_keys(pool))
    rows = await pool.rows(_KINDS, {"newest": list(newest.values()), "retired": retired})
    host = Protection.HOST.value
    return [
        Kind(
            row.master_key,
            newest[Protection.HOST if row.protection == host else Protection.HSM],
            row.scheme,
            row.curve,
            row.protection,
            row.number,
            "the master key is retired" if row.is_retired else None,
        )
        for row in rows
    ]
