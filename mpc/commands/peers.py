"""mpc-signer peers: the signers that this signer works with."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from custody.runtime.console import Json, operator_errors, out, print_json, print_table
from custody.runtime.console import application as new_application
from custody.runtime.errors import OperatorError

if TYPE_CHECKING:
    from mpc.peers import Peer, Peers
    from mpc.settings import SignerSettings


COLUMNS = ["signer", "key_id", "identity", "added_at"]

Answer = TypeVar("Answer")


def application(settings_of: Callable[[typer.Context], SignerSettings]) -> typer.Typer:
    app = new_application(
        "The signers whose identity keys are pinned. Only they can take part in ceremonies."
    )

    @app.command()
    def add(
        context: typer.Context,
        signer: Annotated[str, typer.Argument(help="The signer's id, as in its certificate.")],
        identity: Annotated[
            str, typer.Option(help="The key that `mpc-signer identity show` prints on its host.")
        ],
    ) -> None:
        """Pin a signer's identity key. The pin counts from the next ceremony, without a restart.

        Get the key directly from the signer's owner: a replaced key means a replaced signer.
        """
        from custody.node.identity import load_identity
        from custody.wire.signed_bytes import signing_key_id
        from mpc.peers import checked_identity, checked_signer

        with operator_errors():
            settings = settings_of(context)
            name, key = checked_signer(signer), checked_identity(identity)
            if name == settings.node.id:
                raise OperatorError(
                    f"{name} is this signer itself", "Add the other signers of its group."
                )
            if key == load_identity(settings.identity.private_key).public_key:
                raise OperatorError(
                    f"that is this signer's own identity, not {name}'s",
                    "Ask the signer's owner for the output of mpc-signer identity show there.",
                )
            added = _with(settings, lambda peers: peers.add(name, key))
        what = "pinned" if added else "was pinned already:"
        out.print(f"{what} {name}, identity {signing_key_id(key)}", markup=False)

    @app.command("list")
    def list_peers(context: typer.Context, as_json: Json = False) -> None:
        """Show every pinned signer."""
        with operator_errors():
            rows = [_row(peer) for peer in _with(settings_of(context), lambda peers: peers.all())]
        if as_json:
            print_json(rows)
        else:
            print_table(COLUMNS, [[row[name] for name in COLUMNS] for row in rows])

    @app.command()
    def remove(context: typer.Context, signer: str) -> None:
        """Stop working with a signer, from the next ceremony.

        This signer then joins no quorum with the removed signer. It also joins no new key, refresh
        or repair of their common groups. The keys and both signers' shares stay.
        """
        with operator_errors():
            if not _with(settings_of(context), lambda peers: peers.remove(signer)):
                raise OperatorError(f"{signer!r} is not pinned", "See: mpc-signer peers list")
        out.print(
            f"removed {signer}: no more ceremonies with it. Keys of its groups can no longer be "
            "refreshed. If it will not return, move them to another group: "
            "docs/how-to/move-a-key-to-another-group.md",
            markup=False,
        )

    return app


def _with(settings: SignerSettings, act: Callable[[Peers], Awaitable[Answer]]) -> Answer:
    import asyncio

    from custody.node.connections import open_database
    from mpc.peers import Peers

    async def run() -> Answer:
        async with open_database(settings) as database:
            return await act(Peers(database))

    return asyncio.run(run())


def _row(peer: Peer) -> dict[str, str]:
    from custody.wire.signed_bytes import signing_key_id

    return {
        "signer": peer.signer,
        "key_id": signing_key_id(peer.identity_public_key),
        "identity": base64.b64encode(peer.identity_public_key).decode(),
        "added_at": peer.added_at.isoformat(),
    }
