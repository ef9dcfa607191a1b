"""Bars are for people at a terminal, and for nobody else."""

import io

import pytest
from rich.console import Console

from custody.runtime import progress


@pytest.fixture(params=[True, False], ids=["terminal", "file"])
def shown(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[bool, Console]:
    console = Console(file=io.StringIO(), force_terminal=request.param, width=100)
    monkeypatch.setattr(progress, "err", console)
    return request.param, console


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_bar_shows_what_is_done(shown: tuple[bool, Console]):
    is_terminal, console = shown
    with progress.progress_bar("keys") as show:
        show(1, 4)
        show(2)
    assert ("keys" in text(console), "50%" in text(console)) == (is_terminal, is_terminal)


def test_each_step_has_its_bar(shown: tuple[bool, Console]):
    is_terminal, console = shown
    with progress.step_bars() as advance:
        advance("database", 1000, None, is_bytes=True)
        advance("files", 1000, 2000, is_bytes=True)
        advance("files", 2000, 2000, is_bytes=True)
    for step in ("database", "files", "2.0/2.0 kB"):
        assert (step in text(console)) == is_terminal


def test_counts_are_not_shown_as_bytes(shown: tuple[bool, Console]):
    is_terminal, console = shown
    with progress.step_bars() as advance:
        advance("keys", 3, 4)
        advance("audit records", 7, None)
    for count in ("3/4", "7/?"):
        assert (count in text(console)) == is_terminal
    assert "bytes" not in text(console)
    assert "B/s" not in text(console)


def test_counted_items_are_all_there(shown: tuple[bool, Console]):
    is_terminal, console = shown
    assert list(progress.counted([1, 2, 3], "files")) == [1, 2, 3]
    assert ("files" in text(console)) == is_terminal
