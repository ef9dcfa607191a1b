"""`audit`: the chain of what this node decided."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated

import typer
from rich.progress import Progress

from daemon.console import (
    EXIT_FAILED,
    Json,
    err,
    operator_errors,
    out,
    print_json,
    print_table,
)
from daemon.console import (
    application as new_application,
)
from daemon.errors import OperatorError
from node.audit import open_heads
from node.chain_verification import Verification, verify_chain
from node.connections import open_client, open_database
from node.control_plane_client import ControlPlaneRefused, ControlPlaneUnavailable
from node.identity import load_identity
from node.settings import NodeSettings
from wire.audit import AuditHead
from wire.envelope import BadEnvelope


def application(settings_of: Callable[[typer.Context], NodeSettings]) -> typer.Typer:
    app = new_application("The hash chain of everything that this node decided and did.")

    @app.callback()
    def _options() -> None:
        """A group, though it has one command so far."""

    @app.command()
    def verify(
        context: typer.Context,
        offline: Annotated[
            bool, typer.Option(help="Without the heads that the control plane keeps.")
        ] = False,
        as_json: Json = False,
    ) -> None:
        """Compare every record with its chain, the journal, and the heads kept elsewhere.

        Finds changed and missing records, a recomputed chain and a cut-off end.
        Exit code 0: nothing found; 1: something was found, or could not be compared.
        """
        with operator_errors():
            found = asyncio.run(_verify(settings_of(context), offline))
        if as_json:
            print_json(asdict(found))
        else:
            _show(found, offline)
        if found.findings:
            raise typer.Exit(EXIT_FAILED)

    return app


async def _verify(settings: NodeSettings, offline: bool) -> Verification:
    heads = [] if offline else await _kept_heads(settings)
    async with open_database(settings) as database:
        with Progress(console=err, transient=True, disable=not err.is_terminal) as progress:
            task = progress.add_task("records", total=None)
            return await verify_chain(
                database,
                settings.node.id,
                heads,
                lambda sequence: progress.update(task, completed=sequence),
            )


async def _kept_heads(settings: NodeSettings) -> list[AuditHead]:
    signer = load_identity(settings.identity.private_key)
    try:
        async with open_client(settings) as client:
            return open_heads((await client.audit_heads()).heads, signer, settings.node.id)
    except (ControlPlaneUnavailable, ControlPlaneRefused) as error:
        raise OperatorError(
            f"cannot get the heads that the control plane keeps: {error}",
            "Mend that, or use --offline, which cannot find a cut-off end.",
        ) from None
    except BadEnvelope as error:
        raise OperatorError(
            f"the control plane keeps a head that is not this node's: {error}",
            "Find out who replaced this node's identity key, or the kept heads.",
        ) from None


def _show(found: Verification, offline: bool) -> None:
    if found.findings:
        print_table(
            ["record", "finding"],
            [(finding.sequence, finding.what) for finding in found.findings],
        )
        return
    against = "itself alone" if offline else f"{found.compared} kept heads"
    out.print(f"{found.records} records, compared with {against}: nothing found")
