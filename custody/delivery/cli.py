"""The commands of mpc-delivery."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from custody.delivery.configuration import NewServer, new_configuration
from custody.runtime.console import (
    EXIT_FAILED,
    Json,
    application,
    no_overwriting,
    operator_errors,
    out,
    print_json,
)
from custody.runtime.options import options_of

if TYPE_CHECKING:
    from custody.delivery.settings import Settings


app = application(
    """Pass sealed messages between signers. The server sees only ciphertext, and stores nothing.

    A new server, in order: init, doctor, run.
    """
)


@app.callback()
def _options(
    context: typer.Context,
    config: Annotated[
        Path, typer.Option("--config", "-c", envvar="MPC_DELIVERY_CONFIG", help="The TOML file.")
    ] = Path("mpc-delivery.toml"),
) -> None:
    context.obj = config


def _settings(context: typer.Context) -> Settings:
    from custody.delivery.settings import load_settings
    from custody.runtime import log

    settings = load_settings(context.find_root().obj)
    log.configure(settings.log.level)
    return settings


@app.command()
@options_of(NewServer)
def init(context: typer.Context, new: NewServer) -> None:
    """Write a configuration file with every setting explained. Never overwrites a file."""
    from custody.delivery.settings import Settings
    from custody.runtime.configuration import check_settings, write_secret
    from custody.runtime.job_signing_keys import pinned_job_keys

    path: Path = context.find_root().obj
    text = new_configuration(new)
    with operator_errors():
        check_settings(text, path, Settings)
        pinned_job_keys(new.job_signing_keys, "tickets")
        with no_overwriting():
            write_secret(path, text.encode())
    out.print(f"wrote {path}", markup=False)
    out.print("next: fill in the missing settings, then run: mpc-delivery doctor")


@app.command()
def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Try everything that this server needs, and say how to correct what fails.

    Exit code 0: no fault, or only warnings; 1: something must be corrected.
    """
    from custody.delivery.doctor import checks
    from custody.runtime.checks import Status, print_check

    with operator_errors():
        found = list(checks(_settings(context)))
    if as_json:
        print_json([asdict(each) for each in found])
    else:
        for each in found:
            print_check(each)
    if any(each.status is Status.FAIL for each in found):
        raise typer.Exit(EXIT_FAILED)


@app.command()
def run(context: typer.Context) -> None:
    """Deliver until SIGTERM, which ends all ceremonies here. Signers then use another server."""
    import uvloop

    from custody.delivery import server
    from custody.runtime.certificate_watch import ignore_hangups
    from custody.runtime.hardening import harden

    ignore_hangups()  # until the daemon handles SIGHUP
    harden()
    with operator_errors():
        uvloop.run(server.run_delivery_server(_settings(context)))


def main() -> None:
    app()
