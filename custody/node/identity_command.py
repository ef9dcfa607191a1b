"""`identity`: the public key by which others pin this node."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from custody.runtime.console import Json, operator_errors, print_json, print_table
from custody.runtime.console import application as new_application

if TYPE_CHECKING:
    from custody.node.settings import NodeSettings


def application(settings_of: Callable[[typer.Context], NodeSettings]) -> typer.Typer:
    app = new_application("This node's Ed25519 key, which signs its audit heads and attestations.")

    @app.callback()
    def _options() -> None:
        """Make `identity` a group of commands, though it has one command so far."""

    @app.command()
    def show(context: typer.Context, as_json: Json = False) -> None:
        """Show the public key in base64: other signers and applications pin it.

        Do not send it through the control plane, which could replace it with another key.
        """
        from custody.node.identity import load_identity

        with operator_errors():
            settings = settings_of(context)
            signer = load_identity(settings.identity.private_key)
        row = {
            "node": settings.node.id,
            "key_id": signer.key_id,
            "public_key": base64.b64encode(signer.public_key).decode(),
        }
        if as_json:
            print_json(row)
        else:
            print_table(["", ""], list(row.items()))

    return app
