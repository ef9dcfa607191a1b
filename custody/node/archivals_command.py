"""`archivals`: what requests and operators have archived on this node, also derived keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from custody.node.archived_sql import STILL_ARCHIVED
from custody.runtime.console import Json, operator_errors, print_json, print_table

if TYPE_CHECKING:
    from custody.node.settings import NodeSettings

COLUMNS = ["key_id", "path", "archived_by", "archived_at", "operator", "reason"]

_NEWEST = f"""
    SELECT root_id, path, changed_by, changed_at, operator, reason FROM archivals AS last
    WHERE {STILL_ARCHIVED}
    ORDER BY changed_at DESC, root_id, path LIMIT :limit
"""  # noqa: S608 - of constants


def add_archivals_command(
    app: typer.Typer, settings_of: Callable[[typer.Context], NodeSettings]
) -> None:
    """Add the command to an application."""

    @app.command()
    def archivals(
        context: typer.Context,
        limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")] = 50,
        as_json: Json = False,
    ) -> None:
        """List what is archived here, and whether a request or an operator on the host did it.

        The path is m for the key itself, and m/0/5 for a key derived from it. Operator and reason
        are those of archive on the host. A request's archival has them if an operator's command has
        archived the key again in a restored database.
        """
        import asyncio

        with operator_errors():
            rows = asyncio.run(_newest(settings_of(context), limit))
        if as_json:
            print_json(rows)
        else:
            print_table(COLUMNS, [[row[name] for name in COLUMNS] for row in rows])


async def _newest(settings: NodeSettings, limit: int) -> list[dict[str, Any]]:
    from custody.node.connections import open_database

    async with open_database(settings) as database:
        rows = await database.rows(_NEWEST, {"limit": limit})
    return [
        {
            "key_id": str(row.root_id),
            "path": row.path,
            "archived_by": row.changed_by,
            "archived_at": row.changed_at.isoformat(),
            "operator": row.operator,
            "reason": row.reason,
        }
        for row in rows
    ]
