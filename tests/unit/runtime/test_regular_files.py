"""Reading of files that somebody else may have put there."""

import os
from pathlib import Path

import pytest

from custody.runtime.regular_files import NotRegular, TooLarge, open_regular, read_regular


def test_a_file_within_the_limit_is_read_whole(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "file", 5) == b"12345"
    assert read_regular(tmp_path / "link", 5) == b"12345"
    with pytest.raises(TooLarge):
        read_regular(tmp_path / "file", 4)


def test_what_is_not_a_file_is_refused_without_a_wait(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for path, kind in (("pipe", "a named pipe"), ("link", "a named pipe"), (".", "a folder")):
        with pytest.raises(NotRegular, match=f"it is {kind}, not a file"):
            open_regular(tmp_path / path)
    with pytest.raises(NotRegular, match="it is a device, not a file"):
        read_regular(Path("/dev/zero"), 10)


def test_a_link_is_refused_where_links_are_not_followed(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    with pytest.raises(NotRegular, match="it is a symbolic link"):
        open_regular(tmp_path / "link", follow=False)


def test_what_is_exchanged_after_the_first_look_is_refused_too(tmp_path: Path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    a_file = (tmp_path / "file").stat()
    monkeypatch.setattr(Path, "stat", lambda path, follow_symlinks=True: a_file)
    with pytest.raises(NotRegular, match="a named pipe"):
        open_regular(tmp_path / "pipe")
