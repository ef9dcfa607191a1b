"""The commands `control-plane audit`: what the operators of the control plane did."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from custody.control_plane.command_context import settings_of, with_database
from custody.runtime.console import (
    EXIT_COULD_NOT_CHECK,
    EXIT_FAILED,
    Json,
    application,
    operator_errors,
    out,
    print_json,
    print_table,
)

if TYPE_CHECKING:
    from custody.control_plane.audit.own_chain import OwnChain
    from custody.database.connection import Connection

audit_app = application("The audit of what the control plane's operators did.")


@audit_app.command("verify")
def verify(context: typer.Context, as_json: Json = False) -> None:
    """Compare every record of the control plane's own audit with its chain and its signed head.

    Exit code 0: no finding; 1: findings; 2: the check could not be done.
    """
    with operator_errors(EXIT_COULD_NOT_CHECK):
        found = _verify(context)
    if as_json:
        print_json(vars(found))
    elif found.findings:
        print_table(["record", "finding"], found.findings)
    else:
        earlier = f", {found.earlier} of them under an earlier key" if found.earlier else ""
        out.print(f"{found.records} records{earlier}: nothing found")
    if found.findings:
        raise typer.Exit(EXIT_FAILED)


def _verify(context: typer.Context) -> OwnChain:
    from custody.control_plane.audit.own_chain import verify_own_chain
    from custody.control_plane.job_signing_key.files import KeyFiles

    jobs = settings_of(context).jobs
    current, previous = jobs.signer(), KeyFiles(jobs.signing_key).load_previous()
    known = [current] if previous is None else [current, previous]

    async def work(connection: Connection) -> OwnChain:
        return await verify_own_chain(connection.rows, [key.public_key for key in known])

    return with_database(context, work)
