"""The freeze: there until it is taken away, and in doubt there."""

import os
import pwd
from pathlib import Path

import pytest

from custody.node.decisions import require_thawed
from custody.node.errors import Failed
from custody.node.freeze import NAME, Freeze


def test_a_node_that_nobody_froze_works(tmp_path: Path) -> None:
    require_thawed(Freeze(tmp_path))


def test_a_frozen_node_says_why_and_may_be_asked_again(tmp_path: Path) -> None:
    Freeze(tmp_path / "state").freeze("lost laptop")
    with pytest.raises(Failed, match="lost laptop") as caught:
        require_thawed(Freeze(tmp_path / "state"))
    assert (caught.value.code, caught.value.transient) == ("frozen", True)


def test_the_first_reason_stays(tmp_path: Path) -> None:
    freeze = Freeze(tmp_path)
    freeze.freeze("first")
    freeze.freeze("second")
    assert str(freeze.problem()).endswith("first")
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_a_user_without_a_name_can_freeze(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless(_: int) -> None:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", nameless)
    freeze = Freeze(tmp_path)
    freeze.freeze("drill")
    assert f"user {os.getuid()}: drill" in str(freeze.problem())


def test_unfreezing_lets_it_work_again(tmp_path: Path) -> None:
    freeze = Freeze(tmp_path)
    freeze.freeze("drill")
    assert freeze.unfreeze()
    require_thawed(freeze)
    assert not freeze.unfreeze()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff"])
def test_a_freeze_that_cannot_be_read_is_a_freeze(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    assert Freeze(tmp_path).problem() is not None


def test_a_folder_in_the_place_of_the_file_is_a_freeze(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    assert Freeze(tmp_path).problem() is not None
