"""hsm-driver try-token: what a token can do, as a table to send to somebody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, get_args

import typer

from custody.runtime.console import (
    EXIT_FAILED,
    Json,
    err,
    operator_errors,
    print_json,
    print_table,
)
from custody.runtime.errors import ConfigurationError, OperatorError
from hsm_driver.completion import logins_with, profiles_with

if TYPE_CHECKING:
    from custody.pkcs11.settings import HsmSettings
    from custody.pkcs11.token_traits import Login
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
        token_serial: Annotated[
            str | None, typer.Option(help="The token's serial number, if several have the label.")
        ] = None,
        slot: Annotated[
            int | None, typer.Option(min=0, help="The token's slot, if several have the label.")
        ] = None,
        login: Annotated[
            str | None,
            typer.Option(
                help="How to log in: user, protected-path or none [default: user]. Only user has "
                "a PIN file.",
                autocompletion=logins_with,
            ),
        ] = None,
        pin_file: Annotated[
            Path | None, typer.Option(help="A file of mode 0600 with the PIN.")
        ] = None,
        profile: Annotated[
            str | None,
            typer.Option(
                help="With --module: use the settings that this profile recommends.",
                autocompletion=profiles_with,
            ),
        ] = None,
        short_serial: Annotated[
            bool, typer.Option("--short-serial", help="Show only the end of the serial number.")
        ] = False,
        as_json: Json = False,
    ) -> None:
        """Try every operation that a driver needs on a token, and print one table.

        Needs neither a database nor a control plane, and with --module, --token-label and
        --pin-file no configuration; --login protected-path or none replaces --pin-file. Leaves
        nothing on the token. The table has no PIN and no key, so it can be sent to somebody. A
        wrong PIN is tried once: pin.json beside --pin-file remembers it. The driver remembers in
        its own state directory, and does not read that file.

        Exit code 0: at least one algorithm works inside the token; 1: none does, or no login.
        """
        import asyncio
        from tempfile import TemporaryDirectory

        from custody.pkcs11.trials import try_token as try_all
        from custody.pkcs11.trials import works_inside

        named = _Named(module, token_label, token_serial, slot, login, pin_file, profile)
        with operator_errors(), TemporaryDirectory() as folder, _advice(named):
            settings = settings_of(context) if named == _Named() else _settings(named, Path(folder))
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


class _Named(NamedTuple):
    """The token that the options name."""

    module: Path | None = None
    token_label: str | None = None
    token_serial: str | None = None
    slot: int | None = None
    login: str | None = None
    pin_file: Path | None = None
    profile: str | None = None


@contextmanager
def _advice(named: _Named) -> Iterator[None]:
    """Raise an OperatorError with the options that correct it, where no configuration is used."""
    try:
        yield
    except OperatorError as error:
        raise OperatorError(error.what, _todo(error, named)) from None


def _todo(error: OperatorError, named: _Named) -> str:
    from custody.pkcs11.launch import HsmCannotStart
    from custody.pkcs11.messages import Obstacle
    from custody.pkcs11.pin import FILE_NAME

    if named == _Named():
        if not isinstance(error, ConfigurationError):
            return error.todo
        options = "--module, --token-label and --pin-file"
        return f"{error.todo} To try a token without a configuration, give {options}."
    if "correct pin_file" in error.todo:
        return "Write the token's user PIN into it (chmod 600), or correct --pin-file."
    obstacle = error.obstacle if isinstance(error, HsmCannotStart) else None
    if named.login == "none" and obstacle is Obstacle.LOGIN:
        return (
            "Give --pin-file and no --login, or --login protected-path if a person enters the PIN "
            "at the token."
        )
    if "--retry-pin" in error.todo or "PIN file" in error.todo:
        if named.pin_file is None:
            return "Enter the right PIN at the token, or give --pin-file and no --login."
        memory = named.pin_file.absolute().parent / FILE_NAME
        return (
            f"Write the token's user PIN into {named.pin_file}: once the file has changed, it is "
            f"tried. If the PIN is right after all: rm {memory}"
        )
    advice = {
        Obstacle.MODULE: "Install the vendor's client library, or correct --module.",
        Obstacle.TOKEN: "Correct --token-label, --token-serial or --slot, initialise the token, or "
        "check the HSM's connection.",
        Obstacle.MECHANISM: "Give another --profile, or none: then the standard mechanisms are "
        "tried.",
    }
    return error.todo if obstacle is None else advice.get(obstacle, error.todo)


def _settings(named: _Named, folder: Path) -> HsmSettings:
    """Return how to reach the token. ``folder``: its state, if there is no PIN file.

    Raise OperatorError.
    """
    from custody.pkcs11.settings import HsmSettings, NoPin, PinFile
    from custody.pkcs11.token_section import token_traits

    login = _login(named.login)
    if named.module is None or named.token_label is None:
        raise OperatorError(
            "--module and --token-label belong together, and the other options belong to them",
            "Give both, or none: then [hsm] of the configuration names the token.",
        )
    if (named.pin_file is None) is (login == "user"):
        raise OperatorError(
            f"--login {login} {'needs' if login == 'user' else 'uses no'} --pin-file",
            "Give --pin-file, or --login protected-path if a person enters the PIN at the token, "
            "or --login none if the token asks for no login.",
        )
    traits = token_traits(_section(named.profile))
    return HsmSettings(
        module=named.module.absolute(),
        token_label=named.token_label,
        pin=NoPin(login) if named.pin_file is None else PinFile(named.pin_file.absolute()),
        # That a PIN was refused is remembered beside its file: the token counts every try.
        state_directory=folder if named.pin_file is None else named.pin_file.absolute().parent,
        workers=1,
        traits=replace(traits, token_serial=named.token_serial, slot=named.slot, login=login),
    )


def _login(given: str | None) -> Login:
    from custody.pkcs11.token_traits import Login

    logins: dict[str, Login] = {name: name for name in get_args(Login)}
    if given is not None and given not in logins:
        raise OperatorError(f"there is no login {given!r}", f"Give one of: {', '.join(logins)}.")
    return logins[given or "user"]


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
