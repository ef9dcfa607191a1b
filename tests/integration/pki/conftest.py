"""The pki command in a folder of its own."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from custody.pki.cli import application

Pki = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "pki"


@pytest.fixture
def pki(folder: Path) -> Pki:
    """Run the command on ``folder``; expects it to succeed unless told what it fails with."""

    def run(*words: str, fails_with: str | None = None) -> Result:
        result = CliRunner().invoke(application, [*words, "--dir", str(folder)])
        if fails_with is None:
            assert result.exit_code == 0, result.output
        else:
            assert result.exit_code == 1, result.output
            assert fails_with in result.output
            assert "  -> " in result.output
        return result

    return run


@pytest.fixture
def authorities(pki: Pki, folder: Path) -> Path:
    """The folder with a root and an intermediate in it."""
    pki("root", "--unencrypted")
    pki("intermediate", "--unencrypted")
    return folder
