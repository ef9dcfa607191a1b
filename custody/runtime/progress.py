"""Progress bars of commands: on stderr, on a terminal alone, and gone when the work is done."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TextColumn,
    TransferSpeedColumn,
    track,
)
from rich.text import Text

from custody.runtime.console import err

Item = TypeVar("Item")


class Show(Protocol):
    """Shows how much is done, and of how much; None: the total stays as it was."""

    def __call__(self, done: int, total: int | None = None, /) -> None: ...


class ShowStep(Protocol):
    """Shows how much of a step is done, and of how much; None: the total is not known."""

    def __call__(
        self, step: str, done: int, total: int | None, /, *, is_bytes: bool = False
    ) -> None: ...


class _Amount(DownloadColumn):
    """The bytes, or the count, that is done."""

    def render(self, task: Task) -> Text:
        return super().render(task) if task.fields["is_bytes"] else _COUNT.render(task)


class _Speed(TransferSpeedColumn):
    """The speed, for bytes only."""

    def render(self, task: Task) -> Text:
        return super().render(task) if task.fields["is_bytes"] else Text()


_COUNT = MofNCompleteColumn()


@contextmanager
def progress_bar(what: str, total: int | None = None) -> Iterator[Show]:
    """Show one bar. ``what``: the things that are counted; ``total``: None if it is not known."""
    with _bars() as progress:
        task = progress.add_task(what, total=total)

        def show(done: int, total: int | None = None, /) -> None:
            progress.update(task, completed=done, total=total)

        yield show


@contextmanager
def step_bars() -> Iterator[ShowStep]:
    """Show a bar for each step: bytes with their speed, or a count of things."""
    columns = (TextColumn("{task.description}"), BarColumn(), _Amount(), _Speed())
    tasks: dict[str, Any] = {}
    with _bars(*columns) as progress:

        def advance(step: str, done: int, total: int | None, /, *, is_bytes: bool = False) -> None:
            if step not in tasks:
                tasks[step] = progress.add_task(step, total=total, is_bytes=is_bytes)
            progress.update(tasks[step], completed=done, total=total)

        yield advance


def counted(items: Sequence[Item], what: str) -> Iterable[Item]:
    """Return the items, with a bar that shows how many were taken."""
    return track(items, what, console=err, transient=True, disable=not err.is_terminal)


def _bars(*columns: Any) -> Progress:
    return Progress(*columns, console=err, transient=True, disable=not err.is_terminal)
