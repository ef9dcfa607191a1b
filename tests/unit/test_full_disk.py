"""What this host remembers in files, when its disk is full: nothing half, and nothing forgotten."""

from pathlib import Path

import pytest

from custody.node.decisions import require_thawed
from custody.node.errors import Failed
from custody.node.freeze import NAME, Freeze
from custody.pkcs11.pin import PinMemory, PinRefused, Verdict
from custody.pkcs11.settings import HsmSettings, PinFile
from custody.runtime.configuration import replace_file, write_secret
from custody.runtime.console import EXIT_FAILED, operator_errors
from custody.runtime.errors import ConfigurationError
from tests.full_disk import full_disk


def test_a_node_is_frozen_all_the_same(tmp_path: Path):
    freeze = Freeze(tmp_path / "state")
    with full_disk():
        freeze.freeze("lost laptop")
    with pytest.raises(Failed, match="gives no reason"):
        require_thawed(Freeze(tmp_path / "state"))
    assert [path.name for path in (tmp_path / "state").iterdir()] == [NAME]
    assert freeze.unfreeze()


def test_a_freeze_that_is_there_stays_whole(tmp_path: Path):
    freeze = Freeze(tmp_path)
    freeze.freeze("first")
    with full_disk():
        freeze.freeze("second")
    assert str(freeze.problem()).endswith("first")


def test_no_pin_is_tried_that_could_not_be_remembered(tmp_path: Path):
    pin = tmp_path / "pin"
    pin.write_text("1234")
    settings = HsmSettings(
        module=tmp_path / "module.so",
        token_label="custody",
        pin=PinFile(pin),
        state_directory=tmp_path / "state",
    )
    memory = PinMemory(settings)
    with full_disk(), pytest.raises(ConfigurationError, match="cannot write") as caught:
        memory.remember(Verdict.TRYING)
    assert "Make room" in caught.value.todo
    memory.remember(Verdict.REFUSED)
    with full_disk(), pytest.raises(ConfigurationError):
        memory.remember(Verdict.ACCEPTED)
    with pytest.raises(PinRefused):
        memory.standing()


def test_a_file_that_cannot_be_replaced_stays_as_it_was(tmp_path: Path):
    file = tmp_path / "state.json"
    replace_file(file, b"before")
    with full_disk(), pytest.raises(OSError, match=r"state\.json"):
        replace_file(file, b"after")
    assert file.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [file]


def test_no_part_of_a_secret_is_left_that_would_pass_for_the_whole(tmp_path: Path, capsys):
    file = tmp_path / "identity.pem"
    with full_disk(), pytest.raises(SystemExit) as caught, operator_errors():
        write_secret(file, b"secret")
    assert caught.value.code == EXIT_FAILED
    assert not file.exists()
    said = capsys.readouterr().err
    assert str(file) in said
    assert "Free space on that disk" in said
    write_secret(file, b"secret")
