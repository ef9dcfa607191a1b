"""The commands of hsm-driver. Each command builds the objects that it needs, and calls them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from custody.backup import commands as backup_commands
from custody.node.commands import add_node_commands
from custody.node.confirm_command import add_confirm_backup, check_value_of
from custody.pkcs11.commands import (
    RESTORED_EXAMPLE,
    CheckValues,
    Reason,
    Restored,
    WasExtractable,
    WasRewrappable,
    master_key_app,
    require_restored,
    show_adopted,
    show_weaker,
)
from custody.runtime.console import application, err, no_overwriting, operator_errors, out
from custody.runtime.errors import OperatorError
from custody.runtime.operators import reason_of
from custody.runtime.options import options_of
from hsm_driver import import_keys_commands, keys_commands, profile_commands
from hsm_driver.configuration import NewDriver, new_configuration
from hsm_driver.rebuild_command import add_rebuild
from hsm_driver.rewrap_command import add_rewrap
from hsm_driver.try_token_command import add_try_token

if TYPE_CHECKING:
    from custody.backup.daemon import Daemon
    from custody.database.pool import Pool
    from custody.node.chain_verification import KeyCheck
    from custody.pkcs11.settings import HsmSettings
    from custody.runtime.checks import Check
    from hsm_driver.settings import DriverSettings


app = application(
    """Guards private keys in an HSM, and does the control plane's jobs with them.

    A new node, in order: init, doctor, master-key generate, migrate, doctor again, run.
    """
)


@app.callback()
def _options(
    context: typer.Context,
    config: Annotated[
        Path, typer.Option("--config", "-c", envvar="HSM_DRIVER_CONFIG", help="The TOML file.")
    ] = Path("hsm-driver.toml"),
) -> None:
    context.obj = config


def _settings(context: typer.Context) -> DriverSettings:
    from custody.runtime import log
    from custody.runtime.configuration import read_settings
    from hsm_driver.settings import DriverSettings

    settings = read_settings(context.find_root().obj, DriverSettings)
    log.configure(settings.log.level)
    return settings


@app.command()
@options_of(NewDriver)
def init(context: typer.Context, new: NewDriver) -> None:
    """Write a configuration file with every setting explained, and this node's identity key.

    Never overwrites a file. You can add missing settings to the file later.
    """
    from custody.runtime.configuration import check_settings, write_secret
    from custody.runtime.job_signing_keys import pinned_job_keys
    from custody.runtime.signing_key import create_signing_key
    from hsm_driver.settings import DriverSettings

    path: Path = context.find_root().obj
    with operator_errors():
        text = new_configuration(new)
        settings = check_settings(text, path, DriverSettings)
        pinned_job_keys(new.job_signing_keys, "control_plane")
        with no_overwriting():
            write_secret(path, text.encode())  # a database URL may have a password in it
            signer = create_signing_key(settings.identity.private_key)
    out.print(f"wrote {path} and {settings.identity.private_key} (identity {signer.key_id})")
    out.print("next: fill in the missing settings, then run: hsm-driver doctor")


def _checks(settings: DriverSettings) -> AsyncIterator[Check]:
    from hsm_driver.doctor import checks

    return checks(settings)


def _key_check() -> KeyCheck:
    from hsm_driver.audited_keys import CHECK

    return CHECK


add_node_commands(app, _settings, _checks, _key_check)


@app.command()
def run(context: typer.Context) -> None:
    """Do jobs until SIGTERM. The jobs that have begun are then finished first."""
    import asyncio

    import uvloop

    from custody.runtime.certificate_watch import ignore_hangups
    from custody.runtime.hardening import harden
    from hsm_driver import driver

    ignore_hangups()  # until the daemon handles SIGHUP
    harden()
    with operator_errors():
        settings = _settings(context)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(driver.run_driver(settings))


def _hsm_settings(context: typer.Context) -> HsmSettings:
    from hsm_driver.settings import hsm_settings

    return hsm_settings(_settings(context))


def _other_tokens(context: typer.Context) -> list[HsmSettings]:
    from hsm_driver.settings import other_tokens

    return other_tokens(_settings(context))


add_try_token(app, _hsm_settings)
app.add_typer(profile_commands.application(), name="profile")
master_keys = master_key_app(_hsm_settings, _other_tokens)
app.add_typer(master_keys, name="master-key")


@master_keys.command()
def adopt(
    context: typer.Context,
    name: Annotated[
        list[str] | None, typer.Argument(help="New master keys, as custody/2 custody-host/2.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    accept_weaker: Annotated[
        bool,
        typer.Option(
            "--accept-weaker", help="Also keys that are weaker than this token can make them."
        ),
    ] = False,
    restored: Restored = False,
    reason: Reason = None,
    check_value: CheckValues = None,
    rewrappable: WasRewrappable = False,
    extractable: WasExtractable = False,
) -> None:
    """Record new master keys in the group's database by name, or retired ones again.

    Compare the check values that the command shows with those that `master-key generate` printed.
    Without a name, the command names the new keys. A weaker key allows more than the strongest
    key that this token can make. It needs --accept-weaker, as does a key that a slow or unclear
    token lets nobody judge. The command then prints the line of [hsm] without which no driver
    starts.

    Until then no driver uses it, because everybody with the PIN can put a key on the token.
    After its next start, each driver wraps new keys with the newest version. A retired version must
    have the check value that the database kept; a new one must not have a retired one's name.

    With --restored: adopt master keys that came from the HSM's backup, and so were not made inside
    this HSM. The check values must be those of this database. If the database is new and knows
    none, they must be those that you give with --check-value. Each extraction that `doctor` knows
    is tried, and must fail. The command prints the line of [hsm] that names the keys: a driver
    starts once its configuration has this line.
    """
    with operator_errors():
        settings = _settings(context)
        if not restored:
            require_restored(reason, check_value, rewrappable=rewrappable, extractable=extractable)
            _adopt_new(settings, name or [], yes=yes, accept_weaker=accept_weaker)
            return
        if name or accept_weaker:
            raise OperatorError(
                "--restored takes no names and no --accept-weaker",
                "It adopts every imported key. Leave the names and --accept-weaker out.",
            )
        _adopt_restored(
            settings,
            context.find_root().obj,
            reason_of(reason, RESTORED_EXAMPLE),
            [check_value_of(each) for each in check_value or []],
            rewrappable=rewrappable,
            extractable=extractable,
        )


def _adopt_new(
    settings: DriverSettings, names: list[str], *, yes: bool, accept_weaker: bool
) -> None:
    import asyncio

    from hsm_driver.master_keys import adopt_new

    def confirm(keys: Mapping[str, bytes], weak: Mapping[str, str]) -> None:
        _confirm_new(keys, weak, yes=yes)

    new = asyncio.run(adopt_new(settings, names, confirm, accept_weaker=accept_weaker))
    out.print(f"adopted {', '.join(new.keys)}" if names else "there is no new master key")
    if new.weak:
        err.print("write into [hsm] of each driver that uses this HSM:", markup=False)
        show_weaker({each: new.keys[each] for each in new.weak}, settings.hsm)


def _adopt_restored(
    settings: DriverSettings,
    path: Path,
    reason: str,
    noted: list[bytes],
    *,
    rewrappable: bool,
    extractable: bool,
) -> None:
    import asyncio

    from hsm_driver.master_keys import adopt_restored

    adopted = asyncio.run(
        adopt_restored(settings, reason, noted, rewrappable=rewrappable, extractable=extractable)
    )
    if not adopted:
        out.print("this HSM shows each master key as made inside it: no key needs adoption")
        return
    place = f"[hsm] of {path}, and of each driver that uses this HSM"
    show_adopted(adopted, settings.hsm, place, extractable=extractable, rewrappable=rewrappable)


def _confirm_new(keys: Mapping[str, bytes], weak: Mapping[str, str], *, yes: bool) -> None:
    for name, check_value in keys.items():
        err.print(f"{name} has the check value 0x{check_value.hex()}", markup=False)
        if name in weak:
            err.print(f"  the key {weak[name]}", markup=False)
    if not yes:
        typer.confirm("Did you make these keys?", abort=True, err=True)


@master_keys.command()
def retire(
    context: typer.Context,
    name: Annotated[list[str], typer.Argument(help="Master keys, as custody/1.")],
    reason: Annotated[str, typer.Option(help="What happened, for the audit.")],
    lost: Annotated[
        bool,
        typer.Option("--lost", help="Also if they wrap stored keys, which then cannot be used."),
    ] = False,
) -> None:
    """Have the drivers start again without master keys that are lost for good.

    Only for versions that this HSM has no more, while another version is intact. Stop all drivers
    of the group first. The wrapped keys stay in the database: if the master key is found, restore
    it into the HSM, and `master-key adopt` makes them usable again.
    """
    import asyncio

    from hsm_driver.retirement import retire as retire_keys

    with operator_errors():
        why = reason_of(reason, "HSM 1 burnt, it had no backup")
        retired = asyncio.run(retire_keys(_settings(context), name, why, lost=lost))
    out.print(f"retired {', '.join(retired.names)}", markup=False)
    for master_key, number in retired.unusable.items():
        out.print(f"{number} stored keys under {master_key} cannot be used", markup=False)
    out.print(f"to make a new version: {retired.generate}", markup=False)


def _daemon(context: typer.Context) -> Daemon:
    from hsm_driver.backup import daemon_of

    return daemon_of(_settings(context), context.find_root().obj)


async def _known_keys(_: DriverSettings, database: Pool) -> dict[str, bytes]:
    from hsm_driver.vault import known_master_keys

    return await known_master_keys(database)


add_confirm_backup(master_keys, _settings, _known_keys)
add_rewrap(master_keys, _settings)
app.add_typer(keys_commands.application(_settings), name="keys")
app.add_typer(import_keys_commands.application(_settings), name="import-keys")
backups = backup_commands.application(_daemon)
add_rebuild(backups, _settings)
app.add_typer(backups, name="backup")


def main() -> None:
    app()
