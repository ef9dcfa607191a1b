"""Progress bars of commands: on stderr, on a terminal alone, and gone when the work is done."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TransferSpeedColumn,
    track,
)

from custody.runtime.console import err

Item = TypeVar("Item")


class Show(Protocol):
    """Shows how much is done, and of how much; None: the total stays as it was."""

    def __call__(self, done: int, total: int | None = None, /) -> None: ...


@contextmanager
def progress_bar(what: str, total: int | None = None) -> Iterator[Show]:
    """Show one bar. ``what``: the things that are counted; ``total``: None if it is not known."""
    with _bars() as progress:
        task = progress.add_task(what, total=total)

        def show(done: int, total: int | None = None, /) -> None:
            progress.update(task, completed=done, total=total)

        yield show


@contextmanager
def byte_bars() -> Iterator[Callable[[str, int, int | None], None]]:
    """Show a bar for each step, in bytes; the yielded function gets step, done and total."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
    )  # fmt: skip
    tasks: dict[str, Any] = {}
    with _bars(*columns) as progress:

        def advance(step: str, done: int, total: int | None) -> None:
            if step not in tasks:
                tasks[step] = progress.add_task(step, total=total)
            progress.update(tasks[step], completed=done, total=total)

        yield advance


def counted(items: Sequence[Item], what: str) -> Iterable[Item]:
    """Return the items, with a bar that shows how many were taken."""
    return track(items, what, console=err, transient=True, disable=not err.is_terminal)


def _bars(*columns: Any) -> Progress:
    return Progress(*columns, console=err, transient=True, disable=not err.is_terminal)
