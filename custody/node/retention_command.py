"""`retention`: how long the group's journal keeps outcomes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from custody.runtime.console import Json, operator_errors, out, print_json, print_table
from custody.runtime.console import application as new_application
from custody.runtime.operators import operator_name, reason_of

if TYPE_CHECKING:
    from custody.database.retention import Retention
    from custody.node.settings import NodeSettings


def application(settings_of: Callable[[typer.Context], NodeSettings]) -> typer.Typer:
    app = new_application("How long the journal of this node's group keeps outcomes.")

    @app.command()
    def show(context: typer.Context, as_json: Json = False) -> None:
        """Show the setting, who changed it last, and after how many days rows are deleted now."""
        import asyncio

        with operator_errors():
            found = asyncio.run(_read(settings_of(context)))
        if as_json:
            print_json(found.shown)
        else:
            print_table(["setting", "value"], list(found.shown.items()))

    @app.command("set")
    def set_days(
        context: typer.Context,
        days: Annotated[int, typer.Argument(help="Days after an outcome was committed.")],
        reason: Annotated[str, typer.Option(help="Who decided, and why. For the audit.")],
    ) -> None:
        """Change the setting for all nodes with this database, within a minute.

        No node of the group does a job that lives longer. A shorter setting counts for rows that
        are new; rows that are there now stay as long as the earlier setting says.
        """
        import asyncio

        with operator_errors():
            why = reason_of(reason, "our rules say one year, ticket 31")
            asyncio.run(_set(settings_of(context), days, why))
        out.print(f"the journal keeps outcomes for {days} days")

    return app


async def _read(settings: NodeSettings) -> Retention:
    from custody.node.connections import open_database
    from custody.node.journal_retention import journal_retention

    async with open_database(settings) as database:
        return await journal_retention(database.rows)


async def _set(settings: NodeSettings, days: int, reason: str) -> None:
    from custody.database.retention import require_days
    from custody.node.audited_changes import AuditedChanges
    from custody.node.connections import open_database
    from custody.node.journal_retention import set_journal_retention

    require_days(days)
    async with open_database(settings) as database:
        changes = AuditedChanges(database, settings.node.id)
        await set_journal_retention(changes, days, operator_name(), reason)
