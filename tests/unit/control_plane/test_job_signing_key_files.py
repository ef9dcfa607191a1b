"""The files of the job-signing key: whatever stops a switch, the current key is there."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from custody.control_plane.job_signing_key.files import KeyFiles
from custody.runtime.errors import ConfigurationError
from custody.runtime.signing_key import create_signing_key, load_signing_key


@pytest.fixture
def files(tmp_path: Path) -> KeyFiles:
    files = KeyFiles(tmp_path / "job-signing.pem")
    create_signing_key(files.current)
    return files


def current(files: KeyFiles) -> str:
    return load_signing_key(files.current, "key", "todo").key_id


def test_the_next_key_is_made_once(files: KeyFiles):
    before = current(files)
    made, is_new = files.make_next()
    assert is_new
    assert made.key_id != before
    again, is_new = files.make_next()
    assert (again.key_id, is_new) == (made.key_id, False)
    assert files.next.stat().st_mode & 0o777 == 0o600
    assert current(files) == before


def test_there_is_no_next_key_without_a_current_one(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="cannot read the job-signing key"):
        KeyFiles(tmp_path / "job-signing.pem").make_next()
    assert list(tmp_path.iterdir()) == []


def test_a_switch_keeps_the_old_key_as_the_previous_one(files: KeyFiles):
    keys = [current(files)]
    for _ in range(2):  # the second time there is a previous key already
        keys.append(files.make_next()[0].key_id)
        files.switch()
        previous = files.load_previous()
        assert previous is not None
        assert [previous.key_id, current(files)] == keys[-2:]
        assert files.load_next() is None
        assert {path.name for path in files.current.parent.iterdir()} == {
            "job-signing.pem",
            "job-signing-previous.pem",
        }


@pytest.mark.parametrize("calls", range(1, 4))
def test_a_switch_that_was_stopped_can_be_run_again(
    files: KeyFiles, monkeypatch: pytest.MonkeyPatch, calls: int
):
    """Stopped before each change of a file's name in turn: link, replace, replace."""
    old, new = current(files), files.make_next()[0].key_id
    left = calls

    def counted(act: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
            return act(*arguments)

        return run

    with monkeypatch.context() as patched:
        patched.setattr(os, "link", counted(os.link))
        patched.setattr(Path, "replace", counted(Path.replace))
        with pytest.raises(KeyboardInterrupt):
            files.switch()
    assert current(files) == old
    files.switch()
    previous = files.load_previous()
    assert previous is not None
    assert (previous.key_id, current(files)) == (old, new)


def test_a_folder_that_cannot_be_written_changes_nothing(files: KeyFiles):
    old = current(files)
    files.make_next()
    files.next.unlink()
    with pytest.raises(ConfigurationError, match="cannot switch"):
        files.switch()
    assert current(files) == old
