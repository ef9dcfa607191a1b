"""The display of each step and its duration."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from custody.runtime.console import out


@contextmanager
def step(what: str) -> Iterator[None]:
    """Show a line for a step: a spinner on a terminal meanwhile, then the step's duration."""
    started = time.monotonic()
    if out.is_terminal:
        with out.status(what):
            yield
    else:
        yield
    out.print(f"  [green]ok[/]  {what} [dim]{time.monotonic() - started:.1f} s[/]")


def say(text: str) -> None:
    out.print(text)
