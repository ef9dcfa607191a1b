"""mpc-signer shares erase: the last step after a key has moved to another signer group."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from custody.runtime.console import operator_errors, out
from custody.runtime.operators import operator_name, reason_of

if TYPE_CHECKING:
    from mpc.settings import SignerSettings
    from mpc.shares.erasure import Erasable

STAYS = (
    "the memory of the running signer, until you restart it",
    "PostgreSQL's files until VACUUM, its write-ahead log, and backups of this database: until "
    "the encryption key of their time is destroyed (docs/how-to/change-the-encryption-key.md)",
)
"""What may still have the erased share."""


def add_erase_command(
    app: typer.Typer, settings_of: Callable[[typer.Context], SignerSettings]
) -> None:
    """Add the command to ``mpc-signer shares``."""

    @app.command()
    def erase(
        context: typer.Context,
        key_id: Annotated[UUID, typer.Argument(help="The root key's id.")],
        reason: Annotated[
            str, typer.Option(help="Where the key has moved and who decided, for the audit.")
        ],
        yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    ) -> None:
        """Erase all of this signer's shares of an archived key, for good.

        Do this after the key was copied to another signer group and has signed there, or when
        nobody needs it any more (docs/how-to/erase-shares.md). The key must be archived, by a
        request or by `shares archive`. Once n - t + 1 signers have erased their shares, this group
        cannot sign with the key any more, nor with keys derived from it.

        The rows stay without their shares, so that no other key gets this id. This signer refuses
        to refresh or repair the key. The command says what else may have the share.
        """
        import asyncio

        with operator_errors():
            why = reason_of(reason, "it moved to the group zurich, decided by Ada and Bo")
            found = asyncio.run(_erase(settings_of(context), key_id, why, yes))
        out.print(f"erased this signer's shares of {key_id}", markup=False)
        out.print("still to be found in:")
        for each in (*(_bucket(found)), *STAYS):
            out.print(f"- {each}", markup=False)


async def _erase(settings: SignerSettings, key_id: UUID, reason: str, yes: bool) -> Erasable:
    from custody.node.connections import open_database
    from mpc.shares.erasure import erasable, erase

    async with open_database(settings) as database:
        found = await erasable(database, key_id)
        if not yes:
            typer.confirm(_question(found), abort=True, err=True)
        await erase(database, settings.node.id, key_id, operator=operator_name(), reason=reason)
    return found


def _question(found: Erasable) -> str:
    share = found.share
    enough = len(share.signers) - share.threshold + 1
    return (
        f"{share.group} is {share.threshold} of {len(share.signers)}: once {enough} of its signers "
        f"have erased their shares, nobody can sign with key {share.key_id}, unless another group "
        "has a copy.\nErase this signer's shares of it for good?"
    )


def _bucket(found: Erasable) -> list[str]:
    return [
        f"the customer's bucket, as {copy.name} ({copy.place}): with t such copies and the "
        "customer key, mpc-recover makes the private key"
        for copy in found.copies
    ]
