"""`master-key confirm-backup`: an operator states that the HSM's keys are backed up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from custody.runtime.console import Json, operator_errors, out, print_json
from custody.runtime.errors import OperatorError
from custody.runtime.operators import operator_name

if TYPE_CHECKING:
    from custody.database.pool import Pool
    from custody.node.settings import NodeSettings

Settings = TypeVar("Settings", bound="NodeSettings")
MAX_PLACE = 500
CHECK_VALUE_BYTES = 32

Place = Annotated[
    str,
    typer.Option(help="Where the backup is, how and when it was made. For the audit."),
]
By = Annotated[
    str | None, typer.Option(help="The name of who confirms [default: this user's name].")
]


def add_confirm_backup(
    app: typer.Typer,
    settings_of: Callable[[typer.Context], Settings],
    known_keys: Callable[[Settings, Pool], Awaitable[Mapping[str, bytes]]],
) -> None:
    """Add the command. ``known_keys`` returns check values by name, as the database knows them."""

    @app.command("confirm-backup")
    def confirm_backup(
        context: typer.Context,
        place: Place,
        name: Annotated[
            list[str] | None,
            typer.Argument(help="Keys as `master-key list` names them [default: all unconfirmed]."),
        ] = None,
        check_value: Annotated[
            list[str] | None,
            typer.Option(
                help="Check value that `master-key list --json` showed on a spare HSM after a "
                "restore. Proves the backup. One for each key."
            ),
        ] = None,
        by: By = None,
        as_json: Json = False,
    ) -> None:
        """State that the HSM vendor's mechanism has backed up these keys.

        Until then `doctor`, the node's health and GET /v1/nodes warn. The statement is in the
        database and in the audit chain. Each new version of a key needs its own.
        """
        import asyncio

        with operator_errors():
            confirmed = asyncio.run(
                _confirm(
                    settings_of(context),
                    known_keys,
                    names=name or [],
                    values=[check_value_of(each) for each in check_value or []],
                    place=place_of(place),
                    by=by or operator_name(),
                )
            )
        if as_json:
            print_json(confirmed)
        elif confirmed:
            out.print(f"confirmed: {', '.join(confirmed)}", markup=False)
        else:
            out.print("the backup of each key is confirmed already")


async def _confirm(
    settings: Settings,
    known_keys: Callable[[Settings, Pool], Awaitable[Mapping[str, bytes]]],
    *,
    names: list[str],
    values: list[bytes],
    place: str,
    by: str,
) -> list[str]:
    from custody.node.audited_changes import AuditedChanges
    from custody.node.connections import open_database
    from custody.node.key_backups import Confirmation, confirm, unconfirmed

    async with open_database(settings) as database:
        known = dict(await known_keys(settings, database))
        _require_known(names, known)
        wanted = names or list(await unconfirmed(database, known))
        keys = {name: known[name] for name in wanted}
        if values:
            _require_restored(keys, values)
        if keys:
            proof = "check value of a restored backup" if values else None
            said = Confirmation(by, place, proof)
            await confirm(AuditedChanges(database, settings.node.id), keys, said)
    return list(keys)


def _require_known(names: list[str], known: Mapping[str, bytes]) -> None:
    if not known:
        raise OperatorError(
            "the database knows no key yet, so nothing was confirmed",
            "A daemon records the keys of its HSM when it starts: `run` it, then confirm.",
        )
    for name in names:
        if name not in known:
            raise OperatorError(
                f"the database knows no key {name!r}", f"It knows {', '.join(known)}."
            )


def _require_restored(keys: Mapping[str, bytes], values: list[bytes]) -> None:
    for name, check_value in keys.items():
        if check_value not in values:
            raise OperatorError(
                f"none of the given check values is that of {name}: {check_value.hex()[:16]}…",
                f"Restore {name} into the spare HSM as well, and give its check value; or name "
                "only the keys whose backup was restored.",
            )


def place_of(place: str) -> str:
    """Return the place. Raise OperatorError if it is empty or too long."""
    if not 1 <= len(place) <= MAX_PLACE:
        raise OperatorError(
            f"a place has 1 to {MAX_PLACE} characters",
            'Say where the backup is: --place "Backup HSM 88 in safe 2, 3 March".',
        )
    return place


def check_value_of(text: str) -> bytes:
    """Return a check value from its hex. Raise OperatorError."""
    try:
        value = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        value = b""
    if len(value) != CHECK_VALUE_BYTES:
        raise OperatorError(
            f"{text[:80]!r} is not a check value: it has {CHECK_VALUE_BYTES} bytes in hex",
            "Copy it from: master-key list --json",
        )
    return value
