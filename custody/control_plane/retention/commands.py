"""The commands `control-plane retention`: how long finished work and node audits are kept."""

from __future__ import annotations

from functools import partial
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

retention_app = application(
    "How long finished signatures and imports, and audit records of nodes, are kept."
)

EXAMPLE = "our rules say two years, ticket 31"
Reason = Annotated[str, typer.Option(help="Who decided, and why. For the audit.")]
NodeAudit = Annotated[
    bool,
    typer.Option("--node-audit", help="The audit records that nodes send, instead of signatures."),
]


@retention_app.command("show")
def show(context: typer.Context, node_audit: NodeAudit = False, as_json: Json = False) -> None:
    """Show the setting, and who changed it last. No days: nothing is deleted."""
    with operator_errors():
        found = with_database(context, partial(_read, node_audit))
    if as_json:
        print_json(found.shown)
    else:
        print_table(["setting", "value"], list(found.shown.items()))


@retention_app.command("set")
def set_days(
    context: typer.Context,
    days: Annotated[int, typer.Argument(help="Days after which they are deleted.")],
    reason: Reason,
    node_audit: NodeAudit = False,
) -> None:
    """Delete finished signatures and imports, with all that led to them, after so many days.

    Keys, wallets, attestations and the requests that made or changed keys always stay. Encrypted
    private keys and shares in them are deleted. The external id of a deleted signature or import
    stays too: a repeated request gets external_id_spent.

    With --node-audit: delete audit records of nodes so many days after they arrived here.
    """
    from custody.database.retention import require_days

    with operator_errors():
        require_days(days)
        _change(context, days, reason, node_audit)
    out.print(f"{_what(node_audit)} are kept for {days} days")


@retention_app.command("off")
def keep_all(context: typer.Context, reason: Reason, node_audit: NodeAudit = False) -> None:
    """Delete nothing any more. This is the setting of a new database."""
    with operator_errors():
        _change(context, None, reason, node_audit)
    out.print(f"{_what(node_audit)} are always kept")


def _what(node_audit: bool) -> str:
    return "audit records of nodes" if node_audit else "finished signatures and imports"


async def _read(node_audit: bool, connection: Connection) -> Retention:
    from custody.control_plane.retention import node_audit as of_nodes
    from custody.database.retention import TABLE, read_retention

    table = of_nodes.TABLE if node_audit else TABLE
    return await read_retention(connection.rows, default_days=None, table=table)


def _change(context: typer.Context, days: int | None, reason: str, node_audit: bool) -> None:
    from custody.control_plane.retention import node_audit as of_nodes
    from custody.database.retention import CHANGE

    why = reason_of(reason, EXAMPLE)
    statement, kind = CHANGE, "SetRetention"
    if node_audit:
        statement, kind = of_nodes.CHANGE, "SetNodeAuditRetention"

    async def change(connection: Connection, auditor: Auditor) -> None:
        values = {"days": days, "operator": auditor.operator, "reason": why}
        await connection.rows(statement, values)
        said = {"days": None if days is None else str(days), "reason": why}
        await auditor.record(connection, kind, said)

    audited(context, change)
