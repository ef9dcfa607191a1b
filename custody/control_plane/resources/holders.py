"""Who holds the keys of a list: the node groups and signer groups with nodes of an owner."""

from dataclasses import dataclass

from custody.control_plane.database import Database
from custody.control_plane.resources.pages import Condition

_HOLDERS = """
    SELECT 'signer_group' AS kind, group_name AS name
    FROM signer_group_members JOIN nodes ON nodes.id = signer WHERE owner = :owner
    UNION
    SELECT 'node_group', node_group FROM nodes WHERE owner = :owner
    ORDER BY kind, name
"""

# the conditions of the partial indexes
_IN_GROUP = {
    "signer_group": "{table}.signer_group = :{parameter}",
    "node_group": "{table}.node_group = :{parameter} AND {table}.signer_group IS NULL",
}

_IN_A_GROUP = """
    CASE WHEN {table}.signer_group IS NULL
        THEN {table}.node_group = ANY(CAST(:node_groups AS varchar[]))
        ELSE {table}.signer_group = ANY(CAST(:signer_groups AS varchar[])) END
"""


@dataclass(frozen=True, slots=True)
class Group:
    """A group with a node of an owner. ``kind``: the column of wallets and keys with its name."""

    kind: str
    name: str


async def groups_of(database: Database, owner: str) -> list[Group]:
    """Return the groups that have a node of this owner.

    A key in shares is held by each signer of its signer group, and another key by each driver of
    its node group.
    """
    rows = await database.rows(_HOLDERS, {"owner": owner})
    return [Group(row.kind, row.name) for row in rows]


def in_each(table: str, groups: list[Group]) -> list[Condition]:
    """Return a condition for each group, with an index in the order of lists.

    At most one of them holds for a row. ``table``: keys or wallets.
    """
    return [
        Condition(
            _IN_GROUP[group.kind].format(table=table, parameter=f"holder_{number}"),
            {f"holder_{number}": group.name},
        )
        for number, group in enumerate(groups)
    ]


def in_one_of(table: str, groups: list[Group]) -> Condition:
    """Return the condition that one of the groups holds a row's key. No index serves it."""
    names = {
        f"{kind}s": [group.name for group in groups if group.kind == kind] for kind in _IN_GROUP
    }
    return Condition(_IN_A_GROUP.format(table=table), names)
