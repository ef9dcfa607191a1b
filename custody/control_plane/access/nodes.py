"""The nodes that the operator has registered: a certificate alone gets no work."""

from collections.abc import Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from custody.control_plane.database import AnyRow
from custody.control_plane.tables import audit_heads, audit_restores, nodes
from custody.runtime.errors import OperatorError
from custody.wire.nodes import NODE_ID, node_urn


async def add_node(
    connection: AsyncConnection, node_id: str, group: str, owner: str | None = None
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
    await connection.execute(
        insert(nodes).values(id=node_id, node_group=group, owner=owner).on_conflict_do_nothing()
    )
    row = (await connection.execute(select(nodes).where(nodes.c.id == node_id))).one()
    if (row.node_group, row.owner) != (group, owner):
        whose = "" if row.owner is None else f", as {row.owner}'s"
        raise OperatorError(
            f"node {node_id} is registered already, in group {row.node_group}{whose}",
            f"Run: control-plane node remove {node_id}, then add it again.",
        )


async def remove_node(connection: AsyncConnection, node_id: str, with_audit_heads: bool) -> None:
    """Let a node have no more work, from within a second. Raises OperatorError."""
    if await _group_of(connection, node_id) is None:
        raise OperatorError(
            f"no node {node_id} is registered", "See which are: control-plane node list"
        )
    heads = await connection.scalar(
        select(func.count()).select_from(audit_heads).where(audit_heads.c.node_id == node_id)
    )
    if heads and not with_audit_heads:
        raise OperatorError(
            f"{heads} audit heads of node {node_id} are kept here, the proof of its audit chain",
            "Run `hsm-driver audit verify` on its host, then repeat this with --with-audit-heads.",
        )
    await connection.execute(delete(audit_heads).where(audit_heads.c.node_id == node_id))
    await connection.execute(delete(audit_restores).where(audit_restores.c.node_id == node_id))
    await connection.execute(delete(nodes).where(nodes.c.id == node_id))


async def list_nodes(connection: AsyncConnection) -> Sequence[AnyRow]:
    """Every registered node, by id."""
    return (await connection.execute(select(nodes).order_by(nodes.c.id))).all()


async def _group_of(connection: AsyncConnection, node_id: str) -> str | None:
    group: str | None = await connection.scalar(
        select(nodes.c.node_group).where(nodes.c.id == node_id)
    )
    return group
