"""Which contents of a PIN file are a PIN. A token counts any other PIN as a wrong one."""

from pathlib import Path

import pytest

from custody.pkcs11.pin import PinMemory, pin_in
from custody.pkcs11.settings import HsmSettings, PinFile
from custody.runtime.errors import ConfigurationError


@pytest.mark.parametrize("content", [b"12 34", b"12 34\n", b"12 34\r\n"])
def test_one_line_is_a_pin_without_its_newline(content: bytes) -> None:
    assert pin_in(content) == "12 34"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\xef\xbb\xbf1234", "byte order mark"),
        ("1234".encode("utf-16"), "byte order mark"),
        (b"\xff1234", "not text in UTF-8"),
        (b"1234\n\n", "more than one line"),
        (b"1234\r", "more than one line"),
        (b"1234\n5678", "more than one line"),
        (b"1234\x00", "control character"),
        (b"12\t34", "control character"),
        ("1234\u200b".encode(), "control character"),
        ("1234\u2028".encode(), "more than one line"),
        (b"1234 ", "white space"),
        (b" 1234\n", "white space"),
        ("1234\u00a0".encode(), "white space"),
        (b" ", "white space"),
    ],
)
def test_what_else_is_in_the_file_is_refused_with_its_fault(content: bytes, fault: str) -> None:
    with pytest.raises(ValueError, match=fault) as refused:
        pin_in(content)
    assert "1234" not in str(refused.value)


def test_a_file_that_changes_while_it_is_read_holds_no_pin_yet(tmp_path: Path) -> None:
    path = tmp_path / "pin"
    path.touch(0o600)
    path.write_text("12")
    settings = HsmSettings(tmp_path / "module.so", "custody", PinFile(path), tmp_path / "state")
    memory = PinMemory(settings)
    path.write_text("1234")
    with pytest.raises(ConfigurationError, match="is being written"):
        memory.read()
    assert PinMemory(settings).read() == "1234"
