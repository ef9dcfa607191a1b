"""The tar with a node's files: what an attacker could put into it is refused as damage."""

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from custody.backup import files
from custody.backup.daemon import Daemon
from custody.backup.errors import Damaged
from custody.backup.files import MAX_FILE, MAX_FILES, pack, unpack, write_files
from custody.runtime.errors import ConfigurationError, OperatorError


def member(name: str, size: int = 3, **fields: Any) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.size = size
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def tar(*members: tarfile.TarInfo, form: int = tarfile.PAX_FORMAT) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=form) as archive:
        for each in members:
            content = io.BytesIO(b"x" * each.size) if each.isreg() else None
            archive.addfile(each, content)
    return target.getvalue()


def daemon_of(folder: Path, *paths: Path) -> Daemon:
    return cast(Daemon, SimpleNamespace(files=paths, secrets=(), folder=folder))


def test_what_was_packed_is_unpacked(tmp_path: Path):
    inside, elsewhere = tmp_path / "inside", tmp_path / "elsewhere"
    long_name = elsewhere / "ä" / ("l" * 200)
    long_name.parent.mkdir(parents=True)
    inside.mkdir()
    for path in (inside / "a.toml", inside / "empty", long_name):
        path.write_bytes(b"" if path.name == "empty" else path.name.encode())
    packed = pack(daemon_of(inside, inside / "a.toml", inside / "empty", long_name))
    stored = f"elsewhere{long_name}"
    assert unpack(packed, "backup") == {"a.toml": b"a.toml", "empty": b"", stored: b"l" * 200}


def sparse_as_gnu_did() -> bytes:
    """A member of the old GNU format that expands to a terabyte of zeros."""
    block = bytearray(member("bomb", 0, type=tarfile.GNUTYPE_SPARSE).tobuf(tarfile.GNU_FORMAT))
    block[483:495] = binary(2**40)
    return checked(block) + bytes(1024)


def binary(number: int) -> bytes:
    """Return a number as GNU's tar writes one that is too large for its octal digits."""
    return b"\x80" + number.to_bytes(11)


def checked(block: bytearray) -> bytes:
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def with_size(size: bytes) -> bytes:
    block = bytearray(member("file").tobuf(tarfile.PAX_FORMAT))
    block[124:136] = size
    return checked(block) + b"xxx" + bytes(509 + 1024)


def sparse_as_pax_does() -> bytes:
    headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(2**40)}
    return tar(member("bomb", pax_headers=headers))


HOSTILE: dict[str, Callable[[], bytes]] = {
    "symbolic link": lambda: tar(member("a", 0, type=tarfile.SYMTYPE, linkname="/etc/passwd")),
    "hard link": lambda: tar(member("a"), member("b", 0, type=tarfile.LNKTYPE, linkname="a")),
    "device": lambda: tar(member("a", 0, type=tarfile.CHRTYPE, devmajor=1, devminor=5)),
    "pipe": lambda: tar(member("a", 0, type=tarfile.FIFOTYPE)),
    "folder": lambda: tar(member("a", 0, type=tarfile.DIRTYPE)),
    "old type": lambda: tar(member("a", type=tarfile.AREGTYPE)),
    "contiguous": lambda: tar(member("a", type=tarfile.CONTTYPE)),
    "file that is a link too": lambda: tar(member("a", linkname="b")),
    "old sparse": sparse_as_gnu_did,
    "pax sparse": sparse_as_pax_does,
    "pax with another size": lambda: tar(member("a", pax_headers={"size": "1"})),
    "pax for all members": lambda: tar(
        member("a", type=tarfile.XGLTYPE), member("a", pax_headers={"path": "b"})
    ),
    "GNU long name": lambda: tar(member("a" * 150), form=tarfile.GNU_FORMAT),
    "absolute": lambda: tar(member("/etc/passwd")),
    "above": lambda: tar(member("a/../../b")),
    "only above": lambda: tar(member("..")),
    "itself": lambda: tar(member(".")),
    "two slashes": lambda: tar(member("a//b")),
    "dot": lambda: tar(member("a/./b")),
    "no name": lambda: tar(member("")),
    "escape": lambda: tar(member("a\x1b[2J")),
    "long": lambda: tar(member("/".join(["d" * 200] * 6))),
    "long component": lambda: tar(member("d" * 256)),
    "twice": lambda: tar(member("a"), member("a")),
    "file in a file": lambda: tar(member("a"), member("a/b")),
    "folder of a file": lambda: tar(member("a/b"), member("a")),
    "too many": lambda: tar(*(member(str(number), 0) for number in range(MAX_FILES + 1))),
    "too large": lambda: tar(member("a", MAX_FILE + 1)),
    "larger than the rest": lambda: with_size(b"%011o\0" % 3_000_000),
    "exabytes": lambda: with_size(binary(2**62)),
    "negative size": lambda: with_size(b"\xff" + (-512).to_bytes(11, signed=True)),
    "cut off": lambda: tar(member("a"))[:700],
    "without an end": lambda: tar(member("a"))[:1024],
    "a second tar": lambda: tar(member("a")) + tar(member("b")),
    "padding": lambda: tar(member("a"))[:600] + b"y" + tar(member("a"))[601:],
    "checksum": lambda: b"b" + tar(member("a"))[1:],
    "not a tar": lambda: b"not a tar" * 1000,
    "nothing": lambda: b"",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_another_member_than_a_plain_file_below_the_folder_is_damage(kind: str):
    with pytest.raises(Damaged, match="is damaged"):
        unpack(HOSTILE[kind](), "backup")


def test_a_tar_that_is_too_large_is_not_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "MAX_TAR", 5000)
    with pytest.raises(Damaged, match="more than 5000 bytes"):
        unpack(tar(member("a", 4000)), "backup")


def test_what_could_not_be_restored_is_not_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("a\nb", "large"):
        (tmp_path / name).write_bytes(b"x" * 6000)
    with pytest.raises(ConfigurationError, match="control character"):
        pack(daemon_of(tmp_path, tmp_path / "a\nb"))
    foreign = Path(os.fsdecode(bytes(tmp_path / "caf") + b"\xe9"))
    foreign.touch()
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        pack(daemon_of(tmp_path, foreign))
    monkeypatch.setattr(files, "MAX_TAR", 5000)
    with pytest.raises(ConfigurationError, match="at most"):
        pack(daemon_of(tmp_path, tmp_path / "large"))
    monkeypatch.setattr(files, "MAX_FILE", 5000)
    with pytest.raises(ConfigurationError, match="more than 5000 bytes"):
        pack(daemon_of(tmp_path, tmp_path / "large"))


def test_a_link_in_the_folder_is_not_followed(tmp_path: Path):
    (tmp_path / "other").mkdir()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "elsewhere").symlink_to(tmp_path / "other")
    with pytest.raises(OperatorError, match="elsewhere exists already"):
        write_files({"elsewhere/key": b"secret", "key": b"secret"}, tmp_path / "folder")
    assert list((tmp_path / "other").iterdir()) == []
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["elsewhere"]
