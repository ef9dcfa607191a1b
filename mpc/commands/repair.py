"""mpc-signer repair: this operator's approvals to repair another signer's share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from custody.runtime.console import Json, operator_errors, out, print_json, print_table
from custody.runtime.console import application as new_application
from custody.runtime.errors import OperatorError
from custody.runtime.operators import operator_name, reason_of

if TYPE_CHECKING:
    from mpc.repair_approvals import RepairApproval
    from mpc.settings import SignerSettings


COLUMNS = ["key_id", "signer", "operator", "reason", "approved_at", "expires_at"]
LONGEST_HOURS = 24 * 14


def application(settings_of: Callable[[typer.Context], SignerSettings]) -> typer.Typer:
    app = new_application(
        "Repair of a share that another signer has lost: t operators must approve it."
    )

    @app.command("approve")
    def approve_repair(
        context: typer.Context,
        key: Annotated[UUID, typer.Argument(help="The key's id; a derived key's root.")],
        signer: Annotated[str, typer.Argument(help="The signer that has lost its share.")],
        reason: Annotated[str, typer.Option(help="For the audit.")],
        hours: Annotated[
            int, typer.Option(min=1, max=LONGEST_HOURS, help="How long the approval is valid.")
        ] = 24,
    ) -> None:
        """Let this signer help to repair another signer's share of a key, for a limited time.

        Talk to the other operator first: t shares are equivalent to the key, so never give a
        stranger a share. Then request the repair at the control plane.
        """
        import asyncio

        with operator_errors():
            why = reason_of(reason, "its disk failed, Ada telephoned")
            expires_at = asyncio.run(
                _approve(settings_of(context), key, signer, timedelta(hours=hours), why)
            )
        out.print(f"approved until {expires_at.isoformat()}")

    @app.command("list")
    def list_approvals(context: typer.Context, as_json: Json = False) -> None:
        """List the approvals that have not expired."""
        import asyncio

        with operator_errors():
            rows = [asdict(each) for each in asyncio.run(_all(settings_of(context)))]
        for row in rows:
            row |= {name: row[name].isoformat() for name in ("approved_at", "expires_at")}
        if as_json:
            print_json(rows)
        else:
            print_table(COLUMNS, [[row[name] for name in COLUMNS] for row in rows])

    @app.command("revoke")
    def revoke_approval(context: typer.Context, key: UUID, signer: str) -> None:
        """Revoke an approval. A repair that has begun continues: freeze stops it."""
        import asyncio

        with operator_errors():
            if not asyncio.run(_revoke(settings_of(context), key, signer)):
                raise OperatorError("there is no such approval", "See: mpc-signer repair list")
        out.print("revoked")

    return app


async def _approve(
    settings: SignerSettings, key: UUID, signer: str, lasts: timedelta, reason: str
) -> datetime:
    from custody.node.audited_changes import AuditedChanges
    from custody.node.connections import open_database
    from mpc.peers import Peers
    from mpc.repair_approvals import approve
    from mpc.shares import share_queries

    async with open_database(settings) as database:
        await Peers(database).require(signer)
        rows = await database.rows(share_queries.ACTIVE, {"key_id": key})
        if not rows or signer not in rows[0].signers:
            raise OperatorError(
                f"this signer has no share of key {key} in use with {signer}, so it cannot help",
                "See: mpc-signer shares list. Of a derived key, give the root's id.",
            )
        changes = AuditedChanges(database, settings.node.id)
        return await approve(changes, key, signer, lasts, operator_name(), reason)


async def _all(settings: SignerSettings) -> list[RepairApproval]:
    from custody.node.connections import open_database
    from mpc.repair_approvals import RepairApprovals

    async with open_database(settings) as database:
        return await RepairApprovals(database).all()


async def _revoke(settings: SignerSettings, key: UUID, signer: str) -> bool:
    from custody.node.audited_changes import AuditedChanges
    from custody.node.connections import open_database
    from mpc.repair_approvals import revoke

    async with open_database(settings) as database:
        changes = AuditedChanges(database, settings.node.id)
        return await revoke(changes, key, signer, operator_name())
