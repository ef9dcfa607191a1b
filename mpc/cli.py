"""The commands of mpc-signer. Each command builds the objects that it needs, and calls them."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from custody.backup import commands as backup_commands
from custody.node.commands import add_node_commands
from custody.node.confirm_command import add_confirm_backup
from custody.pkcs11.commands import master_key_app
from custody.runtime.console import application, no_overwriting, operator_errors, out
from custody.runtime.options import options_of
from mpc.commands import bans as bans_commands
from mpc.commands import encryption_key as encryption_key_commands
from mpc.commands import layer4 as layer4_commands
from mpc.commands import peers as peers_commands
from mpc.commands import repair as repair_commands
from mpc.commands import shares as shares_commands
from mpc.commands.master_keys import add_adopt, keys_in_hsm
from mpc.commands.rewrap import add_rewrap
from mpc.configuration import NewSigner, new_configuration

if TYPE_CHECKING:
    from custody.backup.daemon import Daemon
    from custody.node.chain_verification import KeyCheck
    from custody.pkcs11.settings import HsmSettings
    from custody.runtime.checks import Check
    from mpc.settings import SignerSettings


app = application(
    """Holds one share of each key, and signs together with other signers.

    A new signer, in order: init, migrate, peers add (each of the others), doctor, run.
    """
)


@app.callback()
def _options(
    context: typer.Context,
    config: Annotated[
        Path, typer.Option("--config", "-c", envvar="MPC_SIGNER_CONFIG", help="The TOML file.")
    ] = Path("mpc-signer.toml"),
) -> None:
    context.obj = config


def _settings(context: typer.Context) -> SignerSettings:
    from custody.runtime import log
    from custody.runtime.configuration import read_settings
    from mpc.settings import SignerSettings

    settings = read_settings(context.find_root().obj, SignerSettings)
    log.configure(settings.log.level)
    return settings


@app.command()
@options_of(NewSigner)
def init(context: typer.Context, new: NewSigner) -> None:
    """Write a configuration file with every setting explained, an identity and an encryption key.

    Never overwrites a file. Prints the command with which the other signers pin this signer.
    """
    from custody.runtime.configuration import check_settings, write_secret
    from custody.runtime.job_signing_keys import pinned_job_keys
    from custody.runtime.signing_key import create_signing_key
    from mpc.settings import SignerSettings
    from mpc.shares.encryption_key import create_key_file

    path: Path = context.find_root().obj
    with operator_errors():
        text = new_configuration(new)
        settings = check_settings(text, path, SignerSettings)
        pinned_job_keys(new.job_signing_keys, "control_plane")
        with no_overwriting():
            write_secret(path, text.encode())  # a database URL may have a password in it
            identity = create_signing_key(settings.identity.private_key)
            if settings.encryption.key_file is not None:
                key = create_key_file(settings.encryption.key_file)
                out.print(f"wrote {key.name} (encryption key {key.id})", markup=False)
    public_key = base64.b64encode(identity.public_key).decode()
    out.print(f"wrote {path} and {settings.identity.private_key}", markup=False)
    out.print(f"on every other signer: mpc-signer peers add {new.node} --identity {public_key}")
    out.print("next: add the missing settings, then: mpc-signer migrate, mpc-signer doctor")


def _checks(settings: SignerSettings) -> AsyncIterator[Check]:
    from mpc.doctor import checks

    return checks(settings)


def _key_check() -> KeyCheck:
    from mpc.shares.audited_shares import CHECK

    return CHECK


def _hsm_settings(context: typer.Context) -> HsmSettings:
    from mpc.shares.encryption_keys import hsm_settings

    return hsm_settings(_settings(context))


def _daemon(context: typer.Context) -> Daemon:
    from mpc.backup import daemon_of

    return daemon_of(_settings(context), context.find_root().obj)


add_node_commands(app, _settings, _checks, _key_check)
add_rewrap(app, _settings)
app.add_typer(backup_commands.application(_daemon), name="backup")
app.add_typer(peers_commands.application(_settings), name="peers")
app.add_typer(encryption_key_commands.application(_settings), name="encryption-key")
app.add_typer(shares_commands.application(_settings), name="shares")
app.add_typer(bans_commands.application(_settings), name="bans")
app.add_typer(repair_commands.application(_settings), name="repair")
app.add_typer(layer4_commands.application(_settings), name="layer4")
master_keys = master_key_app(_hsm_settings)
add_adopt(master_keys, _settings)
add_confirm_backup(master_keys, _settings, keys_in_hsm)
app.add_typer(
    master_keys,
    name="master-key",
    help="The key in an HSM that encrypts shares, where the configuration names a token.",
)


@app.command()
def run(context: typer.Context) -> None:
    """Take part in ceremonies until SIGTERM. Ceremonies that have begun are finished first."""
    import asyncio

    import uvloop

    from custody.runtime.certificate_watch import ignore_hangups
    from custody.runtime.hardening import harden
    from mpc import signer

    ignore_hangups()  # until the daemon handles SIGHUP
    harden()
    with operator_errors():
        settings = _settings(context)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(signer.run_signer(settings))


def main() -> None:
    app()
