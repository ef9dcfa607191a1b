"""``hsm-driver master-key``: the AES keys in the HSM that everything else is wrapped by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from custody.runtime.console import (
    Json,
    application,
    err,
    operator_errors,
    out,
    print_json,
    print_table,
)
from custody.runtime.errors import OperatorError
from custody.runtime.toml import quoted

if TYPE_CHECKING:
    from custody.pkcs11.messages import MasterKeyRecord, MasterKeys
    from custody.pkcs11.settings import HsmSettings
    from custody.pkcs11.token_section import TokenSection


COLUMNS = (
    "name", "purpose", "check value", "made inside", "extractable", "modifiable", "copyable",
    "rewrappable",
)  # fmt: skip
CanBeRewrapped = Mapping[str, bool | None]
"""By the name of a master key that wraps; None if it could not be tried."""
MAX_ABOVE = 1_000_000
RESTORED_EXAMPLE = "HSM failed, backup of 3 March"

Rewrappable = Annotated[
    bool,
    typer.Option(
        "--rewrappable",
        help="Keys can later be rewrapped under the next version, online. The holder of the PIN "
        "can then also wrap keys with a key of their own: docs/explanation/threat-model.md.",
    ),
]
Extractable = Annotated[
    bool,
    typer.Option(
        "--extractable",
        help="For HSMs that clone only extractable keys. The holder of the PIN may then be able to "
        "extract the master key.",
    ),
]
Above = Annotated[
    int,
    typer.Option(
        min=0,
        max=MAX_ABOVE,
        help="Make a version with a higher number than this one, which a lost version had.",
    ),
]
TokenName = Annotated[
    str | None,
    typer.Option(
        "--token", help="The token's name, as `/readyz` and `doctor` show it [default: the first]."
    ),
]
RetryPin = Annotated[
    bool,
    typer.Option(
        "--retry-pin",
        help="Try the PIN once more though the token has refused it. Wrong PINs lock HSMs.",
    ),
]
Restored = Annotated[
    bool,
    typer.Option("--restored", help="Adopt keys that came from the HSM's backup. Needs --reason."),
]
Reason = Annotated[
    str | None,
    typer.Option(help="With --restored: the backup and why it was restored, for the audit."),
]
WasRewrappable = Annotated[
    bool, typer.Option("--rewrappable", help="With --restored: as the key was generated.")
]
WasExtractable = Annotated[
    bool, typer.Option("--extractable", help="With --restored: as the key was generated.")
]
CheckValues = Annotated[
    list[str] | None,
    typer.Option(
        "--check-value",
        help="With --restored: a check value that you noted when the key was made. One for each "
        "key. Needed if the database is new, and so knows none.",
    ),
]


def require_restored(
    reason: str | None, check_values: list[str] | None, *, rewrappable: bool, extractable: bool
) -> None:
    """Raise OperatorError for options that only --restored takes."""
    if reason is not None or check_values or rewrappable or extractable:
        raise OperatorError(
            "--reason, --check-value, --rewrappable and --extractable belong to --restored",
            "Give --restored as well, or leave these options out.",
        )


def show_weaker(adopted: Mapping[str, bytes], section: TokenSection) -> None:
    """Print the line of the configuration that accepts weaker master keys."""
    values = list(section.weaker_check_values)
    values += [text for value in adopted.values() if (text := f"0x{value.hex()}") not in values]
    typer.echo(f"weaker_check_values = [{', '.join(map(quoted, values))}]")


def show_adopted(
    adopted: Mapping[str, bytes],
    section: TokenSection,
    place: str,
    *,
    extractable: bool,
    rewrappable: bool = False,
) -> None:
    """Print adopted keys, and the lines of the configuration that pin them.

    The lines keep what the section names already. An operator decides, on the host: the database
    can name any check value, and so can a person who writes to it.
    """
    out.print(f"recorded as restored: {', '.join(sorted(adopted))}", markup=False)
    values = list(section.restored_check_values)
    for name, check_value in sorted(adopted.items()):
        err.print(f"  {name} has the check value 0x{check_value.hex()}", markup=False)
        if f"0x{check_value.hex()}" not in values:
            values.append(f"0x{check_value.hex()}")
    if not rewrappable and (tuple(values), extractable) == (
        section.restored_check_values,
        section.restored_extractable,
    ):
        out.print("the configuration names these check values already", markup=False)
        return
    err.print(
        "Compare these check values with those that you noted when the keys were made. If they "
        f"agree, write into {place}, then start it:",
        markup=False,
    )
    # typer.echo: the console would break the line, which is then not TOML any more.
    typer.echo(f"restored_check_values = [{', '.join(map(quoted, values))}]")
    if extractable:
        typer.echo("restored_extractable = true")
    if rewrappable:
        show_weaker(adopted, section)


def master_key_app(
    settings_of: Callable[[typer.Context], HsmSettings],
    other_tokens: Callable[[typer.Context], Sequence[HsmSettings]] = lambda _: (),
) -> typer.Typer:
    """Return the commands. The arguments read the configuration that the context names."""
    app = application("The keys in the HSM that every stored key is wrapped by.")

    @app.command()
    def generate(
        context: typer.Context,
        rewrappable: Rewrappable = False,
        extractable: Extractable = False,
        above: Above = 0,
        as_json: Json = False,
    ) -> None:
        """Make the next version inside the HSM, under the strongest attributes that it takes.

        Attributes that the token refuses are left out, and named on stderr. `doctor` then tries
        what the holder of the PIN can do with stored keys of each version.
        Daemons use a second or later version once the database knows this version: after
        `hsm-driver master-key adopt` and a restart of each driver, or after `mpc-signer rewrap
        --to-hsm`. Older versions stay, because the keys that they wrap need them. Back the token
        up, or clone it, by its vendor's means: a lost master key is the loss of every key under it.
        """
        import asyncio

        with operator_errors():
            made, can = asyncio.run(
                _generate(settings_of(context), rewrappable, extractable, above)
            )
        show_keys(made.keys, as_json=as_json, rewrappable=can)
        _show_left_out(made.left_out, is_weaker=rewrappable or extractable)

    @app.command("list")
    def list_(context: typer.Context, as_json: Json = False) -> None:
        """Show every version on the token, with its check value.

        `rewrappable`: whether the keys under it can be put under the next version inside the HSM.
        The command tries this with a key of its own.
        """
        import asyncio

        with operator_errors():
            keys, rewrappable = asyncio.run(_list(settings_of(context)))
        show_keys(keys, as_json=as_json, rewrappable=rewrappable)

    @app.command()
    def check(
        context: typer.Context,
        token: TokenName = None,
        retry_pin: RetryPin = False,
        as_json: Json = False,
    ) -> None:
        """Log in and have every master key prove itself; exit code 1 when there is none."""
        import asyncio

        from custody.pkcs11.pin import PinMemory

        with operator_errors():
            found = settings_of(context)
            if token is not None:
                found = _named(token, [found, *other_tokens(context)])
            if retry_pin:
                PinMemory(found).forget()
            keys, rewrappable = asyncio.run(_list(found))
            if not keys:
                raise OperatorError(
                    f"the token {found.token_name!r} has no master key",
                    "Make one with: master-key generate",
                )
        show_keys(keys, as_json=as_json, rewrappable=rewrappable)

    return app


def _named(name: str, tokens: Sequence[HsmSettings]) -> HsmSettings:
    for each in tokens:
        if each.token_name == name:
            return each
    names = ", ".join(repr(each.token_name) for each in tokens)
    raise OperatorError(
        f"the configuration has no token {name!r}", f"Give the name of a configured token: {names}."
    )


async def _generate(
    settings: HsmSettings, rewrappable: bool, extractable: bool, above: int
) -> tuple[MasterKeys, CanBeRewrapped]:
    from custody.pkcs11.administration import administration

    async with administration(settings) as token:
        made = await token.make_master_key(rewrappable, extractable, above)
        return made, await token.rewrappable()


async def _list(settings: HsmSettings) -> tuple[list[MasterKeyRecord], CanBeRewrapped]:
    from custody.pkcs11.administration import administration

    async with administration(settings) as token:
        keys = await token.master_keys()
        return keys, await token.rewrappable() if keys else {}


def show_keys(keys: list[MasterKeyRecord], *, as_json: bool, rewrappable: CanBeRewrapped) -> None:
    """Print master keys. ``rewrappable``: what the token let out, for those that wrap."""
    if as_json:
        print_json([_as_json(key, _can(key, rewrappable)) for key in keys])
    elif not keys:
        out.print("no master key yet; make one with: master-key generate")
    else:
        rows = [_row(key, _can(key, rewrappable)) for key in keys]
        print_table(COLUMNS, rows)


def _can(key: MasterKeyRecord, rewrappable: CanBeRewrapped) -> bool | None:
    """Return whether keys can be put under the next version. Nothing locks a key that decrypts."""
    return True if key.purpose == "encrypts host keys" else rewrappable.get(key.name)


def _show_left_out(left_out: list[str], *, is_weaker: bool) -> None:
    for refused in left_out:
        err.print(f"left out: {refused}", markup=False)
    if left_out:
        err.print("run doctor to see what this allows the holder of the PIN to do", markup=False)
    if is_weaker:
        err.print(
            "this version is weaker than this token can make it: add its check values to "
            "weaker_check_values in the configuration",
            markup=False,
        )


def _as_json(key: MasterKeyRecord, rewrappable: bool | None) -> dict[str, Any]:
    shown = key.model_dump(exclude={"pins", "new_proof", "adopted"})
    value = None if key.check_value is None else "0x" + key.check_value.hex()
    return {**shown, "check_value": value, "rewrappable": rewrappable}


def _row(key: MasterKeyRecord, rewrappable: bool | None) -> tuple[object, ...]:
    flags = (key.made_inside, key.extractable, key.modifiable, key.copyable, rewrappable)
    return (key.name, key.purpose, key.short_value, *map(_word, flags))


def _word(flag: bool | None) -> str:
    if flag is None:
        return "unknown"
    return "yes" if flag else "no"
