import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from mpc.recover import opening
from mpc.recover_cli import app
from tests.unit.mpc.layer4.share_copies import KEY_ID
from tests.unit.mpc.recover.bucket import write_key_file


@pytest.fixture(autouse=True)
def _unprotected_memory(monkeypatch):
    """Commands run in pytest's own process here, which must stay open to core files and swap."""
    monkeypatch.setattr(opening, "harden", lambda: None)
    monkeypatch.setattr(opening, "lock_memory", lambda: True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "bucket"
    folder.mkdir()
    return folder


@pytest.fixture
def customer_key(tmp_path: Path) -> Path:
    return write_key_file(tmp_path / "customer-key")


Command = Callable[..., Result]


@pytest.fixture
def command(folder: Path, customer_key: Path) -> Command:
    """Run a command on the folder, with the customer's key."""

    def run(name: str, *words: str, answers: str | None = None) -> Result:
        line = [name, str(folder), *words, "--customer-key", str(customer_key)]
        return CliRunner().invoke(app, line, input=answers)

    return run


@pytest.fixture
def inspected(command: Command) -> Callable[[], tuple[int, dict[str, Any]]]:
    """Return exit code and document of inspect."""

    def run() -> tuple[int, dict[str, Any]]:
        done = command("inspect", "--json")
        return done.exit_code, json.loads(done.stdout)

    return run


Written = Callable[..., str]


@pytest.fixture
def written(command: Command, tmp_path: Path) -> Written:
    """Recover the key in a form, and return what was written."""

    def run(form: str, *words: str, answers: str | None = None) -> str:
        output = tmp_path / f"recovered-{form}"
        done = command(
            "recover", str(KEY_ID), "--form", form, "--output", str(output), *words, answers=answers
        )
        assert done.exit_code == 0, done.output
        assert stat.S_IMODE(output.stat().st_mode) == 0o600
        content = output.read_text()
        assert content.strip() not in done.output
        return content

    return run
