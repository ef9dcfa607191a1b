"""Output of commands: tables for people, --json for machines, errors with the next step."""

import errno
import inspect
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from custody.runtime.errors import OperatorError

LINE_CHARACTERS = "\n\t"


def printable(value: object, allowed: str = "") -> str:
    """Return a value as text; control characters are shown as escapes, except ``allowed`` ones."""
    return "".join(
        each if each.isprintable() or each in allowed else each.encode("unicode_escape").decode()
        for each in str(value)
    )


class _Console(Console):
    """Prints no control character of a text: names of files and messages may be an attacker's."""

    def print(self, *objects: Any, **settings: Any) -> None:
        shown = (
            printable(each, LINE_CHARACTERS) if isinstance(each, str) else each for each in objects
        )
        super().print(*shown, **settings)


out = _Console(highlight=False, soft_wrap=True)
err = _Console(stderr=True, highlight=False, soft_wrap=True)

EXIT_FAILED = 1
EXIT_COULD_NOT_CHECK = 2
"""Exit code of a checking command that could not finish its check."""
EXIT_NOTHING_THERE, EXIT_DAMAGED, EXIT_CANNOT_DECRYPT = 3, 4, 5
"""Exit codes of commands that read a file or a bucket: what is wrong with it."""
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
MAX_TABLE_WIDTH = 1000

Command = TypeVar("Command", bound=Callable[..., Any])

Json = Annotated[bool, typer.Option("--json", help="For machines: one JSON document.")]
"""The option of every command that shows something."""


def print_json(data: Any) -> None:
    """Print one JSON document on stdout."""
    print(json.dumps(data, indent=2, default=str))  # noqa: T201


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table on stdout; None shows as a dash.

    The table may be wider than the terminal: cut ids would be useless.
    """
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text("-" if cell is None else printable(cell)) for cell in row))
    Console(highlight=False, width=MAX_TABLE_WIDTH).print(table)


def fail(error: OperatorError, exit_code: int = EXIT_FAILED) -> NoReturn:
    """Print what happened and what to do next, and end the command."""
    err.print(f"error: {error.what}", style="red", markup=False)
    err.print(f"  -> {error.todo}", markup=False)
    sys.exit(exit_code)


@contextmanager
def operator_errors(exit_code: int = EXIT_FAILED) -> Iterator[None]:
    """Wrap a command's body: print an OperatorError without a traceback, and exit.

    An OSError of a full or read-only disk is printed in the same way.
    """
    try:
        yield
    except OperatorError as error:
        fail(error, exit_code)
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        where = f" {error.filename}" if error.filename else ""
        fail(
            OperatorError(
                f"cannot write{where}: {error.strerror}",
                "Free space on that disk (df), or make it writable, and run the command again.",
            ),
            exit_code,
        )


class _Application(typer.Typer):
    """Joins the lines of help texts; typer would keep the source's line ends."""

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Command], Command]:
        def add(function: Command) -> Command:
            paragraphs = inspect.cleandoc(function.__doc__ or "").split("\n\n")
            text = "\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs)
            return super(_Application, self).command(name, help=text, **settings)(function)

        return add


@contextmanager
def no_overwriting() -> Iterator[None]:
    """Wrap the writing of `init`: raise OperatorError if a file exists already."""
    try:
        yield
    except FileExistsError as error:
        raise OperatorError(
            f"{error.filename} exists already", "Move it away, or give another --config."
        ) from None


def application(help_text: str) -> typer.Typer:
    """Return a command-line application: help without arguments, shell completion."""
    return _Application(
        help=help_text,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",  # "rich" would take [backup] for a mark, and leave it out
        context_settings={"help_option_names": ["-h", "--help"]},
    )
