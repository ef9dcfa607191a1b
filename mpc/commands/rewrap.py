"""mpc-signer rewrap: put all shares under another encryption key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from custody.runtime.console import (
    EXIT_FAILED,
    Json,
    operator_errors,
    out,
    print_json,
    print_table,
)
from custody.runtime.errors import OperatorError

if TYPE_CHECKING:
    from mpc.settings import SignerSettings
    from mpc.shares.encryption_key import EncryptionKey
    from mpc.shares.encryption_keys import EncryptionKeys
    from mpc.shares.rewrap import Rewrapped


@dataclass(frozen=True)
class Done:
    """``unused``: id and, where known, the place of each key that no share needs any more."""

    rewrapped: Rewrapped
    under: EncryptionKey
    unused: list[str]


def add_rewrap(app: typer.Typer, settings_of: Callable[[typer.Context], SignerSettings]) -> None:
    """Add the command to an application."""

    @app.command("rewrap")
    def rewrap_shares(
        context: typer.Context,
        new_key_file: Annotated[
            Path | None,
            typer.Option(help="File of the new key; made with mode 0600 if it does not exist."),
        ] = None,
        to_hsm: Annotated[
            bool, typer.Option("--to-hsm", help="Use the newest key of the token.")
        ] = False,
        as_json: Json = False,
    ) -> None:
        """Put every share under another encryption key.

        Stop this signer first, or restart it at once afterwards; the other signers sign meanwhile.
        After an interruption, run the same command again: it continues. Exit code 1: some shares
        cannot be decrypted, and stay unchanged.
        """
        import asyncio

        with operator_errors():
            if (new_key_file is None) is not to_hsm:
                raise OperatorError("under which key?", "Give either --new-key-file or --to-hsm.")
            settings, existing = settings_of(context), _existing(new_key_file)
            done = asyncio.run(_rewrap(settings, new_key_file, existing))
        if as_json:
            found = {"under": done.under.id, "unused": done.unused}
            print_json(asdict(done.rewrapped) | found)
        else:
            _show(done, to_hsm)
        if done.rewrapped.stuck:
            raise typer.Exit(EXIT_FAILED)


async def _rewrap(
    settings: SignerSettings, new_key_file: Path | None, existing: EncryptionKey | None
) -> Done:
    """Rewrap under the key of a file, or under the token's newest key without a file."""
    from custody.node.connections import open_database
    from custody.runtime.progress import progress_bar
    from mpc.shares.encryption_keys import open_encryption_keys
    from mpc.shares.rewrap import count, rewrap

    async with (
        open_database(settings) as database,
        open_encryption_keys(settings, database) as keys,
    ):
        if existing is not None:
            keys.add(existing)
        await keys.require_known(
            database
        )  # before a file is made: the command may run with the wrong configuration
        if new_key_file is None:
            new = _newest_in_hsm(keys)
        else:
            new = existing or _made(new_key_file)
            keys.add(new)
        with progress_bar("shares", await count(database, new)) as show:
            rewrapped = await rewrap(database, keys, new, show)
        names = {key.id: key.name for key in keys}
        unused = [f"{key_id} ({names[key_id]})" for key_id in rewrapped.unused]
        return Done(rewrapped, new, unused)


def _newest_in_hsm(keys: EncryptionKeys) -> EncryptionKey:
    from mpc.shares.encryption_key import HsmKey

    for key in keys:
        if isinstance(key, HsmKey):
            return key
    raise OperatorError(
        "the configuration has no section [encryption.hsm]",
        "Add it, as mpc-signer init explains it, then: mpc-signer master-key generate.",
    )


def _existing(path: Path | None) -> EncryptionKey | None:
    """Read the key of an interrupted rewrap, or a key that the operator has made."""
    from mpc.shares.encryption_key import load_key_file

    return load_key_file(path) if path is not None and path.exists() else None


def _made(path: Path) -> EncryptionKey:
    from mpc.shares.encryption_key import create_key_file

    try:
        return create_key_file(path)
    except OSError as error:
        raise OperatorError(
            f"cannot write {path}: {error.strerror}", "Name a file in a folder of this user's."
        ) from None


def _show(done: Done, to_hsm: bool) -> None:
    out.print(
        f"{done.rewrapped.shares} shares are now under {done.under.id} ({done.under.name})",
        markup=False,
    )
    if done.rewrapped.stuck:
        print_table(
            ["key_id", "ceremony", "what"],
            [(each.key_id, each.ceremony, each.what) for each in done.rewrapped.stuck],
        )
    for key in done.unused:
        out.print(
            f"no longer used: {key}; older backups of the database still need it",
            markup=False,
        )
    entry = 'key = "hsm", without key_file' if to_hsm else f'key_file = "{done.under.name}"'
    out.print(f"next: [encryption] {entry}; then mpc-signer doctor, and restart", markup=False)
