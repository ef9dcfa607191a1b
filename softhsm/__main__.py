"""``softhsm/token``: local tokens for development."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from custody.runtime.console import application, operator_errors, out, print_table

if TYPE_CHECKING:
    from softhsm.tokens import TokenFolder


app = application("SoftHSM tokens for development, in a folder of their own. Not for real keys.")

Label = Annotated[str, typer.Argument(help="The token's label.")]


@app.callback()
def _options(
    context: typer.Context,
    folder: Annotated[Path, typer.Option(help="The folder of the tokens.")] = Path("build/softhsm"),
) -> None:
    from softhsm.tokens import TokenFolder

    with operator_errors():
        context.obj = TokenFolder(folder)


@app.command()
def make(context: typer.Context, label: Label = "custody") -> None:
    """Make a token with a random PIN. Print the settings for a driver's configuration."""
    tokens: TokenFolder = context.obj
    with operator_errors():
        pin_file = tokens.make(label)
    _show(tokens, label, pin_file)


@app.command("list")
def list_(context: typer.Context) -> None:
    """List the tokens of the folder."""
    tokens: TokenFolder = context.obj
    with operator_errors():
        found = tokens.list()
    rows = [(token.label, token.serial, tokens.pin_file(token.label)) for token in found]
    print_table(("label", "serial", "PIN file"), rows)


@app.command()
def wipe(
    context: typer.Context,
    label: Label,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without a question.")] = False,
) -> None:
    """Delete a token, and with it every key that only its master key can unwrap."""
    tokens: TokenFolder = context.obj
    if not yes:
        typer.confirm(f"Delete the token {label!r} in {tokens.folder}?", abort=True)
    with operator_errors():
        tokens.wipe(label)


@app.command()
def clone(
    context: typer.Context,
    to: Annotated[Path, typer.Argument(help="The folder of the second token.")],
    label: Label = "custody",
) -> None:
    """Make a second token with the same keys, as a vendor's cloning would."""
    from softhsm.tokens import TokenFolder

    tokens: TokenFolder = context.obj
    with operator_errors():
        other = TokenFolder(to)
        pin_file = tokens.copy_to(label, other)
    _show(other, label, pin_file)


@app.command()
def backup(
    context: typer.Context,
    to: Annotated[Path, typer.Argument(help="The folder of the backup. It may hold other tokens.")],
    label: Label = "custody",
) -> None:
    """Copy a token with its keys and its PIN into a backup folder, as a vendor's backup would.

    The backup opens with the PIN that is beside it. Keep the folder as you keep the token.
    """
    from softhsm.tokens import TokenFolder

    tokens: TokenFolder = context.obj
    with operator_errors():
        kept = TokenFolder(to)
        tokens.copy_to(label, kept)
    out.print(f"backed up the token {label!r} in {kept.folder}", markup=False)
    restore_command = f"softhsm/token --folder {tokens.folder} restore {kept.folder} {label}"
    out.print(f"to restore it: {restore_command}", markup=False)


@app.command()
def restore(
    context: typer.Context,
    backup: Annotated[Path, typer.Argument(help="The folder that `backup` wrote.")],
    label: Label = "custody",
    new_label: Annotated[
        str | None,
        typer.Option("--as", help="The label of the restored token, beside the first one."),
    ] = None,
) -> None:
    """Copy a token out of a backup folder. Never replaces a token of the same label."""
    from softhsm.tokens import TokenFolder

    tokens: TokenFolder = context.obj
    with operator_errors():
        pin_file = TokenFolder(backup).copy_to(label, tokens, new_label)
    _show(tokens, new_label or label, pin_file)


def _show(tokens: TokenFolder, label: str, pin_file: Path) -> None:
    for name, value in tokens.environment.items():
        out.print(f"export {name}={value}", markup=False)
    out.print(f'# [hsm] token_label = "{label}", pin_file = "{pin_file}"', markup=False)


if __name__ == "__main__":
    app(prog_name="token")
