"""The scripts that make local tokens."""

import subprocess
from pathlib import Path

import pytest

from custody.runtime.errors import OperatorError
from softhsm.tokens import TokenFolder
from tests.integration.pkcs11.conftest import ROOT


def script(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / "softhsm" / "token"), "--folder", str(folder), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "200"},
    )


def test_make_list_clone_wipe(tmp_path: Path):
    made = script(tmp_path / "a", "make")
    assert made.returncode == 0, made.stderr
    assert f"export SOFTHSM2_CONF={tmp_path}/a/softhsm2.conf" in made.stdout
    assert (tmp_path / "a" / "custody.pin").stat().st_mode & 0o777 == 0o600
    assert script(tmp_path / "a", "make", "second").returncode == 0
    listed = script(tmp_path / "a", "list").stdout
    assert "custody" in listed
    assert "second" in listed
    assert script(tmp_path / "a", "clone", str(tmp_path / "b")).returncode == 0
    assert "custody" in script(tmp_path / "b", "list").stdout
    assert script(tmp_path / "a", "wipe", "custody", "--yes").returncode == 0
    assert "custody" not in script(tmp_path / "a", "list").stdout
    assert not (tmp_path / "a" / "custody.pin").exists()
    assert "custody" in script(tmp_path / "b", "list").stdout


def test_nothing_is_overwritten(tmp_path: Path):
    tokens = TokenFolder(tmp_path / "a")
    tokens.make("custody")
    other = TokenFolder(tmp_path / "b")
    other.make("custody")
    with pytest.raises(OperatorError):
        tokens.make("custody")
    with pytest.raises(OperatorError):
        tokens.clone("custody", other)
    with pytest.raises(OperatorError):
        tokens.wipe("nobody")
    refused = script(tmp_path / "a", "make")
    assert refused.returncode == 1
    assert "has a token 'custody' already" in refused.stderr


def test_a_label_is_no_path(tmp_path: Path):
    with pytest.raises(OperatorError):
        TokenFolder(tmp_path / "a").make("../../etc/x")
