"""hsm-driver import-keys: the one-time keys of imports on the driver's tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from custody.runtime.console import Json, operator_errors, out, print_json, print_table
from custody.runtime.console import application as new_application
from custody.runtime.errors import OperatorError

if TYPE_CHECKING:
    from custody.database.connection import Connection
    from custody.database.pool import Pool
    from custody.pkcs11.settings import HsmSettings
    from hsm_driver.settings import DriverSettings

Others = Annotated[
    bool,
    typer.Option("--others", help="Import keys of other driver groups that use the token."),
]

DELETED = "DeleteImportKey"
"""The kind of the audit record of an import key that an operator destroys."""


def application(settings_of: Callable[[typer.Context], DriverSettings]) -> typer.Typer:
    app = new_application(
        "One-time import keys on the tokens. The driver destroys them itself when they are over."
    )

    @app.command("list")
    def list_(context: typer.Context, others: Others = False, as_json: Json = False) -> None:
        """List the imports of this driver group that have a key on a token of this driver.

        The group is told by the id of its database, which is in the label of the import key. Import
        keys of earlier versions have no such id: each group lists them as its own.
        """
        import asyncio

        with operator_errors():
            found = asyncio.run(_list(settings_of(context), others=others))
        rows = [(token, str(each)) for token, ids in found.items() for each in ids]
        if as_json:
            print_json([{"token": token, "import_id": each} for token, each in rows])
        else:
            print_table(["token", "import_id"], rows)

    @app.command()
    def delete(
        context: typer.Context,
        import_id: Annotated[list[UUID] | None, typer.Argument(help="Ids of imports.")] = None,
        every: Annotated[bool, typer.Option("--all", help="All of this driver group.")] = False,
        others: Others = False,
    ) -> None:
        """Destroy import keys. An application that waits for one imports its key again.

        The import keys of other driver groups on the token stay. With --others and their ids the
        command destroys these: do so if the database of that group is gone. The audit chain gets a
        record of each before it is destroyed.
        """
        import asyncio

        with operator_errors():
            if others and not import_id:
                raise OperatorError(
                    "which import keys of other driver groups?",
                    "Give ids that hsm-driver import-keys list --others shows. --all is for "
                    "those of this driver group.",
                )
            if bool(import_id) is every:
                raise OperatorError(
                    "which import keys?",
                    "Give ids that hsm-driver import-keys list shows, or --all.",
                )
            wanted = set(import_id or ())
            whose = "another driver group" if others else "this driver group"
            destroyed = asyncio.run(_delete(settings_of(context), wanted, others=others))
            out.print(f"import keys destroyed: {len(destroyed)}")
            if unknown := sorted(wanted - set(destroyed)):
                raise OperatorError(
                    f"no import key of {whose} on the tokens is for {', '.join(map(str, unknown))}",
                    "See hsm-driver import-keys list, and list --others for other driver groups.",
                )

    return app


def _tokens(settings: DriverSettings) -> list[HsmSettings]:
    from hsm_driver.settings import hsm_settings, other_tokens

    return [hsm_settings(settings, workers=1), *other_tokens(settings)]


async def _list(settings: DriverSettings, *, others: bool) -> dict[str, list[UUID]]:
    from custody.node.connections import open_database
    from hsm_driver.import_keys import ImportRows

    async with open_database(settings) as database:
        owner = await ImportRows(database).owner()
    return await _on_each_token(_tokens(settings), owner, None, others=others)


async def _delete(settings: DriverSettings, wanted: set[UUID], *, others: bool) -> list[UUID]:
    """Destroy the import keys of these imports, or all if none is named. Return the imports."""
    from custody.node.connections import open_database
    from hsm_driver.import_keys import ImportRows

    tokens = _tokens(settings)
    async with open_database(settings) as database:
        rows = ImportRows(database)
        owner = await rows.owner()
        found = await _on_each_token(tokens, owner, None, others=others)
        present = {each for ids in found.values() for each in ids}
        chosen = sorted(present & wanted if wanted else present)
        if not chosen:
            return []
        await _record(database, settings.node.id, chosen)
        # before the keys go: a driver's sweep destroys what a stopped command leaves of them
        await rows.finish(*chosen)
        left = await _on_each_token(tokens, owner, chosen, others=others)
    if kept := sorted({each for ids in left.values() for each in ids} & set(chosen)):
        raise OperatorError(
            f"the token keeps the import keys {', '.join(map(str, kept))}",
            "Delete with the vendor's tool the objects whose CKA_ID is one of these ids and whose "
            "label has -import in it.",
        )
    return chosen


async def _record(database: Pool, node: str, import_ids: Sequence[UUID]) -> None:
    """Commit an audit record for each import key that is about to be destroyed."""
    from custody.node.audit import AuditRecord
    from custody.node.audited_changes import AuditedChanges, record_without_job
    from custody.runtime.operators import operator_name

    operator = operator_name()

    async def records(_: Connection) -> Sequence[AuditRecord]:
        return [
            record_without_job(DELETED, {"operator": operator, "import_id": str(each)})
            for each in import_ids
        ]

    await AuditedChanges(database, node).change(records)


async def _on_each_token(
    tokens: list[HsmSettings], owner: str, remove: list[UUID] | None, *, others: bool
) -> dict[str, list[UUID]]:
    """Return the owner's or the others' imports with a key, by token, after ``remove`` are gone."""
    from custody.pkcs11.administration import administration

    found = {}
    for settings in tokens:
        async with administration(settings) as token:
            ids = await token.import_keys(owner, remove, others=others)
        if ids or remove is None:
            found[settings.token_label] = ids
    return found
