"""Configuration files and secrets: what is wrong is named, with what to do."""

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from custody.runtime.configuration import (
    Section,
    credential_path,
    read_secret,
    read_settings,
    replace_file,
    write_secret,
)
from custody.runtime.errors import ConfigurationError


class Database(Section):
    url: str
    pool_size: int = 8


class Example(Section):
    database: Database


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "example.toml"


def test_a_file_becomes_the_model(file):
    file.write_text('[database]\nurl = "postgresql://grüezi"\n', "utf-8")
    assert read_settings(file, Example).database == Database(url="postgresql://grüezi")


def test_a_missing_file_says_how_to_give_one(file):
    with pytest.raises(ConfigurationError) as caught:
        read_settings(file, Example)
    assert str(file) in caught.value.what
    assert "No such file" in caught.value.what
    assert "--config" in caught.value.todo


def test_a_folder_is_no_configuration(tmp_path):
    with pytest.raises(ConfigurationError, match="Is a directory"):
        read_settings(tmp_path, Example)


def test_what_is_not_toml_names_the_line(file):
    file.write_text("[database]\nurl = \n")
    with pytest.raises(ConfigurationError, match="line 2"):
        read_settings(file, Example)


def test_what_is_not_utf_8_is_told_so(file):
    file.write_bytes(b'[database]\nurl = "\xff"\n')
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        read_settings(file, Example)


def test_every_key_at_fault_is_named(file):
    file.write_text('[database]\npool_size = "many"\nurk = 1\n[other]\n')
    with pytest.raises(ConfigurationError) as caught:
        read_settings(file, Example)
    for key in ("database.url", "database.pool_size", "database.urk", "other"):
        assert f"  {key}: " in caught.value.what


def test_an_error_does_not_repeat_what_the_file_says(file):
    file.write_text('[database]\nurl = "x"\npool_size = "hunter2"\n')
    with pytest.raises(ConfigurationError) as caught:
        read_settings(file, Example)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


# Secrets


def test_a_secret_is_written_for_its_owner_alone_and_read_back(tmp_path):
    path = tmp_path / "made" / "pin"
    old = os.umask(0)
    try:
        write_secret(path, b"1234")
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_secret(path, "the PIN") == b"1234"


def test_a_secret_is_never_overwritten(tmp_path):
    path = tmp_path / "pin"
    write_secret(path, b"1234")
    with pytest.raises(FileExistsError):
        write_secret(path, b"5678")
    assert path.read_bytes() == b"1234"


def test_a_secret_is_not_written_through_a_link(tmp_path):
    (tmp_path / "pin").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        write_secret(tmp_path / "pin", b"1234")
    assert not (tmp_path / "elsewhere").exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from custody.runtime import configuration
def die(*arguments): os.kill(os.getpid(), signal.SIGKILL)
setattr(os, sys.argv[2], die)
configuration.write_secret(Path(sys.argv[1]), b"a secret")
"""
NO_LINK = """
def refused(*arguments): raise PermissionError(1, "Operation not permitted")
os.link = refused
"""


@pytest.mark.parametrize("step", ["fsync", "link"])
def test_a_kill_leaves_no_secret_under_its_name(tmp_path, step):
    path = tmp_path / "pin"
    done = subprocess.run([sys.executable, "-c", KILLED, path, step], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not path.exists()
    assert {stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()} == {0o600}
    write_secret(path, b"a secret")
    assert path.read_bytes() == b"a secret"


@pytest.fixture
def no_hard_links(monkeypatch):
    """As on a USB stick."""

    def refused(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)


def test_a_failed_write_leaves_no_file_where_there_are_no_hard_links(
    tmp_path, monkeypatch, no_hard_links
):
    def failed(*_):
        raise OSError(errno.EIO, "Input/output error")

    path = tmp_path / "pin"
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", failed)
        with pytest.raises(OSError, match="Input/output error"):
            write_secret(path, b"1234")
    assert list(tmp_path.iterdir()) == []
    write_secret(path, b"1234")
    assert path.read_bytes() == b"1234"


def test_a_kill_leaves_no_part_of_a_secret_where_there_are_no_hard_links(tmp_path):
    path = tmp_path / "pin"
    program = KILLED.replace("configuration.write", NO_LINK + "configuration.write")
    done = subprocess.run([sys.executable, "-c", program, path, "replace"], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b""
    with pytest.raises(FileExistsError):
        write_secret(path, b"a secret")


def test_a_secret_is_written_where_there_are_no_hard_links(tmp_path, no_hard_links):
    path = tmp_path / "pin"
    write_secret(path, b"1234")
    assert path.read_bytes() == b"1234"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        write_secret(path, b"5678")
    assert path.read_bytes() == b"1234"
    assert list(tmp_path.iterdir()) == [path]


def test_a_replaced_file_keeps_mode_and_owner_if_asked(tmp_path):
    path = tmp_path / "configuration.toml"
    path.write_text("before")
    path.chmod(0o640)
    replace_file(path, b"after", like_old=True)
    assert path.read_text() == "after"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "missing", b"x", like_old=True)


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
def test_the_newline_that_editors_add_is_no_part_of_a_secret(tmp_path, ending):
    path = tmp_path / "pin"
    write_secret(path, b" 12 34 " + ending)
    assert read_secret(path, "the PIN") == b" 12 34 "


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o644, 0o666])
def test_a_secret_that_others_may_read_is_refused_with_the_command_that_mends_it(tmp_path, mode):
    path = tmp_path / "pin"
    write_secret(path, b"1234")
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match="the PIN, may be read by other users") as caught:
        read_secret(path, "the PIN")
    assert caught.value.todo == f"chmod 600 {path}"
    assert "1234" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o700])
def test_a_secret_of_its_owner_alone_is_read(tmp_path, mode):
    path = tmp_path / "pin"
    write_secret(path, b"1234")
    path.chmod(mode)
    assert read_secret(path, "the PIN") == b"1234"


def test_a_secret_without_end_is_refused(tmp_path):
    (tmp_path / "pin").symlink_to("/dev/zero")
    with pytest.raises(ConfigurationError, match="may be read by other users"):
        read_secret(tmp_path / "pin", "the PIN")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(2**40)
    (tmp_path / "sparse").chmod(0o600)
    with pytest.raises(ConfigurationError, match="too many for the PIN"):
        read_secret(tmp_path / "sparse", "the PIN")


def test_a_secret_out_of_a_pipe_is_read():
    """A shell passes one for <(command)."""
    reader, writer = os.pipe()
    os.write(writer, b"1234\n")
    os.close(writer)
    try:
        assert read_secret(Path(f"/dev/fd/{reader}"), "the PIN") == b"1234"
    finally:
        os.close(reader)


def test_a_missing_secret_says_what_it_was_for(tmp_path):
    with pytest.raises(ConfigurationError, match=r"cannot read the PIN from .*No such file"):
        read_secret(tmp_path / "pin", "the PIN")


def test_a_systemd_credential_is_found_where_systemd_puts_it(monkeypatch):
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/hsm-driver.service")
    assert credential_path("pin") == Path("/run/credentials/hsm-driver.service/pin")


def test_a_credentials_access_list_shows_as_its_groups_right(tmp_path, monkeypatch):
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    path = credential_path("pin")
    write_secret(path, b"1234")
    path.chmod(0o440)
    assert read_secret(path, "the PIN") == b"1234"
    for mode in (0o460, 0o444):
        path.chmod(mode)
        with pytest.raises(ConfigurationError, match="may be read by other users"):
            read_secret(path, "the PIN")


def test_without_systemd_a_credential_says_what_to_add_to_the_unit(monkeypatch):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(ConfigurationError) as caught:
        credential_path("pin")
    assert "'pin'" in caught.value.what
    assert "LoadCredential=" in caught.value.todo
