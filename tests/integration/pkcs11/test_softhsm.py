"""The scripts that make local tokens."""

import os
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
        tokens.copy_to("custody", other)
    with pytest.raises(OperatorError):
        tokens.wipe("nobody")
    refused = script(tmp_path / "a", "make")
    assert refused.returncode == 1
    assert "has a token 'custody' already" in refused.stderr


def test_a_backup_brings_a_lost_token_back(tmp_path: Path):
    tokens, kept = TokenFolder(tmp_path / "a"), TokenFolder(tmp_path / "backup")
    tokens.make("custody", pin="some-pin")
    before = tokens.list()
    backup = script(tokens.folder, "backup", str(kept.folder))
    assert backup.returncode == 0, backup.stderr
    assert f"restore {kept.folder} custody" in backup.stdout
    assert script(tokens.folder, "restore", str(kept.folder)).returncode == 1  # it is still there
    tokens.wipe("custody")
    assert script(tokens.folder, "restore", str(kept.folder)).returncode == 0
    assert tokens.list() == before == kept.list()
    assert tokens.pin_file("custody").read_text() == "some-pin"


def test_copies_are_for_their_user_alone(tmp_path: Path):
    tokens, kept = TokenFolder(tmp_path / "a"), TokenFolder(tmp_path / "backup")
    tokens.make("custody")
    tokens.copy_to("custody", kept)
    made = [path for path in kept.folder.rglob("*") if path != kept.configuration]
    modes = {path.is_dir(): path.stat().st_mode & 0o777 for path in made}
    assert modes == {True: 0o700, False: 0o600}
    assert kept.folder.stat().st_mode & 0o777 == 0o700


def test_a_failed_copy_leaves_no_token(tmp_path: Path):
    tokens, kept = TokenFolder(tmp_path / "a"), TokenFolder(tmp_path / "backup")
    tokens.make("custody")
    tokens.pin_file("custody").unlink()
    with pytest.raises(OperatorError):
        tokens.copy_to("custody", kept)
    assert kept.list() == []
    with pytest.raises(OperatorError):
        kept.copy_to("custody", tokens)  # there is nothing in the backup


@pytest.mark.parametrize("kind", ["pipe", "link", "endless", "folder", "linked folder"])
def test_a_damaged_backup_of_a_token_is_not_restored(kind: str, tmp_path: Path):
    """SoftHSM would wait for a pipe, and a copy of a link would be a copy of another file."""
    tokens, kept = TokenFolder(tmp_path / "a"), TokenFolder(tmp_path / "backup")
    tokens.make("custody")
    tokens.copy_to("custody", kept)
    tokens.wipe("custody")
    (token,) = (kept.folder / "tokens").iterdir()
    hostile = token / "11111111-1111-1111-1111-111111111111.object"
    if kind == "pipe":
        os.mkfifo(hostile)
    elif kind == "link":
        hostile.symlink_to("/etc/passwd")
    elif kind == "endless":
        with hostile.open("wb") as file:
            file.truncate(2**40)
    elif kind == "folder":
        hostile.mkdir()
    else:
        token.rename(tmp_path / "token")
        token.symlink_to(tmp_path / "token")
    with pytest.raises(OperatorError):
        kept.copy_to("custody", tokens)
    assert tokens.list() == []


def test_a_backups_own_configuration_is_not_used(tmp_path: Path):
    """It names the tokens of the host that wrote the backup, or those of an attacker."""
    tokens, kept = TokenFolder(tmp_path / "a"), TokenFolder(tmp_path / "backup")
    tokens.make("custody")
    tokens.copy_to("custody", kept)
    kept.configuration.write_text(f"directories.tokendir = {tmp_path}/nowhere\n")
    other = TokenFolder(tmp_path / "b")
    kept.copy_to("custody", other)
    assert other.list() == tokens.list()


def test_a_label_is_no_path(tmp_path: Path):
    with pytest.raises(OperatorError):
        TokenFolder(tmp_path / "a").make("../../etc/x")
