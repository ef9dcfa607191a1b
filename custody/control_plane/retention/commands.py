"""The commands `control-plane retention`: how long finished signatures are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from custody.control_plane.command_context import audited, with_database
from custody.runtime.console import (
    Json,
    application,
    operator_errors,
    out,
    print_json,
    print_table,
)
from custody.runtime.operators import reason_of

if TYPE_CHECKING:
    from custody.control_plane.audit.own_chain import Auditor
    from custody.database.connection import Connection
    from custody.database.retention import Retention

retention_app = application("How long finished signatures are kept.")

EXAMPLE = "our rules say two years, ticket 31"
Reason = Annotated[str, typer.Option(help="Who decided, and why. For the audit.")]


@retention_app.command("show")
def show(context: typer.Context, as_json: Json = False) -> None:
    """Show the setting, and who changed it last. No days: nothing is deleted."""
    with operator_errors():
        found = with_database(context, _read)
    if as_json:
        print_json(found.shown)
    else:
        print_table(["setting", "value"], list(found.shown.items()))


@retention_app.command("set")
def set_days(
    context: typer.Context,
    days: Annotated[int, typer.Argument(help="Days after a signature was finished.")],
    reason: Reason,
) -> None:
    """Delete finished signatures, with all that led to them, after so many days.

    Keys, wallets, attestations and the requests that made or changed keys always stay. The
    external id of a deleted signature stays too: a repeated request gets external_id_spent.
    """
    from custody.database.retention import require_days

    with operator_errors():
        require_days(days)
        _change(context, days, reason)
    out.print(f"finished signatures are kept for {days} days")


@retention_app.command("off")
def keep_all(context: typer.Context, reason: Reason) -> None:
    """Delete nothing any more. This is the setting of a new database."""
    with operator_errors():
        _change(context, None, reason)
    out.print("finished signatures are always kept")


async def _read(connection: Connection) -> Retention:
    from custody.database.retention import read_retention

    return await read_retention(connection.rows, default_days=None)


def _change(context: typer.Context, days: int | None, reason: str) -> None:
    from custody.database.retention import CHANGE

    why = reason_of(reason, EXAMPLE)

    async def change(connection: Connection, auditor: Auditor) -> None:
        values = {"days": days, "operator": auditor.operator, "reason": why}
        await connection.rows(CHANGE, values)
        said = {"days": None if days is None else str(days), "reason": why}
        await auditor.record(connection, "SetRetention", said)

    audited(context, change)
