"""How commands speak."""

import json
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from custody.runtime.console import (
    EXIT_FAILED,
    application,
    operator_errors,
    out,
    print_json,
    print_table,
)
from custody.runtime.errors import ConfigurationError


def test_an_operators_error_is_two_lines_and_an_exit_code_and_no_traceback(capsys):
    with pytest.raises(SystemExit) as caught, operator_errors():
        raise ConfigurationError("the [token] is gone", "Make one: softhsm/make-token")
    assert caught.value.code == EXIT_FAILED
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "error: the [token] is gone\n  -> Make one: softhsm/make-token\n"


def test_a_mistake_of_ours_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), operator_errors():
        raise ZeroDivisionError


def test_a_table_shows_what_is_missing_as_a_dash(capsys):
    print_table(["key", "address"], [["k-1", None]])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["key", "address"]
    assert lines[1].split() == ["k-1", "-"]


def test_json_is_one_document(capsys):
    print_json({"ok": True, "rows": [1, 2]})
    assert json.loads(capsys.readouterr().out) == {"ok": True, "rows": [1, 2]}


def test_help_fills_its_lines_wherever_the_sources_lines_end():
    app = application("Commands.")

    @app.command()
    def show() -> None:
        """Show it.

        The first line
        continues here.

        Another paragraph.
        """

    lines = [line.strip() for line in CliRunner().invoke(app, ["--help"]).output.splitlines()]
    assert "The first line continues here." in lines
    assert "Another paragraph." in lines


def test_help_keeps_the_names_of_sections():
    app = application("Commands.")

    @app.command()
    def show(
        name: Annotated[str, typer.Option(help="As [backup] says [default: none].")] = "",
    ) -> None:
        """Encrypt to [backup] recipients."""

    lines = CliRunner().invoke(app, ["--help"]).output
    assert "Encrypt to [backup] recipients." in lines
    assert "As [backup] says [default: none]." in lines


def test_what_a_row_says_is_neither_markup_nor_moves_the_cursor(capsys):
    print_table(["reason"], [["[/bold] [red]gone[/red]"], ["a\x1b[2Jb\nc\u202e"]])
    shown = capsys.readouterr().out
    assert "[/bold] [red]gone[/red]" in shown
    assert "a\\x1b[2Jb\\nc\\u202e" in shown


def test_no_control_character_of_a_text_reaches_the_terminal(capsys):
    hostile = "two\nlines\x1b[2J\x07\r\u202e\udc80"
    out.print(hostile, markup=False)
    with pytest.raises(SystemExit), operator_errors():
        raise ConfigurationError(hostile, hostile)
    printed = capsys.readouterr()
    shown = "two\nlines\\x1b[2J\\x07\\r\\u202e\\udc80\n"
    assert printed.out == shown
    assert printed.err == f"error: {shown}  -> {shown}"
