"""hsm-driver backup rebuild-from-s3."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from custody.runtime.console import (
    EXIT_FAILED,
    EXIT_NOTHING_THERE,
    Json,
    operator_errors,
    out,
    print_json,
    print_table,
)
from custody.runtime.errors import OperatorError
from custody.runtime.operators import operator_name

if TYPE_CHECKING:
    from hsm_driver.rebuild import Rebuilt
    from hsm_driver.settings import DriverSettings


def add_rebuild(app: typer.Typer, settings_of: Callable[[typer.Context], DriverSettings]) -> None:
    """Add the command to an application."""

    @app.command("rebuild-from-s3")
    def rebuild_from_s3(context: typer.Context, as_json: Json = False) -> None:
        """Add the wrapped keys that the database lacks, from their copies in S3.

        Reads the bucket of [key_copies], and needs the HSM with the master keys. A copy counts if
        this driver signed it, or a driver in driver_keys. Each key signs in the HSM before it is
        added. Present keys stay as they are. After an interruption, run it
        again: it continues.

        Exit code 0: every copy's key is in the database; 1: some copies cannot be used; 3: the
        bucket has no copies.
        """
        import asyncio

        with operator_errors():
            found = asyncio.run(_rebuild(settings_of(context)))
        if as_json:
            print_json(
                {
                    "copies": found.copies,
                    "present": found.present,
                    "added": found.added,
                    "unusable": {str(key_id): what for key_id, what in found.unusable.items()},
                    "strange": found.strange,
                }
            )
        else:
            _show(found)
        if found.unusable or found.strange:
            raise typer.Exit(EXIT_FAILED)
        if not found.copies:
            raise typer.Exit(EXIT_NOTHING_THERE)


async def _rebuild(settings: DriverSettings) -> Rebuilt:

    from custody.node.audited_changes import AuditedChanges
    from custody.node.connections import open_database
    from custody.node.errors import Failed
    from custody.node.identity import load_identity
    from custody.runtime.progress import progress_bar
    from hsm_driver.driver import key_copies, open_hsm
    from hsm_driver.rebuild import rebuild
    from hsm_driver.vault import Vault

    identity = load_identity(settings.identity.private_key)
    async with open_database(settings) as database, open_hsm(settings, database) as hsm:
        copies = key_copies(settings, hsm, identity)
        if copies is None:
            raise OperatorError(
                "the configuration has no section [key_copies], so this driver has no copies in S3",
                "Add the section: docs/how-to/copy-wrapped-keys.md.",
            )
        vault = Vault(database, hsm)
        changes = AuditedChanges(database, settings.node.id)
        await vault.adopt_first_master_keys(changes, operator_name())
        with progress_bar("keys") as show:
            try:
                return await rebuild(database, vault, copies, changes, operator_name(), show)
            except Failed as error:
                raise OperatorError(
                    error.reason, "Correct that fault, and run the command again: it continues."
                ) from None


def _show(found: Rebuilt) -> None:
    out.print(
        f"{found.copies} copies: {len(found.added)} keys added, {found.present} were there",
        markup=False,
    )
    if found.unusable:
        print_table(["key_id", "its copy cannot be used"], list(found.unusable.items()))
    if found.strange:
        print_table(["objects that are no copies"], [(name,) for name in found.strange])
