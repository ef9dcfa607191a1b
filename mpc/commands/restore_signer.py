"""mpc-recover restore-signer: a signer's shares from its share copies, into a fresh database."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from custody.runtime.console import Json, operator_errors, print_json
from custody.runtime.errors import OperatorError

DATABASE_CLIENT = "asyncpg"


def add_restore_signer(app: typer.Typer) -> None:
    """Add the command to mpc-recover. It alone needs a signer's configuration and database."""

    @app.command()
    def restore_signer(
        folder: Annotated[
            Path,
            typer.Argument(
                help="This signer's share copies, in folders of any names.", show_default=False
            ),
        ],
        customer_key: Annotated[
            Path,
            typer.Option(
                help="The private key that opens them: OpenSSH or PKCS#8 (PEM).",
                show_default=False,
            ),
        ],
        reason: Annotated[str, typer.Option(help="Why, for the audit.", show_default=False)],
        config: Annotated[
            Path,
            typer.Option(
                "--config",
                "-c",
                envvar="MPC_SIGNER_CONFIG",
                help="The signer's configuration file.",
            ),
        ] = Path("mpc-signer.toml"),
        ceremony: Annotated[
            list[UUID] | None,
            typer.Option(help="Take this set of its key. May be repeated."),
        ] = None,
        ceremonies: Annotated[
            Path | None,
            typer.Option(help="A file with the ceremonies of the sets to take, one in each line."),
        ] = None,
        signed_by: Annotated[
            list[str] | None,
            typer.Option(
                help="Take only copies that this identity key (base64) has signed. Needed if it is "
                "another key than this signer's present one. May be repeated."
            ),
        ] = None,
        as_json: Json = False,
    ) -> None:
        """Put a signer's shares from its share copies into a fresh database.

        Run it on the signer's host, while the signer is stopped, and after mpc-signer migrate. It
        is the one command that needs the signer's configuration and database. It takes the copies
        of this signer alone. If a key has copies of several sets, name the active one: another
        signer shows it (mpc-signer shares list). Copies that another identity key than this
        signer's has signed need --signed-by: compare the key with the pin at another signer
        (mpc-signer peers list), because a forged copy has a key of its own. The restored shares
        sign once the other signers have said that they use these sets. Each share has an audit
        record. After an interruption, run the same command again.

        The customer's private key opens the copies of all signers, and should not come to this
        host. docs/how-to/recover/signer-by-layer4.md shows how the customer encrypts this signer's
        copies to another key.
        """
        import asyncio

        with operator_errors():
            _require_whole_installation()

            from custody.node.identity import load_identity
            from custody.runtime.configuration import read_settings
            from custody.runtime.operators import reason_of
            from mpc.layer4 import restoring
            from mpc.peers import checked_identity
            from mpc.recover import opening
            from mpc.settings import SignerSettings

            reason = reason_of(reason, "the host burnt down, no backup")
            settings = read_settings(config, SignerSettings)
            identities = [checked_identity(text) for text in signed_by or []]
            named = set(ceremony or [])
            listed = restoring.read_ceremonies(ceremonies) if ceremonies is not None else set()
            key = opening.unlock(customer_key)
            inventory = opening.read_folder(folder, key)
            restoring.require_known(inventory, settings.node.id, named)
            own = load_identity(settings.identity.private_key).public_key
            files = restoring.choose(inventory, settings.node.id, own, named | listed, identities)
            done = asyncio.run(restoring.restore(settings, files, key, reason))
        if as_json:
            print_json(done.as_json())
        else:
            restoring.show(done, settings)


def _require_whole_installation() -> None:
    """Raise OperatorError in a recovery kit, which has no database client."""
    if importlib.util.find_spec(DATABASE_CLIENT) is None:
        raise OperatorError(
            "this installation of mpc-recover has no database client: it is a recovery kit",
            "Run this command on the signer's host, with the mpc-recover that is installed there "
            "beside mpc-signer.",
        )
