"""hsm-driver import-keys: the one-time keys of imports on the driver's tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from custody.runtime.console import Json, operator_errors, out, print_json, print_table
from custody.runtime.console import application as new_application
from custody.runtime.errors import OperatorError

if TYPE_CHECKING:
    from custody.pkcs11.settings import HsmSettings
    from hsm_driver.settings import DriverSettings


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
        """Destroy import keys. An application that waits for one imports its key again."""
        import asyncio

        with operator_errors():
            if bool(import_id) is every:
                raise OperatorError(
                    "which import keys?", "Give ids as `import-keys list` shows them, or --all."
                )
            tokens = _tokens(settings_of(context))
            before = asyncio.run(_on_each_token(tokens, None))
            chosen = set(import_id or (each for ids in before.values() for each in ids))
            left = asyncio.run(_on_each_token(tokens, sorted(chosen)))
            kept = sorted(chosen & {each for ids in left.values() for each in ids})
            if kept:
                raise OperatorError(
                    f"the token keeps the import keys {', '.join(map(str, kept))}",
                    "Delete the objects with the vendor's tool: the ends of their labels are "
                    "-import.",
                )
        number = len(chosen & {each for ids in before.values() for each in ids})
        out.print(f"destroyed the keys of {number} imports")

    return app


def _tokens(settings: DriverSettings) -> list[HsmSettings]:
    from hsm_driver.settings import hsm_settings, other_tokens

    return [hsm_settings(settings, workers=1), *other_tokens(settings)]


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
