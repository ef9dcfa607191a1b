"""What a group of nodes can do: the union of what its nodes have reported."""

from collections.abc import Iterable, Mapping

from sqlalchemy import select

from custody.control_plane.database import Database
from custody.control_plane.problems import Code, ProblemError
from custody.control_plane.resources.presentation import node_of
from custody.control_plane.settings import GroupsSection
from custody.control_plane.tables import nodes
from custody.wire.algorithms import Algorithm, Store
from custody.wire.resources import Node


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
        rows = await self._database.rows(
            select(nodes.c.capabilities)
            .where(nodes.c.node_group == group)
            .where(nodes.c.last_seen.is_not(None))
        )
        check_capability(group, algorithm, [row.capabilities for row in rows])

    async def nodes(self, group: str | None, sees_details: bool) -> list[Node]:
        """All nodes, or those of one group, by id."""
        statement = select(nodes).order_by(nodes.c.id)
        if group is not None:
            statement = statement.where(nodes.c.node_group == group)
        return [node_of(row, sees_details) for row in await self._database.rows(statement)]


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
