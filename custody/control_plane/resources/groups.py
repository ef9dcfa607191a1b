"""What a group of nodes can do: the union of what its nodes have reported."""

from collections.abc import Iterable, Mapping

from custody.control_plane.database import Database
from custody.control_plane.problems import Code, ProblemError
from custody.control_plane.resources.presentation import node_of
from custody.control_plane.settings import GroupsSection
from custody.wire.algorithms import Algorithm, Store
from custody.wire.resources import Node

_CAPABILITIES = """
    SELECT capabilities FROM nodes WHERE node_group = :group AND last_seen IS NOT NULL
"""

_NODES = """
    SELECT id, node_group, version, capabilities, health, last_seen FROM nodes
    WHERE CAST(:group AS varchar) IS NULL OR node_group = :group ORDER BY id
"""


class Groups:
    """Which group serves a store, and whether it can."""

    def __init__(self, database: Database, settings: GroupsSection) -> None:
        self._database = database
        self._settings = settings

    def serving(self, store: Store) -> str:
        """The group of nodes that serves a store."""
        return self._settings.serving(store)

    async def check(self, group: str, algorithm: Algorithm) -> None:
        """Raises ProblemError when no node of the group can do the algorithm."""
        rows = await self._database.rows(_CAPABILITIES, {"group": group})
        check_capability(group, algorithm, [row.capabilities for row in rows])

    async def nodes(self, group: str | None, sees_details: bool) -> list[Node]:
        """All nodes, or those of one group, by id."""
        rows = await self._database.rows(_NODES, {"group": group})
        return [node_of(row, sees_details) for row in rows]


def check_capability(
    group: str, algorithm: Algorithm, reported: Iterable[Mapping[str, str]]
) -> None:
    """Raise ProblemError unless a node of the group has reported the algorithm."""
    capabilities = list(reported)
    if not capabilities:
        raise ProblemError(
            Code.NO_CAPABLE_NODE,
            f"No node of group {group} has reported yet. Register one with "
            f"`control-plane node add ID --group {group}`, start it, and ask again.",
        )
    known = sorted({name for one in capabilities for name in one})
    if str(algorithm) not in known:
        raise ProblemError(
            Code.UNSUPPORTED_ALGORITHM,
            f"No node of group {group} can do {algorithm}; what they can do: "
            f"{', '.join(known) or 'nothing'}.",
        )
