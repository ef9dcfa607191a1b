"""hsm-driver try-token: what a token can do, as a table to send to somebody."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from custody.runtime.console import (
    EXIT_FAILED,
    Json,
    err,
    operator_errors,
    print_json,
    print_table,
)
from custody.runtime.errors import OperatorError

if TYPE_CHECKING:
    from custody.pkcs11.settings import HsmSettings
    from hsm_driver.settings import HsmSection


def add_try_token(app: typer.Typer, settings_of: Callable[[typer.Context], HsmSettings]) -> None:
    """Add the command. ``settings_of`` reads [hsm] of the configuration."""

    @app.command("try-token")
    def try_token(
        context: typer.Context,
        module: Annotated[
            Path | None, typer.Option(help="The vendor's PKCS#11 library [default: of [hsm]].")
        ] = None,
        token_label: Annotated[str | None, typer.Option(help="The token's label.")] = None,
        pin_file: Annotated[
            Path | None, typer.Option(help="A file of mode 0600 with the PIN.")
        ] = None,
        profile: Annotated[
            str | None,
            typer.Option(help="With --module: use the settings that this profile recommends."),
        ] = None,
        short_serial: Annotated[
            bool, typer.Option("--short-serial", help="Show only the end of the serial number.")
        ] = False,
        as_json: Json = False,
    ) -> None:
        """Try every operation that a driver needs on a token, and print one table.

        Needs neither a database nor a control plane, and with --module, --token-label and
        --pin-file no configuration. Leaves nothing on the token. The table has no PIN and no key,
        so it can be sent to somebody. A wrong PIN is tried once.

        Exit code 0: at least one algorithm works inside the token; 1: none does, or no login.
        """
        import asyncio

        from custody.pkcs11.trials import try_token as try_all
        from custody.pkcs11.trials import works_inside

        with operator_errors():
            settings = _settings(context, settings_of, module, token_label, pin_file, profile)
            steps = asyncio.run(try_all(settings, short_serial=short_serial))
        if as_json:
            print_json([step.model_dump() for step in steps])
        else:
            print_table(
                ["step", "", "what the token said"],
                [(step.name, step.outcome.value, step.detail) for step in steps],
            )
        if not works_inside(steps):
            err.print("no algorithm works inside this token")
            raise typer.Exit(EXIT_FAILED)


def _settings(
    context: typer.Context,
    settings_of: Callable[[typer.Context], HsmSettings],
    module: Path | None,
    token_label: str | None,
    pin_file: Path | None,
    profile: str | None,
) -> HsmSettings:
    if (module, token_label, pin_file, profile) == (None, None, None, None):
        return settings_of(context)
    if module is None or token_label is None or pin_file is None:
        raise OperatorError(
            "--module, --token-label and --pin-file belong together, and --profile belongs to them",
            "Give all three, or none: then [hsm] of the configuration names the token.",
        )
    from custody.pkcs11.settings import HsmSettings, PinFile
    from custody.pkcs11.token_section import token_traits

    # That a PIN was refused is remembered beside its file: the token counts every try.
    return HsmSettings(
        module=module.absolute(),
        token_label=token_label,
        pin=PinFile(pin_file.absolute()),
        state_directory=pin_file.absolute().parent,
        workers=1,
        traits=token_traits(_section(profile)),
    )


def _section(profile: str | None) -> HsmSection:
    """Return a section with the settings that a profile recommends. Raise OperatorError."""
    import tomllib

    from custody.pkcs11.profiles import profiles
    from hsm_driver.settings import HsmSection

    if profile is not None and profile not in profiles():
        raise OperatorError(
            f"there is no profile {profile!r}", f"Give one of: {', '.join(profiles())}."
        )
    lines = () if profile is None else profiles()[profile].settings
    given = tomllib.loads("\n".join(lines))
    place = {"module": "", "token_label": "", "pin_file": ""}
    return HsmSection.model_validate({**place, **given})
