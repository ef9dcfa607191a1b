"""`apps`: the pinned applications, whose signed requests this node accepts."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from custody.runtime.console import Json, operator_errors, out, print_json, print_table
from custody.runtime.console import application as new_application
from custody.runtime.errors import OperatorError

if TYPE_CHECKING:
    from custody.node.applications import Application, Applications
    from custody.node.settings import NodeSettings


NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MAX_KEY_FILE = 64 * 1024
"""In bytes. A public key in PEM has a hundred."""
COLUMNS = ["name", "key_id", "public_key", "added_at"]

Answer = TypeVar("Answer")


def application(settings_of: Callable[[typer.Context], NodeSettings]) -> typer.Typer:
    app = new_application("The pinned applications: this node accepts their signed requests.")

    @app.command()
    def add(
        context: typer.Context,
        name: Annotated[
            str, typer.Argument(help="Name of the application, as the audit and the gate show it.")
        ],
        public_key: Annotated[
            str | None, typer.Option(help="Ed25519 public key, 32 bytes in base64.")
        ] = None,
        public_key_file: Annotated[
            Path | None,
            typer.Option(help="File of the public key in PEM, as openssl pkey -pubout writes it."),
        ] = None,
    ) -> None:
        """Pin an application's public key, for all nodes with this database, at once."""
        with operator_errors():
            key = _public_key(public_key, public_key_file)
            if not NAME.fullmatch(name):
                raise OperatorError(
                    f"{name!r} is not a name for an application",
                    "Use 1 to 64 letters, digits, '.', '_' and '-'.",
                )
            added = _with(settings_of(context), lambda known: known.add(name, key))
        out.print(f"pinned {added.name}, key {added.key_id}")

    @app.command("list")
    def list_applications(context: typer.Context, as_json: Json = False) -> None:
        """List every pinned application."""
        with operator_errors():
            known = _with(settings_of(context), lambda known: known.all())
        rows = [_row(one) for one in known]
        if as_json:
            print_json(rows)
        else:
            print_table(COLUMNS, [[row[name] for name in COLUMNS] for row in rows])

    @app.command()
    def remove(context: typer.Context, name: str) -> None:
        """Remove an application. Takes effect at once, also for its pending requests."""
        with operator_errors():
            if not _with(settings_of(context), lambda known: known.remove(name)):
                raise OperatorError(
                    f"no application {name!r} is pinned", "List the applications: apps list"
                )
        out.print(f"removed {name}", markup=False)

    return app


def _with(settings: NodeSettings, act: Callable[[Applications], Awaitable[Answer]]) -> Answer:
    import asyncio

    from custody.node.applications import Applications
    from custody.node.connections import open_database

    async def run() -> Answer:
        async with open_database(settings) as database:
            return await act(Applications(database))

    return asyncio.run(run())


def _row(one: Application) -> dict[str, str]:
    return {
        "name": one.name,
        "key_id": one.key_id,
        "public_key": base64.b64encode(one.public_key).decode(),
        "added_at": one.added_at.isoformat(),
    }


def _public_key(text: str | None, file: Path | None) -> bytes:
    """Return the 32 bytes of the public key in the given option. Raise OperatorError."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    from custody.runtime.regular_files import read_regular
    from custody.wire.public_keys import check_ed25519

    if (text is None) == (file is None):
        raise OperatorError(
            "the command needs one public key",
            "Give either --public-key or --public-key-file, not both.",
        )
    try:
        if file is not None:
            key = load_pem_public_key(read_regular(file, MAX_KEY_FILE))
        else:
            key = Ed25519PublicKey.from_public_bytes(base64.b64decode(text or "", validate=True))
    except OSError as error:
        raise OperatorError(
            f"cannot read {file}: {error.strerror}", "Give a file that you can read."
        ) from None
    except (ValueError, binascii.Error, UnsupportedAlgorithm):
        raise _no_key("give 32 bytes in base64, or a public key in PEM") from None
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key("the file has a key of another kind")
    raw = key.public_bytes_raw()
    try:
        check_ed25519(raw)
    except ValueError as error:
        raise _no_key(str(error)) from None
    return raw


def _no_key(why: str) -> OperatorError:
    return OperatorError(
        f"this is not an Ed25519 public key: {why}",
        "The application's owner makes a key pair: openssl genpkey -algorithm ed25519 -out "
        "app.pem; openssl pkey -in app.pem -pubout",
    )
