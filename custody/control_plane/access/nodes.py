"""The nodes that the operator has registered: a certificate alone gets no work."""

from collections.abc import Sequence

from custody.control_plane.database import AnyRow
from custody.database.connection import Connection
from custody.runtime.errors import OperatorError
from custody.wire.nodes import NODE_ID, node_urn

_ADD = """
    INSERT INTO nodes (id, node_group, owner) VALUES (:id, :group, :owner) ON CONFLICT DO NOTHING
"""

_NODE = "SELECT node_group, owner FROM nodes WHERE id = :id"

_COUNT_HEADS = "SELECT count(*) AS heads FROM audit_heads WHERE node_id = :id"

_REMOVE = (
    "DELETE FROM audit_heads WHERE node_id = :id",
    "DELETE FROM audit_restores WHERE node_id = :id",
    "DELETE FROM nodes WHERE id = :id",
)

_ALL = """
    SELECT id, node_group, owner, version, last_seen, health, capabilities FROM nodes ORDER BY id
"""


async def add_node(
    connection: Connection, node_id: str, group: str, owner: str | None = None
) -> None:
    """Register a node; once more with the same group and owner changes nothing.

    Raises OperatorError.
    """
    try:
        node_urn(node_id)
    except ValueError as error:
        raise OperatorError(str(error), "Give the id that its certificate names.") from None
    if not NODE_ID.fullmatch(group):
        raise OperatorError(
            f"{group!r} is not a group's name: use 1 to 63 of a-z, 0-9, '.', '_' and '-'",
            "Give the group that the node's configuration names.",
        )
    await connection.rows(_ADD, {"id": node_id, "group": group, "owner": owner})
    [row] = await connection.rows(_NODE, {"id": node_id})
    if (row.node_group, row.owner) != (group, owner):
        whose = "" if row.owner is None else f", as {row.owner}'s"
        raise OperatorError(
            f"node {node_id} is registered already, in group {row.node_group}{whose}",
            f"Run: control-plane node remove {node_id}, then add it again.",
        )


async def remove_node(connection: Connection, node_id: str, with_audit_heads: bool) -> None:
    """Let a node have no more work, from within a second. Raises OperatorError."""
    which = {"id": node_id}
    if await connection.row(_NODE, which) is None:
        raise OperatorError(
            f"no node {node_id} is registered", "See which are: control-plane node list"
        )
    [kept] = await connection.rows(_COUNT_HEADS, which)
    heads = kept.heads
    if heads and not with_audit_heads:
        raise OperatorError(
            f"{heads} audit heads of node {node_id} are kept here, the proof of its audit chain",
            "Run `hsm-driver audit verify` on its host, then repeat this with --with-audit-heads.",
        )
    for sql in _REMOVE:
        await connection.rows(sql, which)


async def list_nodes(connection: Connection) -> Sequence[AnyRow]:
    """Return every registered node, by id."""
    return await connection.rows(_ALL)
