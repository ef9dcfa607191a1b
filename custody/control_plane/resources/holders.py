"""Who holds the keys of a list: the node groups and signer groups with nodes of an owner."""

from custody.control_plane.database import Database
from custody.control_plane.resources.pages import Condition

_HOLDERS = """
    SELECT 'signer_group' AS kind, group_name AS name
    FROM signer_group_members JOIN nodes ON nodes.id = signer WHERE owner = :owner
    UNION
    SELECT 'node_group', node_group FROM nodes WHERE owner = :owner
    ORDER BY kind, name
"""


async def held_by(database: Database, table: str, owner: str | None) -> list[Condition] | None:
    """Return conditions, of which one holds for a row whose key a node of the owner holds.

    ``table``: keys or wallets. None for no owner. A key in shares is held by each signer of its
    group, and another key by each driver of its node group.
    """
    if owner is None:
        return None
    is_in_shares = {"signer_group": "", "node_group": f" AND {table}.signer_group IS NULL"}
    return [
        Condition(
            f"{table}.{row.kind} = :holder_{number}{is_in_shares[row.kind]}",
            {f"holder_{number}": row.name},
        )
        for number, row in enumerate(await database.rows(_HOLDERS, {"owner": owner}))
    ]
