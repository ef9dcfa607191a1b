"""mpc-delivery: what an operator types."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from custody.delivery import server
from custody.delivery.configuration import NewServer, new_configuration
from custody.delivery.doctor import checks
from custody.delivery.settings import CONFIG_VARIABLE, DEFAULT_CONFIG, Settings, load_settings
from custody.runtime import log
from custody.runtime.checks import Status, print_check
from custody.runtime.configuration import check, write_secret
from custody.runtime.console import (
    EXIT_FAILED,
    Json,
    application,
    no_overwriting,
    operator_errors,
    out,
    print_json,
)
from custody.runtime.hardening import harden
from custody.runtime.job_signing_keys import pinned_job_keys
from custody.runtime.options import options_of

app = application(
    """Takes signers' messages to each other. It sees ciphertext, and keeps nothing.

    A new server, in order: init, doctor, run.
    """
)


@app.callback()
def _options(
    context: typer.Context,
    config: Annotated[
        Path, typer.Option("--config", "-c", envvar=CONFIG_VARIABLE, help="The TOML file.")
    ] = Path(DEFAULT_CONFIG),
) -> None:
    context.obj = config


def _settings(context: typer.Context) -> Settings:
    settings = load_settings(context.find_root().obj)
    log.configure(settings.log.level)
    return settings


@app.command()
@options_of(NewServer)
def init(context: typer.Context, new: NewServer) -> None:
    """Write a configuration file with every setting explained. Never overwrites one."""
    path: Path = context.find_root().obj
    text = new_configuration(new)
    with operator_errors():
        check(text, path, Settings)
        pinned_job_keys(new.job_signing_keys, "tickets")
        with no_overwriting():
            write_secret(path, text.encode())
    out.print(f"wrote {path}", markup=False)
    out.print("next: put in what is missing, then: mpc-delivery doctor")


@app.command()
def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Try what this server needs, and say what to do about what is not there.

    Exit code 0: all well, or only warnings; 1: something must be corrected.
    """
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
    """Deliver until SIGTERM. Ceremonies under way are ended; signers take another server."""
    harden()
    with operator_errors():
        uvloop.run(server.run(_settings(context)))


def main() -> None:
    app()
