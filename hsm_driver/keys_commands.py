"""hsm-driver keys: the wrapped keys in the group's database."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from custody.node.archive_command import add_archive_commands
from custody.node.archived_sql import ROOT, is_archived
from custody.runtime.console import (
    EXIT_FAILED,
    Json,
    operator_errors,
    out,
    print_json,
    print_table,
)
from custody.runtime.console import application as new_application
from custody.runtime.errors import OperatorError

if TYPE_CHECKING:
    from hsm_driver.key_verification import BadKey, StoredKeys
    from hsm_driver.settings import DriverSettings


_COLUMNS = f"""
    key_id, scheme, curve, network, public_key, protection, wrapped, master_key, mechanism,
    imported, created_at, {is_archived("key_id", f"'{ROOT}'")} AS archived
"""
_IS_OLDER = """
    EXISTS (SELECT FROM master_keys AS newer
        WHERE newer.retired_at IS NULL
            AND split_part(newer.id, '/', 1) = split_part(master_key, '/', 1)
            AND split_part(newer.id, '/', 2)::int > split_part(master_key, '/', 2)::int)
"""
_NEWEST = f"""
    SELECT {_COLUMNS} FROM wrapped_keys
    WHERE (:master_key::varchar IS NULL OR master_key = :master_key)
        AND (NOT :older::boolean OR {_IS_OLDER})
    ORDER BY created_at DESC LIMIT :limit
"""
_ONE = f"SELECT {_COLUMNS} FROM wrapped_keys WHERE key_id = :key_id"

_KNOWN = "SELECT key_id FROM wrapped_keys WHERE key_id = :key_id"

TEXT_COLUMNS = [
    "key_id", "scheme", "curve", "network", "protection", "master_key", "created_at", "imported",
    "archived",
]  # fmt: skip


def application(settings_of: Callable[[typer.Context], DriverSettings]) -> typer.Typer:
    app = new_application("The wrapped keys in the group's database. No command shows a secret.")

    @app.command("list")
    def list_keys(
        context: typer.Context,
        limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")] = 50,
        master_key: Annotated[
            str | None, typer.Option(help="Only keys that this master key wraps, as custody/1.")
        ] = None,
        older: Annotated[
            bool,
            typer.Option(
                "--older", help="Only keys under a master key older than the newest adopted one."
            ),
        ] = False,
        as_json: Json = False,
    ) -> None:
        """List the newest keys, or the keys of one master key."""
        import asyncio

        with operator_errors():
            rows = asyncio.run(_newest(settings_of(context), limit, master_key, older=older))
        if as_json:
            print_json(rows)
        else:
            for row in rows:
                for name in ("imported", "archived"):
                    row[name] = "yes" if row[name] else "no"
            print_table(TEXT_COLUMNS, [[row[name] for name in TEXT_COLUMNS] for row in rows])

    @app.command()
    def show(context: typer.Context, key_id: UUID, as_json: Json = False) -> None:
        """Show all stored facts of one key, without its wrapped private key."""
        import asyncio

        with operator_errors():
            row = asyncio.run(_one(settings_of(context), key_id))
        if as_json:
            print_json(row)
        else:
            print_table(["", ""], list(row.items()))

    @app.command()
    def verify(
        context: typer.Context,
        key_id: Annotated[
            list[UUID] | None, typer.Argument(help="Ids of the keys; default: all.")
        ] = None,
        as_json: Json = False,
    ) -> None:
        """Unwrap keys in the HSM, sign a test message, and verify the signature. Changes nothing.

        Keys under a retired master key are counted; they are tried only if you name them.

        Exit code 0: every key that was tried is usable; 1: some are not.
        """
        import asyncio

        with operator_errors():
            count, bad, stored = asyncio.run(_verify(settings_of(context), key_id or []))
        if as_json:
            print_json(
                {
                    "verified": count - len(bad),
                    "bad": [vars(key) for key in bad],
                    "not_tried": stored.not_tried if not key_id else 0,
                }
            )
        else:
            out.print(f"{count - len(bad)} of {count} keys sign for their public key")
            for line in stored.said() if not key_id else []:
                out.print(line)
            if bad:
                print_table(["key_id", "what"], [(key.key_id, key.what) for key in bad])
        if bad:
            raise typer.Exit(EXIT_FAILED)

    add_archive_commands(
        app, settings_of, known=_KNOWN, group="hsm-driver keys", has_children=False
    )
    return app


def _described(row: Any) -> dict[str, Any]:
    described: dict[str, Any] = dict(row)
    described["key_id"] = str(row.key_id)
    described["public_key"] = "0x" + row.public_key.hex()
    described["created_at"] = row.created_at.isoformat()
    described["wrapped"] = f"{len(row.wrapped)} bytes"
    return described


async def _newest(
    settings: DriverSettings, limit: int, master_key: str | None, *, older: bool
) -> list[dict[str, Any]]:
    from custody.node.connections import open_database

    wanted = {"limit": limit, "master_key": master_key, "older": older}
    async with open_database(settings) as database:
        return [_described(row) for row in await database.rows(_NEWEST, wanted)]


async def _one(settings: DriverSettings, key_id: UUID) -> dict[str, Any]:
    from custody.node.connections import open_database

    async with open_database(settings) as database:
        row = await database.row(_ONE, {"key_id": key_id})
    if row is None:
        raise OperatorError(f"there is no key {key_id}", "hsm-driver keys list")
    return _described(row)


async def _verify(
    settings: DriverSettings, key_ids: list[UUID]
) -> tuple[int, list[BadKey], StoredKeys]:

    from custody.node.connections import open_database
    from custody.runtime.progress import progress_bar
    from hsm_driver.driver import open_hsm
    from hsm_driver.key_verification import stored_keys, verify_keys
    from hsm_driver.vault import Vault

    async with open_database(settings) as database, open_hsm(settings, database) as hsm:
        vault = Vault(database, hsm)
        await vault.compare_master_keys()
        stored = await stored_keys(database)
        with progress_bar("keys", len(key_ids) or stored.usable) as show:
            count, bad = await verify_keys(vault, database, key_ids, stored.retired, show)
    missing = len(key_ids) - count
    if missing > 0:
        raise OperatorError(f"{missing} of the keys do not exist", "hsm-driver keys list")
    return count, bad, stored
