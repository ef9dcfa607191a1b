"""The commands that every node has, in both modes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from custody.node import apps_command, audit_command, identity_command, retention_command
from custody.runtime.console import EXIT_FAILED, Json, operator_errors, out, print_json

if TYPE_CHECKING:
    from custody.node.chain_verification import KeyCheck
    from custody.node.settings import NodeSettings
    from custody.runtime.checks import Check


Settings = TypeVar("Settings", bound="NodeSettings")


def add_node_commands(
    app: typer.Typer,
    settings_of: Callable[[typer.Context], Settings],
    checks: Callable[[Settings], AsyncIterator[Check]],
    key_check: Callable[[], KeyCheck],
) -> None:
    """Add doctor, migrate, freeze, unfreeze, identity, apps, audit and retention."""
    app.add_typer(apps_command.application(settings_of), name="apps")
    app.add_typer(audit_command.application(settings_of, key_check), name="audit")
    app.add_typer(identity_command.application(settings_of), name="identity")
    app.add_typer(retention_command.application(settings_of), name="retention")

    @app.command()
    def doctor(context: typer.Context, as_json: Json = False) -> None:
        """Try everything that this node needs, and say how to correct what fails.

        Exit code 0: no fault, or only warnings; 1: something must be corrected.
        """
        import asyncio

        from custody.runtime.checks import Status

        with operator_errors():
            settings = settings_of(context)
            found = asyncio.run(_made(checks(settings), show=not as_json))
        if as_json:
            print_json([asdict(check) for check in found])
        if any(check.status is Status.FAIL for check in found):
            raise typer.Exit(EXIT_FAILED)

    @app.command()
    def migrate(context: typer.Context) -> None:
        """Bring the node's database to this version's schema. Running it again changes nothing."""
        from custody.database.errors import database_errors
        from custody.migrations.schema import migrate as migrate_database
        from custody.node.connections import schema_of

        with operator_errors(), database_errors():
            settings = settings_of(context)
            migrate_database(schema_of(settings.program), settings.database.read_url())
        out.print("the database has this version's schema")

    @app.command()
    def freeze(
        context: typer.Context,
        reason: Annotated[
            str, typer.Option(help="The reason, for colleagues who find the node frozen.")
        ],
    ) -> None:
        """Stop this node's work at once, also across restarts, until `unfreeze`.

        Requests stay Pending, or other nodes of the group do them: freeze these nodes too if
        needed.
        """
        from custody.node.freeze import Freeze

        with operator_errors():
            frozen = Freeze(settings_of(context).node.state_directory)
            before = frozen.problem()
            frozen.freeze(reason)
        if before is not None:
            out.print("this node was frozen before: the first reason stands")
        out.print(f"this node is {frozen.problem()}", markup=False)

    @app.command()
    def unfreeze(context: typer.Context) -> None:
        """Let this node work again. Pending requests are done at their next attempt."""
        from custody.node.freeze import Freeze

        with operator_errors():
            was_frozen = Freeze(settings_of(context).node.state_directory).unfreeze()
        out.print("this node works again" if was_frozen else "this node was not frozen")


async def _made(checks: AsyncIterator[Check], show: bool) -> list[Check]:
    from custody.runtime.checks import print_check

    found = []
    async for check in checks:
        found.append(check)
        if show:
            print_check(check)
    return found
