"""Parts of a Markdown page."""

from collections.abc import Iterable, Sequence

COMMAND = "make reference"
NOTE = f"*Made by `{COMMAND}` from the source. Do not edit this page.*"


def page(title: str, *parts: str) -> str:
    """Return a generated page, which says that it is generated."""
    return "\n\n".join([f"# {title}", NOTE, *(part.strip("\n") for part in parts if part)]) + "\n"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table. A line break or a bar within a cell does not end the cell."""
    lines = [_row(columns), "|" + "---|" * len(columns)]
    return "\n".join([*lines, *(_row([_cell(each) for each in row]) for row in rows)])


def code(text: str, language: str = "text") -> str:
    return f"```{language}\n{text.rstrip()}\n```"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
