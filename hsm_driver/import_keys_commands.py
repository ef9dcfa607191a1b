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

DELETED = "DeleteImportKey"
"""The kind of the audit record of an import key that an operator destroys."""


def application(settings_of: Callable[[typer.Context], DriverSettings]) -> typer.Typer:
    app = new_application(
        "One-time import keys on the tokens. The driver destroys them itself when they are over."
    )

    @app.command("list")
    def list_(context: typer.Context, as_json: Json = False) -> None:
        """List the imports that have a key on a token of this driver."""
        import asyncio

        with operator_errors():
            found = asyncio.run(_on_each_token(_tokens(settings_of(context)), None))
        rows = [(token, str(each)) for token, ids in found.items() for each in ids]
        if as_json:
            print_json([{"token": token, "import_id": each} for token, each in rows])
        else:
            print_table(["token", "import_id"], rows)

    @app.command()
    def delete(
        context: typer.Context,
        import_id: Annotated[list[UUID] | None, typer.Argument(help="Ids of imports.")] = None,
        every: Annotated[bool, typer.Option("--all", help="All import keys.")] = False,
    ) -> None:
        """Destroy import keys. An application that waits for one imports its key again.

        The audit chain gets a record of each before it is destroyed.
        """
        import asyncio

        with operator_errors():
            if bool(import_id) is every:
                raise OperatorError(
                    "which import keys?",
                    "Give ids that hsm-driver import-keys list shows, or --all.",
                )
            wanted = set(import_id or ())
            destroyed = asyncio.run(_delete(settings_of(context), wanted))
            out.print(f"destroyed the keys of {len(destroyed)} imports")
            if unknown := sorted(wanted - set(destroyed)):
                raise OperatorError(
                    f"no token has the key of {', '.join(map(str, unknown))}",
                    "See hsm-driver import-keys list.",
                )

    return app


def _tokens(settings: DriverSettings) -> list[HsmSettings]:
    from hsm_driver.settings import hsm_settings, other_tokens

    return [hsm_settings(settings, workers=1), *other_tokens(settings)]


async def _delete(settings: DriverSettings, wanted: set[UUID]) -> list[UUID]:
    """Destroy the import keys of these imports, or all if none is named. Return the imports."""
    from custody.node.connections import open_database
    from hsm_driver.import_keys import ImportRows

    tokens = _tokens(settings)
    present = {each for ids in (await _on_each_token(tokens, None)).values() for each in ids}
    chosen = sorted(present & wanted if wanted else present)
    if not chosen:
        return []
    async with open_database(settings) as database:
        await _record(database, settings.node.id, chosen)
        # before the keys go: a driver's sweep destroys what a stopped command leaves of them
        await ImportRows(database).finish(*chosen)
        left = await _on_each_token(tokens, chosen)
    if kept := sorted({each for ids in left.values() for each in ids} & set(chosen)):
        raise OperatorError(
            f"the token keeps the import keys {', '.join(map(str, kept))}",
            "Delete the objects with the vendor's tool: the ends of their labels are -import.",
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
    tokens: list[HsmSettings], remove: list[UUID] | None
) -> dict[str, list[UUID]]:
    """Return the imports with a key, by token, after those to remove are destroyed."""
    from custody.pkcs11.administration import administration

    found = {}
    for settings in tokens:
        async with administration(settings) as token:
            ids = await token.import_keys(remove)
        if ids or remove is None:
            found[settings.token_label] = ids
    return found
